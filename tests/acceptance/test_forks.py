"""What code of users forks off: it holds nothing of its parent's, and does not go on in its place."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.acceptance.command import is_alive
from tests.forks import WORKFLOWS, Twin, comes_back, leaves_child
from tests.nemesis import Crew, Gate
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
pytestmark = pytest.mark.acceptance
BACKENDS = """
    select array_agg(pid) from pg_stat_activity
    where datname = current_database() and application_name ~ '^revenant/(lane|desk|runner|worker)'
"""
GONE = "select count(*) = 0 from pg_stat_activity where pid = any (%s)"


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crew]:
    (tmp_path / "gate").mkdir()
    (tmp_path / "effects").mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(tmp_path / "gate"))
    async with Crew(database, tmp_path, app="tests.forks:app") as hired:
        yield hired


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Twin], workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        yield application


def children(folder: Path, word: str) -> list[int]:
    """Return the processes that were forked there, once they began."""
    return [int(path.name.split(".")[-2]) for path in (folder / "effects").glob(f"{word}.*")]


async def test_a_child_that_outlives_its_worker_holds_none_of_its_connections(
    app: Revenant, connection: Connection, crew: Crew, tmp_path: Path
) -> None:
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    hand = await crew.hire(
        "--metrics-port", str(port), environment={"REVENANT_TEST_EFFECTS": str(tmp_path / "effects")}
    )
    run = await app.start(leaves_child, id="r", timeout=30)
    gate = Gate(tmp_path / "gate")
    assert await gate.reached() == hand.process.pid
    await eventually(lambda: children(tmp_path, "r-child"), what="the child")
    (child,) = children(tmp_path, "r-child")
    try:
        held = await value(connection, BACKENDS)
        os.kill(hand.process.pid, signal.SIGKILL)
        await eventually(lambda: value(connection, GONE, held), seconds=5, what="the end of all its connections")
        socket.create_server(("", port)).close()
        assert is_alive(child), "it lives on, and has none of them"
    finally:
        os.kill(child, signal.SIGKILL)
    await crew.hire()
    gate.open()
    assert await run.result(timeout=30)


async def test_a_child_that_forgets_to_end_does_not_go_on_as_a_second_worker(
    app: Revenant, connection: Connection, crew: Crew, tmp_path: Path
) -> None:
    hand = await crew.hire(environment={"REVENANT_TEST_EFFECTS": str(tmp_path / "effects")})
    pid = hand.process.pid
    run = await app.start(comes_back, id="r", timeout=30)
    counts = await asyncio.gather(*(app.call(app.ref(Twin, "t").double("r"), timeout=30) for _ in range(3)))
    assert counts == [1, 2, 3]
    assert await run.result(timeout=30) == [pid, pid]
    await eventually(lambda: len(children(tmp_path, "r-child")) == 5, what="five children")
    for child in children(tmp_path, "r-child"):
        await eventually(lambda child=child: not is_alive(child), what="the end of a child")
    assert "was forked by code of yours" in hand.log.read_text()
    assert await app.call(app.ref(Twin, "t").double("r")) == 4
    assert hand.running
