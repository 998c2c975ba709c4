"""Runs that wait, in worker processes that are killed: updates, people's decisions and timers are lost by none of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.nemesis import Crew
from tests.tools import eventually, value
from tests.waiting import WORKFLOWS, adds, naps, purchase, types

pytestmark = pytest.mark.acceptance
Connection = psycopg.AsyncConnection[Any]
LONG = 60.0
"""Seconds for what must happen in the end."""


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.waiting:app") as hired:
        yield hired


async def has(connection: Connection, key: str, type: str) -> bool:
    return type in await types(connection, key)


async def test_a_worker_killed_between_the_receipt_of_an_update_and_its_answer_loses_neither(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    first = await crew.hire()
    run = await app.start(adds, id="a", timeout=LONG)
    sent = asyncio.create_task(run.update("add", 3, timeout=LONG))
    again = asyncio.create_task(run.update("add", 5, id="once", timeout=LONG))
    await eventually(
        lambda: value(connection, "select count(*) = 2 from revenant.run_events where type = 'update.received'")
    )
    first.kill()
    await crew.hire()
    await run.signal("go", timeout=LONG)
    await run.signal("go", timeout=LONG)
    assert sorted([await sent, await again])[1] == 8
    assert await run.update("add", 5, id="once", timeout=LONG) == await again
    assert (await types(connection, "a")).count("update.answered") == 2


async def test_a_question_outlives_the_worker_that_asked_it(app: Revenant, connection: Connection, crew: Crew) -> None:
    first = await crew.hire()
    run = await app.start(purchase, 70, id="p", timeout=LONG)
    (approval,) = await app.approvals()
    first.kill()
    decided = asyncio.create_task(approval.approve(by="ann", form={"limit": 1}, timeout=LONG))
    await crew.hire()
    await decided
    assert await run.result(timeout=LONG) == [True, "ann", 1]
    assert await app.approvals() == []


async def test_workers_killed_while_timers_fire_neither_lose_nor_repeat_any(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    await asyncio.gather(crew.hire(), crew.hire())
    runs = [await app.start(naps, 0.5 + number / 40, id=f"n{number}", timeout=LONG) for number in range(40)]
    fired = "select count(*) >= %s from revenant.run_events where type = 'timer.fired'"
    for place, count in enumerate((1, 12, 24)):
        await eventually(lambda count=count: value(connection, fired, count), seconds=LONG)
        crew.hands[place].kill()
        await crew.hire()
    for run in runs:
        assert await run.result(timeout=LONG) == ["before", "after"]
    per_run = "select count(*) from revenant.run_events where type = 'timer.fired' group by run having count(*) <> 1"
    assert await value(connection, per_run) is None
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages where handler = 'fire'"))
    assert await value(connection, "select count(*) from revenant.scheduled") == 0
