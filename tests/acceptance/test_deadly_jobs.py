"""Jobs that take their worker down: run again, set aside after three deaths, and the others go on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.deadly import Fuse
from tests.deadly import jobs as deadly
from tests.nemesis import Crew
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
JOBS = "select args->>'how', status::text from procrastinate_jobs order by id"


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.deadly:app") as hired:
        yield hired


@pytest.mark.parametrize("how", ["exit", "segfault"])
async def test_a_job_that_kills_its_worker_is_set_aside_after_three_deaths_and_others_go_on(
    how: str, database: str, settings: Settings, connection: Connection, crew: Crew
) -> None:
    code = {"exit": 9, "segfault": -signal.SIGSEGV}[how]
    async with Revenant(entities=[Fuse], database_url=database, settings=settings, jobs=deadly) as app:
        await app.cast(app.ref(Fuse, "f").light(how))
        for _ in range(3):
            hand = crew.spawn()
            await eventually(lambda hand=hand: not hand.running, seconds=40, what="the end of the worker")
            assert hand.process.returncode == code, hand.last_words()
            # Nobody has to wait for procrastinate to believe it.
            await connection.execute("update procrastinate_workers set last_heartbeat = now() - interval '1 hour'")
        last = await crew.hire()
        await eventually(lambda: value(connection, f"{COUNT} where status = 'failed'"), seconds=20, what="its end")
        await app.call(app.ref(Fuse, "g").light("quiet"), timeout=20)
        await eventually(lambda: value(connection, f"{COUNT} where status = 'succeeded'"), seconds=20, what="the other")
    assert await rows(connection, JOBS) == [(how, "failed"), ("quiet", "succeeded")]
    assert last.running
    assert "ERROR" in last.log.read_text()
    assert "(burn) is set aside as failed: 3 workers died" in last.log.read_text()
    assert await value(connection, "select count(*) from revenant.suspects") == 0


COUNT = "select count(*) from procrastinate_jobs"
