"""Runs and entities together in worker processes that die: what a turn starts, what a run calls, parents and children."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.entities import ENTITIES
from tests.errands import WORKFLOWS, Shop, has_walking_child, hops
from tests.flows import types
from tests.nemesis import Crew, Gate, Proxy, after, before
from tests.poison import Bomb, LazyBomb, opens
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Gate(folder)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    application = Revenant(
        entities=[*ENTITIES, Shop, Bomb, LazyBomb],
        workflows=[*WORKFLOWS, opens],
        database_url=database,
        settings=settings,
    )
    async with application:
        yield application


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.errands:app") as hired:
        yield hired


@pytest.mark.parametrize("moment", [before, after], ids=["before", "after"])
async def test_a_worker_killed_at_the_commit_of_a_turn_that_starts_a_run_starts_it_once(
    app: Revenant, connection: Connection, crew: Crew, moment: Any
) -> None:
    async with Proxy(crew.url) as proxy:
        survivor, victim = crew.spawn(), crew.spawn(url=proxy.url)
        await asyncio.gather(crew.serving(survivor), crew.serving(victim))
        survivor.signal(signal.SIGSTOP)

        def kill() -> None:
            victim.kill()
            survivor.signal(signal.SIGCONT)

        trap = proxy.trap("lane", b"run:hops", moment(kill))
        assert await app.call(app.ref(Shop, "s").order("o1", 2), timeout=60) == 1
        assert await app.run(hops, "o1").result(timeout=60) == 2
        await eventually(lambda: trap.sprung.is_set() and not victim.running, what="the death")
    happened = await types(connection, "o1")
    assert happened.count("run.started") == 1
    assert happened.count("attempt.started") == 2
    assert await rows(connection, "select version, state->>'orders' from revenant.entities") == [(1, "1")]
    assert await value(connection, "select count(*) from revenant.run_heads") == 1


async def test_the_workers_of_a_parent_and_of_its_child_are_killed_and_others_go_on_with_both(
    app: Revenant, connection: Connection, crew: Crew, gate: Gate
) -> None:
    parents, children = ("--kinds", "run:has_walking_child"), ("--kinds", "run:walks")
    elder, younger = crew.spawn(*parents), crew.spawn(*children)
    await asyncio.gather(crew.serving(elder), crew.serving(younger))
    run = await app.start(has_walking_child, "w", id="r", timeout=60)
    inside = await gate.reached()
    assert younger.owns(inside)
    younger.kill()
    elder.kill()
    heir = await crew.hire(*children)
    successor = await gate.reached(besides=[inside])
    assert heir.owns(successor)
    gate.open()
    # The child's end waits in its parent's mailbox while nobody serves that.
    ended = "select count(*) from revenant.messages where kind = 'run:has_walking_child' and handler = 'finished'"
    await eventually(lambda: value(connection, ended), what="the child's end")
    await crew.hire(*parents)
    assert await run.result(timeout=60) == successor
    assert await types(connection, "r") == [
        "run.started", "child.started", "child.finished", "step.scheduled", "attempt.started", "step.succeeded",
        "run.completed",
    ]  # fmt: skip
    child = await types(connection, "r-child")
    assert (child.count("run.recovered"), child.count("attempt.started"), child[-1]) == (1, 2, "run.completed")
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_a_run_that_calls_what_kills_its_worker_is_answered_and_other_runs_go_on_meanwhile(
    database: str, app: Revenant, connection: Connection, gate: Gate, tmp_path: Path
) -> None:
    async with Crew(database, tmp_path, app="tests.poison:app") as crew:
        supervisor = crew.spawn("--processes", "2", "--lanes", "2", "--jobs", "0")
        await eventually(lambda: supervisor.log.read_text().count("Ready:") == 2, seconds=60, what="two workers")
        run = await app.start(opens, "exit", id="b", timeout=60)
        result = asyncio.create_task(run.result(timeout=120))
        others = 0
        while not result.done():
            others += 1
            other = await app.start(opens, "nothing", id=f"n{others}", timeout=60)
            assert await other.result(timeout=60) == "100", (
                "other runs go on, and what they call is handled with caution"
            )
        assert await result == "HandlerCrashed"
        assert supervisor.running
    assert others > 0
    assert (await types(connection, "b"))[-2:] == ["call.answered", "run.completed"]
    owned = "select count(*) from revenant.run_heads where owner is not null or status <> 'completed'"
    assert await value(connection, owned) == 0
    recovered = "select count(*) from revenant.run_events where type in ('run.failed', 'attempt.started')"
    assert await value(connection, recovered) == 0, "the entity's death is none of its run's"
