"""Timers of runs: BeamTrail's matrix by its names, and the database's clock, which alone decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import Decider
from revenant.app import Revenant
from revenant.client.run import Run
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.queue.link import Link
from revenant.queue.mailbox import notify
from revenant.queue.rest import create_clock, set_clock
from revenant.queue.timetable import DUE_CHANNEL
from revenant.testing.served import ruled_by_clock
from revenant.worker.agenda import Agenda
from revenant.worker.timing.ticker import Ticker
from revenant.worker.worker import Worker
from revenant.workflows import Command, Complete, DecisionView, SleepUntil
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import Workflow, workflow
from tests.tools import eventually, rows, value
from tests.waiting import history, many, mark, naps, types, waits

Connection = psycopg.AsyncConnection[Any]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""Months away from the clock of the machine that runs these tests."""
HOUR = timedelta(hours=1)
Hire = Callable[[], Awaitable[Worker]]


@workflow
async def tells_time(flow: Flow) -> list[datetime]:
    before = flow.now()
    await flow.sleep(HOUR, id="hour")
    return [before, flow.now()]


@workflow
async def repeats(flow: Flow) -> None:
    await flow.sleep(HOUR, id="hour")
    await flow.sleep(HOUR, id="hour")


@workflow
async def until(flow: Flow, moment: datetime) -> str:
    await flow.sleep_until(moment)
    return "by a function"


class Until(Decider[datetime, str]):
    def decide(self, view: DecisionView[datetime]) -> Command:
        return Complete("by a decider") if view.timers else SleepUntil(view.input)


@workflow(timeout=3600)
async def bounded(flow: Flow, rounds: int) -> str:
    await flow.on_failure(mark, "undone")
    word = await flow.signal("word", str)
    if rounds:
        flow.continue_as_new(rounds - 1)
    return word


WORKFLOWS: list[Any] = [naps, waits, many, tells_time, repeats, until, Until, bounded]


@pytest_asyncio.fixture
async def desk(database: str) -> AsyncIterator[Connection]:
    """A connection by which the clock is moved."""
    async with await psycopg.AsyncConnection.connect(ruled_by_clock(database), autocommit=True) as connection:
        await create_clock(connection, NOON)
        yield connection


@pytest_asyncio.fixture
async def app(database: str, settings: Settings, desk: Connection) -> AsyncIterator[Revenant]:
    url = ruled_by_clock(database)
    async with Revenant(workflows=WORKFLOWS, database_url=url, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def hire(app: Revenant) -> AsyncIterator[Hire]:
    """Start workers; they stop with the test."""
    hired: list[Worker] = []

    async def start() -> Worker:
        hired.append(app.worker())
        await hired[-1].start()
        await hired[-1].ready()
        return hired[-1]

    yield start
    for worker in hired:
        await worker.stop(drain_timeout=5)


async def move(desk: Connection, moment: datetime) -> None:
    """Set the clock, and have whoever sleeps until something is due look."""
    await set_clock(desk, moment)
    await notify(desk, [(DUE_CHANNEL, "0")])


def ticker(database: str) -> Ticker:
    kinds = [one.kind for one in WORKFLOWS if isinstance(one, Workflow)]
    return Ticker(desk=Link(url=ruled_by_clock(database), role="desk"), agenda=Agenda(), kinds=kinds)


async def asleep(desk: Connection, run: Run[Any]) -> None:
    """Wait until the run waits for a timer, and nobody owns it."""
    found = "select count(*) from revenant.run_heads where key = %s and status = 'waiting' and waits::text ~ 'timer'"
    await eventually(lambda: value(desk, found, run.id))


async def sleeping(app: Revenant, hire: Hire, desk: Connection, seconds: float = 3600) -> Run[list[str]]:
    """Return a run that waits for its timer while no worker lives."""
    worker = await hire()
    run = await app.start(naps, seconds, id="n", timeout=30)
    await asleep(desk, run)
    await worker.stop(drain_timeout=5)
    return run


SCHEDULED = "select count(*) from revenant.scheduled"
FIRED = "select count(*) from revenant.messages where handler = 'fire'"


async def test_schedule_then_wait(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    run = await app.start(naps, 3600.0, id="n", timeout=30)
    await asleep(desk, run)
    assert (await types(desk, "n"))[-1] == "timer.scheduled"
    ((due,),) = await rows(desk, "select due from revenant.scheduled")
    assert due == NOON + HOUR
    await move(desk, NOON + HOUR)
    assert await run.result(timeout=30) == ["before", "after"]


async def test_future_timer_not_recoverable_due_one_is(
    app: Revenant, hire: Hire, desk: Connection, database: str
) -> None:
    await sleeping(app, hire, desk)
    recoverer = ticker(database)
    await set_clock(desk, NOON + HOUR - timedelta(microseconds=1))
    await recoverer.run_once(desk)
    assert (await value(desk, SCHEDULED), await value(desk, FIRED)) == (1, 0)
    await set_clock(desk, NOON + HOUR)
    await recoverer.run_once(desk)
    assert (await value(desk, SCHEDULED), await value(desk, FIRED)) == (0, 1)


async def test_fires_before_the_decider_continues(app: Revenant, hire: Hire, desk: Connection) -> None:
    run = await sleeping(app, hire, desk)
    await move(desk, NOON + HOUR)
    await hire()
    await run.result(timeout=30)
    told = await types(desk, "n")
    assert told[told.index("timer.scheduled") :] == [
        "timer.scheduled",
        "timer.fired",
        "step.scheduled",
        "attempt.started",
        "step.succeeded",
        "run.completed",
    ]


async def test_signal_before_deadline(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    in_time, late = [await app.start(waits, 3600.0, id=id, timeout=30) for id in ("in time", "late")]
    await in_time.signal("word", "here", timeout=30)
    assert await in_time.result(timeout=30) == "here"
    assert await value(desk, SCHEDULED) == 1, "the deadline of what came in time is left to come"
    await move(desk, NOON + HOUR)
    assert await late.result(timeout=30) == "late"
    assert "wait.expired" not in await types(desk, "in time")


async def test_reused_id_refused(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    run = await app.start(repeats, id="r", timeout=30)
    await asleep(desk, run)
    await move(desk, NOON + HOUR)
    with pytest.raises(RunFailed, match="Timer 'hour' was set before in run 'r'"):
        await run.result(timeout=30)
    assert (await types(desk, "r")).count("timer.scheduled") == 1


async def test_two_recoverers_cannot_fire_twice(app: Revenant, hire: Hire, desk: Connection, database: str) -> None:
    run = await sleeping(app, hire, desk)
    await set_clock(desk, NOON + HOUR)
    async with await psycopg.AsyncConnection.connect(ruled_by_clock(database), autocommit=True) as other:
        await asyncio.gather(ticker(database).run_once(desk), ticker(database).run_once(other))
    assert (await value(desk, SCHEDULED), await value(desk, FIRED)) == (0, 1)
    # Even a second message about the same timer, which nobody sends, would do nothing.
    await desk.execute(
        "insert into revenant.messages (bucket, kind, key, id, handler, args) "
        "select bucket, kind, key, %s, handler, args from revenant.messages where handler = 'fire'",
        (new_id(bucket_of("run:naps", "n")),),
    )
    await asyncio.gather(hire(), hire())
    assert await run.result(timeout=30) == ["before", "after"]
    assert (await types(desk, "n")).count("timer.fired") == 1
    await eventually(lambda: value(desk, "select count(*) = 0 from revenant.messages"))


async def test_fires_after_restart(app: Revenant, hire: Hire, desk: Connection) -> None:
    """Due while no worker lives; whoever comes fires it."""
    run = await sleeping(app, hire, desk)
    await set_clock(desk, NOON + 5 * HOUR)
    await hire()
    assert await run.result(timeout=30) == ["before", "after"]
    assert (await types(desk, "n")).count("attempt.started") == 2, "what was done before is done again"


async def test_the_clock_of_a_worker_may_be_wrong_by_months(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    run = await app.start(tells_time, id="t", timeout=30)
    await asleep(desk, run)
    ((due,),) = await rows(desk, "select due from revenant.scheduled")
    assert due == NOON + HOUR
    await move(desk, NOON + HOUR)
    before, after = await run.result(timeout=30)
    margin = timedelta(minutes=5)
    assert NOON <= before < NOON + margin
    assert NOON + HOUR <= after < NOON + HOUR + margin


async def test_a_moment_is_slept_until_and_not_longer(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    moment = NOON + 5 * HOUR
    runs = [await app.start(code, moment, id=id, timeout=30) for id, code in (("f", until), ("d", Until))]
    for run in runs:
        await asleep(desk, run)
    assert await rows(desk, "select due from revenant.scheduled") == [(moment,), (moment,)]
    await move(desk, moment - timedelta(microseconds=1))
    late = await app.start(until, moment - HOUR, id="late", timeout=30)
    assert await late.result(timeout=30) == "by a function"
    assert await value(desk, SCHEDULED) == 2
    await move(desk, moment)
    assert [await run.result(timeout=30) for run in runs] == ["by a function", "by a decider"]


async def test_many_timers_of_one_run_are_all_cancelled_when_something_else_comes_first(
    app: Revenant, hire: Hire, desk: Connection
) -> None:
    await hire()
    run = await app.start(many, 200, id="m", timeout=30)
    await asleep(desk, run)
    assert await value(desk, SCHEDULED) == 200
    await run.signal("enough", timeout=30)
    assert await run.result(timeout=30) == 1
    assert await value(desk, SCHEDULED) == 0
    assert (await types(desk, "m")).count("timer.cancelled") == 200


async def test_many_timers_of_one_run_fire_each_at_its_time(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    run = await app.start(many, 20, id="m", timeout=30)
    await asleep(desk, run)
    await move(desk, NOON + 10 * HOUR)
    await eventually(lambda: value(desk, "select count(*) = 10 from revenant.run_events where type = 'timer.fired'"))
    assert await value(desk, SCHEDULED) == 10
    await move(desk, NOON + 20 * HOUR)
    assert await run.result(timeout=30) == 0
    fired = [op for type, op, _ in await history(desk, "m") if type == "timer.fired"]
    assert len(fired) == len(set(fired)) == 20


async def test_a_run_that_takes_longer_than_it_may_fails_and_undoes_what_it_did(
    app: Revenant, hire: Hire, desk: Connection
) -> None:
    await hire()
    run = await app.start(bounded, 0, id="b", timeout=30)
    await move(desk, NOON + HOUR)
    with pytest.raises(RunFailed, match="took longer than 3600 s") as told:
        await run.result(timeout=30)
    assert told.value.type == "RunTimeout"
    events = await history(desk, "b")
    assert [data["input"] for type, _, data in events if type == "step.scheduled"] == [["undone"]]
    assert events[-1][0] == "run.failed"


async def test_the_end_of_a_run_takes_its_time_out_along(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    done, cancelled = [await app.start(bounded, 0, id=id, timeout=30) for id in ("done", "cancelled")]
    await done.signal("word", "yes", timeout=30)
    assert await done.result(timeout=30) == "yes"
    await cancelled.cancel(timeout=30)
    with pytest.raises(RunFailed):
        await cancelled.result(timeout=30)
    assert await value(desk, SCHEDULED) == 0


async def test_a_run_that_goes_on_afresh_has_its_time_afresh(app: Revenant, hire: Hire, desk: Connection) -> None:
    await hire()
    run = await app.start(bounded, 1, id="b", timeout=30)
    await set_clock(desk, NOON + HOUR / 2)
    await run.signal("word", "first", timeout=30)
    due = "select due from revenant.scheduled"
    await eventually(lambda: _only(desk, due, NOON + HOUR * 1.5))
    await move(desk, NOON + HOUR)
    await run.signal("word", "second", timeout=30)
    assert await run.result(timeout=30) == "second"


async def _only(connection: Connection, query: str, wanted: object) -> bool:
    return await rows(connection, query) == [(wanted,)]
