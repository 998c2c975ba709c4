"""Stalled jobs: who is to blame for a worker's death, where several ran in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import procrastinate
import psycopg
import pytest_asyncio

from revenant import telemetry
from revenant.worker.rescue import Rescue
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]
STATUS = "select status::text from procrastinate_jobs order by id"
STALL = "update procrastinate_jobs set status = 'doing', worker_id = null where status = 'todo' and task_name = any(%s)"


@pytest_asyncio.fixture
async def rescue(database: str) -> AsyncIterator[Rescue]:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database))
    async with app.open_async():
        for name in "ab":
            await app.configure_task(name, allow_unknown=True).defer_async()
        yield Rescue(app=app)


async def statuses(connection: Connection) -> list[str]:
    return [status for (status,) in await rows(connection, STATUS)]


async def test_of_jobs_that_died_together_only_the_one_that_dies_alone_is_set_aside(
    rescue: Rescue, connection: Connection
) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    detach = telemetry.attach(lambda event, measured, about: told.append((event, {**measured, **about})))
    await connection.execute(STALL, (["a", "b"],))
    await rescue.run_once()
    assert await statuses(connection) == ["todo", "todo"], "once may be anybody's fault"
    await connection.execute(STALL, (["a", "b"],))
    for _ in range(2):
        await rescue.run_once()
        assert await statuses(connection) == ["todo", "doing"], "two suspects run at the same time"
    alive = await value(connection, "insert into procrastinate_workers default values returning id")
    await connection.execute(
        "update procrastinate_jobs set status = 'doing', worker_id = %s where task_name = 'a'", (alive,)
    )
    await rescue.run_once()
    assert await value(connection, "select count(*) from procrastinate_jobs where worker_id is null") == 1
    assert await value(connection, "select max(deaths) from revenant.suspects") == 2, "a death was counted twice"
    await connection.execute("delete from procrastinate_workers")
    await rescue.run_once()
    assert await statuses(connection) == ["failed", "todo"]
    assert await rows(connection, "select kind, key, deaths from revenant.suspects") == [("", "2", 2)]
    assert told == [("job.condemn", {"deaths": 3, "task": "a", "job": 1})]
    detach()


async def test_a_job_that_was_set_aside_and_is_run_again_begins_anew(rescue: Rescue, connection: Connection) -> None:
    for _ in range(3):
        await connection.execute(STALL, (["a"],))
        await rescue.run_once()
    assert await statuses(connection) == ["failed", "todo"]
    await rescue._app.job_manager.retry_job_by_id_async(1, retry_at=await value(connection, "select now()"))
    await connection.execute(STALL, (["a"],))
    await rescue.run_once()
    assert await statuses(connection) == ["todo", "todo"]


async def test_tries_that_ended_by_themselves_are_no_deaths(rescue: Rescue, connection: Connection) -> None:
    await connection.execute("update procrastinate_jobs set attempts = 7")
    for _ in range(2):
        await connection.execute(STALL, (["a"],))
        await rescue.run_once()
        assert await statuses(connection) == ["todo", "todo"]
