"""What a run holds and no append can write costs that run alone: it is blocked, and says why; its neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from revenant.config import Settings
from revenant.errors import CallTimeout, RunEnded
from revenant.testing import MemoryApp, memory_app
from revenant.worker.runs import late
from revenant.workflows import waits
from revenant.workflows.events import Event
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import note_job
from tests.flows import Connection, served, types
from tests.tools import eventually, rows

ALL_OF_THEM = 6
mended: set[str] = set()
"""Names of workflows whose code is right by now."""


@pytest.fixture(autouse=True)
def _unmended() -> None:
    mended.clear()


async def work(number: int) -> int:
    return number


@workflow
async def fine(flow: Flow) -> int:
    """Is none of the others' business."""
    return await flow.step(work, 1)


@workflow
async def by_a_name(flow: Flow) -> int:
    """Waits under a name that is no text."""
    await flow.signal("go" if "by_a_name" in mended else "go\udcff")
    return 1


@workflow
async def by_a_job(flow: Flow) -> int:
    """Defers a job with what procrastinate cannot write."""
    when = "now" if "by_a_job" in mended else datetime(2026, 1, 1, tzinfo=UTC)
    await flow.step(work, 1)
    await flow.defer(note_job, word=when)
    return 1


@workflow
async def afresh(flow: Flow, generation: int) -> int:
    """Cannot be written once it has gone on afresh."""
    if generation == 1:
        flow.continue_as_new(2)
    await flow.defer(note_job, word="now" if "afresh" in mended else datetime(2026, 1, 1, tzinfo=UTC))
    return generation


BAD = (by_a_name, by_a_job)


@asynccontextmanager
async def in_memory(*workflows: Any) -> AsyncIterator[MemoryApp]:
    yield memory_app(workflows=workflows)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given at the door is not looked at: what is behind it must hold by itself."""
    monkeypatch.setattr(waits, "checked_name", lambda given, *_, **__: given, raising=False)


async def neighbours(app: Any, bad: Any) -> Any:
    """Start a bad run among good ones; return it once the good ones have ended."""
    good = [await app.start(fine, id=f"before{number}") for number in range(ALL_OF_THEM)]
    run = await asyncio.wait_for(app.start(bad, id="bad"), 10)
    good += [await app.start(fine, id=f"after{number}") for number in range(ALL_OF_THEM)]
    assert [await one.result(timeout=10) for one in good] == [1] * 2 * ALL_OF_THEM
    return run


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_what_cannot_be_written_blocks_its_run_and_nobody_elses(
    database: str, settings: Settings, connection: Connection, bad: Any
) -> None:
    async with served(database, settings, bad, fine) as app:
        run = await neighbours(app, bad)
        seen = await eventually(lambda: blocked(run))
        assert "cannot be told" in seen.problem
        assert ("UTF-8" in seen.problem or "surrogate" in seen.problem) == (bad is by_a_name)
        assert ("datetime is not JSON serializable" in seen.problem) == (bad is by_a_job)
        assert (await types(connection, "bad"))[-1] == "run.blocked"
        await run.signal("go", timeout=10)
        mended.add(bad.name)
        await run.requeue()
        assert await run.result(timeout=10) == 1
    ends = [type for type in await types(connection, "bad") if type in ("run.completed", "run.failed")]
    assert ends == ["run.completed"]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_in_memory_too(bad: Any) -> None:
    async with in_memory(bad, fine) as app:
        run = await neighbours(app, bad)
        seen = await run.describe()
        assert seen.status == "blocked"
        assert "cannot be told" in (seen.problem or "")
        await run.signal("go")
        mended.add(bad.name)
        await run.requeue()
        assert await run.result() == 1


@pytest.mark.parametrize("error", [RecursionError, TypeError, UnicodeError, ZeroDivisionError])
async def test_whatever_is_raised_where_events_are_written_costs_that_run_alone(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    written: Any = Event.text

    def text(event: Event) -> Any:
        if event.type == "job.deferred":
            raise error("nothing writes that")
        return written.fget(event)

    monkeypatch.setattr(Event, "text", property(text))
    async with served(database, settings, by_a_job, fine) as app:
        run = await neighbours(app, by_a_job)
        seen = await eventually(lambda: blocked(run))
        assert f"{error.__name__}: nothing writes that" in seen.problem
    assert (await types(connection, "bad"))[-2:] == ["attempt.started", "run.blocked"]


async def test_a_fresh_history_that_cannot_be_written_is_blocked_once_and_goes_on_when_its_code_is_mended(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, afresh) as app:
        run = await app.start(afresh, 1, id="bad")
        await eventually(lambda: blocked(run))
        for number in range(3):
            assert await run.signal("heard", number, timeout=10)
        told = await types(connection, "bad")
        assert told.count("run.blocked") == 1
        assert told.count("signal.received") == 3
        assert await rows(connection, "select owner from revenant.run_heads where key = 'bad'") == [(None,)]
        mended.add("afresh")
        await run.requeue()
        assert await run.result(timeout=10) == 2
    assert (await types(connection, "bad"))[0] == "run.started"


async def test_a_fork_that_cannot_be_written_keeps_the_history_that_it_was_given(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, by_a_job) as app:
        mended.add("by_a_job")
        run = await app.start(by_a_job, id="first")
        assert await run.result(timeout=10) == 1
        mended.clear()
        fork = await app.fork(run, id="bad", step="note_job")
        await eventually(lambda: blocked(fork))
        assert await types(connection, "bad") == [
            "run.started",
            "step.scheduled",
            "attempt.started",
            "step.succeeded",
            "run.blocked",
        ]
        mended.add("by_a_job")
        await fork.requeue()
        assert await fork.result(timeout=10) == 1


async def test_a_late_answer_that_cannot_be_written_keeps_nobody_elses_from_going(
    database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Any = vars(late)["append_runs"]

    async def write(*args: Any, **more: Any) -> Any:
        if any("'bad'" in reply.body for reply, _ in args[4].replies):
            raise psycopg.errors.UntranslatableCharacter("no text")
        return await written(*args, **more)

    monkeypatch.setattr(late, "append_runs", write)
    async with served(database, settings, fine) as app:
        runs = [await app.start(fine, id=id) for id in ("bad", *map(str, range(40)))]
        assert {await run.result(timeout=10) for run in runs} == {1}
        told = await asyncio.gather(*(run.signal("go", timeout=2) for run in runs), return_exceptions=True)
        assert [type(one) for one in told] == [CallTimeout, *[RunEnded] * 40]


async def blocked(run: Any) -> Any:
    seen = await run.describe()
    return seen if seen.status == "blocked" else None
