"""What people do to runs, beside a worker that goes on with them: cancel, park, resume, requeue, migrate, fork."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.config import Settings
from revenant.errors import (
    ConfigurationError,
    RunCancelled,
    RunEnded,
    RunExists,
    RunFailed,
    RunNotFound,
    RunRefused,
    UnknownWorkflow,
)
from revenant.workflows.events import ENDS
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests import moves
from tests.flows import served, types
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
undone: Counter[str] = Counter()


async def work(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def undo(key: str) -> None:
    undone[key] += 1


@workflow
async def busy(flow: Flow, steps: int) -> int:
    await flow.on_failure(undo, flow.id)
    for number in range(steps):
        await flow.step(work, number)
    return steps


async def stands(run: Run[Any], status: str) -> Any:
    async def described() -> Any:
        found = await run.describe()
        return found if found.status == status else None

    return await eventually(described, what=f"run {run.id} is {status}")


async def test_whatever_races_there_is_one_end_and_all_is_as_the_history_says(
    database: str, settings: Settings, connection: Connection
) -> None:
    undone.clear()
    chance = random.Random(7)  # the same races each time, as far as that goes
    async with served(database, settings, busy) as app:
        # Some are short, and over before anybody meddles; some go on for long, and are cancelled on the way.
        steps = [chance.randrange(1, 12) if number % 5 else 300 for number in range(40)]
        runs = [await app.start(busy, count, id=f"r{number}") for number, count in enumerate(steps)]

        async def meddle(run: Run[Any]) -> Counter[str]:
            told: Counter[str] = Counter()
            doors = [run.park, run.resume, run.requeue, run.cancel, run.resume, run.migrate]
            for door in chance.choices(doors, k=8):
                try:
                    await door(timeout=30)
                    told[door.__name__] += 1
                except RunRefused as error:
                    told["refused"] += 1
                    # What is said to have ended has.
                    if isinstance(error, RunEnded):
                        assert (await run.describe()).status in ENDS.values()
            try:
                await run.resume(timeout=30)
            except RunRefused:
                told["refused"] += 1
            return told

        told = await asyncio.gather(*(meddle(run) for run in runs for _ in range(2)))
        ends = await asyncio.gather(*(run.result(timeout=60) for run in runs), return_exceptions=True)
    assert sum(one["refused"] for one in told) > 0
    seen = Counter(type(one).__name__ for one in ends)
    assert set(seen) == {"int", "RunCancelled"}, seen
    for run, end in zip(runs, ends, strict=True):
        happened = await types(connection, run.id)
        assert [type for type in happened if type in ENDS] == happened[-1:]
        assert happened.count("run.cancelling") == isinstance(end, RunCancelled)
        assert undone[run.id] == isinstance(end, RunCancelled)
        assert happened.count("run.parked") >= happened.count("run.resumed")
    gaps = "select run from revenant.run_events group by run having count(*) <> max(seq) or min(seq) <> 1"
    assert await rows(connection, gaps) == []
    assert await value(connection, "select count(*) from revenant.run_heads where owner is not null") == 0


async def test_a_run_goes_on_with_the_code_it_was_started_with_and_with_newer_code_when_it_is_moved(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, moves.move) as app:
        runs = [await app.start(moves.move, "a vase", id=id) for id in ("stays", "moves")]
        for run in runs:
            await stands(run, "waiting")
    async with served(database, settings, moves.move, moves.move_by_air) as app:
        stays, going = (app.run(moves.move, id) for id in ("stays", "moves"))
        with pytest.raises(UnknownWorkflow, match="No live worker has version 9"):
            await going.migrate(9)
        await going.migrate()
        await going.migrate(2)
        for run in (stays, going):
            await run.signal("go")
        assert await stays.result(timeout=20) == "packed a vase, carried"
        assert await going.result(timeout=20) == "packed a vase, flown by air"
        assert (await types(connection, "moves")).count("run.migrated") == 1
        versions = [one.version for one in (await going.describe()).operations]
        assert versions == [1, None, 2]
        fresh = await app.start(moves.move_by_air, "glass case", id="fresh")
        assert (await fresh.describe()).version == 2


async def test_a_run_whose_version_is_nowhere_is_blocked_with_what_to_do_and_goes_on_once_moved(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, moves.move) as app:
        await stands(await app.start(moves.move, "a vase", id="m"), "waiting")
    async with served(database, settings, moves.move_nothing) as app:
        run = app.run("move", "m")
        await run.signal("go")
        found = await stands(run, "blocked")
        assert "version 1" in found.problem
        assert "revenant run migrate" in found.problem
        await run.migrate()
        found = await stands(run, "blocked")
        assert found.version == 3
        assert "'pack'" in (found.problem or "")
        assert "'sweep'" in (found.problem or "")
        with pytest.raises(RunRefused, match="Requeue it") as refused:
            await run.migrate(3)
        assert type(refused.value) is RunRefused, "it has not ended"
    # A deploy that is taken back: newer runs are moved to the code that is there.
    async with served(database, settings, moves.move_by_air) as app:
        run = app.run("move", "m")
        await run.migrate()
        assert await run.result(timeout=20) == "packed a vase, flown by air"


async def test_a_failed_run_is_forked_from_the_step_that_failed_and_any_other_from_any_step(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, moves.move, moves.move_by_air) as app:
        failed = await app.start("move", "glass", id="failed")
        with pytest.raises(RunFailed):
            await failed.result(timeout=20)
        again = await app.fork(failed, id="again")
        with pytest.raises(RunFailed, match="it broke"):
            await again.result(timeout=20)
        run = await app.start("move", "a vase", id="done")
        # A signal that comes before the code asks for it belongs to what a fork from there takes over.
        await stands(run, "waiting")
        await run.signal("go")
        assert await run.result(timeout=20) == "packed a vase, flown by air"
        other = await app.fork(run, id="other", step="ship")
        assert await other.result(timeout=20) == "packed a vase, flown by air"
        older = await app.fork(run, id="older", step="ship", version=1)
        assert await older.result(timeout=20) == "packed a vase, carried"
        found = await older.describe()
        assert found.version == 1
        assert found.forked_from == {"id": "done", "run": (await run.describe()).run, "op": 3, "events": 6}
        waiting = await app.fork(run, id="waiting", step="go")
        await stands(waiting, "waiting")
        await waiting.cancel()
        with pytest.raises(RunCancelled):
            await waiting.result(timeout=20)
        revived = await app.fork(waiting, id="revived", step="go")
        await revived.signal("go")
        assert await revived.result(timeout=20) == "packed a vase, flown by air"
        # The same fork is the same run; another one of that id is refused.
        assert await (await app.fork(run, id="other", step="ship")).result(timeout=20)
        for step, version in (("go", None), ("ship", 1)):
            with pytest.raises(RunExists):
                await app.fork(run, id="other", step=step, version=version)
        with pytest.raises(RunExists):
            await app.start("move", "a vase", id="other")
        with pytest.raises(ConfigurationError, match="has not asked for 'fly'"):
            await app.fork(run, id="x", step="fly")
        with pytest.raises(RunNotFound):
            await app.fork(app.run("move", "nobody"), id="x")
    packed = "select count(*) from revenant.run_events where type = 'attempt.started' and op = 1"
    assert await value(connection, packed) == 2 + 1 + 4, "finished steps are not run again"


async def test_a_fork_onto_code_that_does_not_fit_is_blocked_and_a_blocked_run_is_forked(
    database: str, settings: Settings
) -> None:
    async with served(database, settings, moves.move, moves.move_nothing) as app:
        run = await app.start("move", "a vase", id="newest")
        assert await run.result(timeout=20) == "swept a vase"
    async with served(database, settings, moves.move) as app:
        run = await app.start("move", "a vase", id="m")
        await stands(run, "waiting")
    async with served(database, settings, moves.move, moves.move_nothing) as app:
        run = app.run("move", "m")
        blocked = await app.fork(run, id="blocked", step="go", version=3)
        found = await stands(blocked, "blocked")
        assert "'pack'" in (found.problem or "")
        freed = await app.fork(blocked, id="freed", step="pack", version=3)
        assert await freed.result(timeout=20) == "swept a vase"


async def test_a_history_that_is_none_is_refused_and_starts_nothing(
    app: Revenant, database: str, settings: Settings
) -> None:
    async with served(database, settings, moves.move) as other:
        for id, events in (("a", [["run.completed", None, "2026-01-01T00:00:00+00:00", {}]]), ("b", [1])):
            await app.cast(app.ref("run:move", id).start(input="x", version=1, events=events))
        await eventually(lambda: _none_waits(database))
        for id in "ab":
            with pytest.raises(RunNotFound):
                await other.run("move", id).describe()


async def _none_waits(database: str) -> bool:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        return bool(await value(connection, "select count(*) = 0 from revenant.messages"))
