"""Workers killed while they run steps: a transaction counts once, undoing goes on, progress is there."""

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
from revenant.errors import RunFailed
from tests.flows import history, types
from tests.nemesis import Cable, Crew, Proxy, only_until
from tests.outside import TABLES, buy, load_all, pay_once, travel
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
WAITS = {"REVENANT_TEST_WAITS": "1"}


@pytest_asyncio.fixture
async def crew(database: str, connection: Connection, tmp_path: Path) -> AsyncIterator[Crew]:
    await connection.execute(TABLES)
    async with Crew(database, tmp_path, app="tests.outside:app") as hired:
        yield hired


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(
        workflows=[buy, travel, pay_once, load_all], database_url=database, settings=settings
    ) as application:
        yield application


@pytest.mark.parametrize("moment", ["before the append", "between append and commit", "after the commit"])
async def test_a_transaction_counts_once_whenever_its_worker_is_killed(
    app: Revenant, database: str, connection: Connection, crew: Crew, moment: str
) -> None:
    async def at_once(cable: Cable, _frame: bytes) -> None:
        victim.kill()
        cable.cut()

    def kill() -> None:
        victim.kill()

    async def after_append(cable: Cable, frame: bytes) -> None:
        """The append arrives and is carried out; the rest of the script does not arrive."""
        body = frame[5 : frame.index(b"select revenant.settle_runs")] + b"\0"
        cable.on_answer = kill
        cable.server.write(frame[:1] + (len(body) + 4).to_bytes(4, "big") + body)

    spring = {
        "before the append": at_once,
        "between append and commit": after_append,
        "after the commit": only_until(b"commit;", kill),
    }[moment]
    async with Proxy(database) as proxy:
        victim = await crew.hire(url=proxy.url)
        trap = proxy.trap("transaction", b"revenant.append_runs_v2", spring)
        run = await app.start(buy, id="b", timeout=30)
        await eventually(lambda: not victim.running, seconds=60, what="the victim's death")
        assert trap.sprung.is_set()
        await crew.hire()
        assert await run.result(timeout=60) == 1, "the attempt is the same one"
    assert await value(connection, "select count(*) from bookings") == 1
    recovered = [type for type in await types(connection, "b") if type in ("run.recovered", "step.succeeded")]
    assert recovered.count("step.succeeded") == 1
    # What was committed is not run again.
    assert ("run.recovered" in recovered) == (moment != "after the commit")


async def test_a_transaction_whose_worker_is_killed_in_its_function_leaves_nothing(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    victim = await crew.hire(environment=WAITS)
    run = await app.start(buy, id="b", timeout=30)
    await eventually(lambda: value(connection, "select count(*) from undone"), seconds=60)
    victim.kill()
    await crew.hire()
    assert await run.result(timeout=60) == 1
    assert await value(connection, "select count(*) from bookings") == 1


async def test_undoing_goes_on_where_a_killed_worker_left_it(app: Revenant, connection: Connection, crew: Crew) -> None:
    victim = await crew.hire(environment=WAITS)
    run = await app.start(travel, id="t", timeout=30)
    await eventually(lambda: value(connection, "select count(*) from undone where word = 'room'"), seconds=60)
    victim.kill()
    await crew.hire()
    with pytest.raises(RunFailed, match="no"):
        await run.result(timeout=60)
    done = await rows(connection, "select word, attempt, key from undone order by ctid")
    assert [(word, attempt) for word, attempt, _ in done] == [("flight", 1), ("room", 1), ("room", 1), ("car", 1)]
    assert done[1][2] == done[2][2], "the attempt that was interrupted is run again under its key"
    assert "undo_errors" not in (await history(connection, "t"))[-1][1]


@pytest.mark.parametrize("end", ["killed", "stopped"])
async def test_a_step_that_is_run_at_most_once_is_not_run_again_when_its_worker_ends(
    app: Revenant, connection: Connection, crew: Crew, end: str
) -> None:
    victim = await crew.hire(environment={"REVENANT_DRAIN_TIMEOUT": "0.5"})
    run = await app.start(pay_once, id="p", timeout=30)
    await eventually(lambda: value(connection, "select count(*) from undone"), seconds=60)
    if end == "killed":
        victim.kill()
    else:
        victim.signal(signal.SIGTERM)
        await eventually(lambda: not victim.running, seconds=30)
    await crew.hire()
    assert await run.result(timeout=60) == "revenant.errors.StepInterrupted"
    assert await rows(connection, "select word, attempt from undone") == [("paid", 1)]
    assert ("run.recovered" in await types(connection, "p")) == (end == "killed")


async def test_progress_outlives_a_killed_worker(app: Revenant, connection: Connection, crew: Crew) -> None:
    victim = await crew.hire()
    run = await app.start(load_all, id="l", timeout=30)
    await eventually(lambda: value(connection, "select progress from revenant.run_progress"), seconds=60)
    victim.kill()
    await crew.hire()
    assert await run.result(timeout=60) == {"row": 7}
    assert await value(connection, "select count(*) from revenant.run_progress") == 0
