"""What a worker keeps of runs in memory: those that wait are a cache of bounded size, and those that ended are gone."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from types import CoroutineType, GeneratorType

import pytest

from revenant import Flow, Retry, Revenant, Settings, StepFailed, workflow
from revenant.testing import memory_app
from revenant.worker.runs import stage
from revenant.worker.worker import RUNNERS
from revenant.workflows.live import LiveRun
from tests.flows import served
from tests.tools import eventually

_STORED = {
    "revenant.entities.address.Address",
    "revenant.queue.runs.RunWrite",
    "MemoryArchive._rows",
    "MemoryArchive._streams",
}
"""What a memory application keeps of runs that have ended: rows and events, as Postgres does."""
_OURS = (asyncio.Task, asyncio.TimerHandle, CoroutineType, GeneratorType)


async def work(number: int) -> int:
    return number + 1


async def fail(number: int) -> int:
    raise ValueError(number)


@workflow
async def is_short(flow: Flow, number: int) -> int:
    """All that a short run can do: steps, a race, a failed step, a timer, parts side by side, something to undo."""
    await flow.on_failure(work, number)
    first = await flow.step(work, number)
    _, both = await flow.race(flow.signal("never", timeout=3600), flow.map(work, [first, first]))
    try:
        await flow.step(fail, number, retry=Retry(attempts=1), timeout=60)
    except StepFailed:
        pass  # the run goes on
    return first + int(sum(both))


@workflow
async def naps(flow: Flow, number: int) -> int:
    """Waits until it is woken."""
    await flow.signal("wake")
    return await flow.step(work, number)


def kept() -> Counter[str]:
    """Count what is alive: our objects by their types, and what is in the collections that they hold."""
    for _ in range(3):
        gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        # By its type alone: asked what it is, an object of somebody else's may do anything.
        if issubclass(kind, asyncio.TimerHandle) and one.cancelled():
            continue  # the event loop clears these away now and then
        if str(kind.__module__).startswith("revenant") or issubclass(kind, _OURS):
            found[f"{kind.__module__}.{kind.__qualname__}"] += 1
            for name, value in _attributes(one):
                if isinstance(value, dict | list | set | deque):
                    found[f"{kind.__qualname__}.{name}"] += len(value)
    return found


def _attributes(one: object) -> Iterator[tuple[str, object]]:
    try:
        yield from object.__getattribute__(one, "__dict__").items()
    except AttributeError:
        pass  # it has slots only
    for kind in type(one).__mro__:
        names = vars(kind).get("__slots__", ())
        yield from ((name, getattr(one, name, None)) for name in ([names] if isinstance(names, str) else names))


def grown(before: Counter[str], after: Counter[str], least: int) -> dict[str, int]:
    """Return the types of which there are so many more."""
    return {name: many - before[name] for name, many in after.items() if many - before[name] > least}


async def run_all(app: Revenant, first: int, count: int) -> None:
    """Start runs and wait for them, a hundred at a time."""
    for start in range(first, first + count, 100):
        runs = await asyncio.gather(*(app.start(is_short, n, id=f"r{n}") for n in range(start, start + 100)))
        await asyncio.gather(*(run.result(timeout=60) for run in runs))


async def test_ended_runs_leave_nothing_in_a_worker(database: str, settings: Settings) -> None:
    async with served(database, settings, is_short) as app:
        await run_all(app, 0, 300)
        before = kept()
        await run_all(app, 1000, 800)
        # Something for each run would be 800; a preference for each of 256 buckets is no leak. A caller has its
        # result a moment before the worker has put the run away.
        await eventually(lambda: set(grown(before, kept(), 100)) <= {"Fleet._first"})


async def test_in_memory_of_ended_runs_only_what_is_stored_is_left() -> None:
    app = memory_app(workflows=[is_short], now=datetime(2026, 1, 1, tzinfo=UTC))
    await run_all(app, 0, 200)
    before = kept()
    await run_all(app, 1000, 600)
    after = kept()
    assert set(grown(before, after, 75)) == _STORED


async def test_runs_that_wait_are_kept_in_memory_up_to_a_limit(
    database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST_IDLE", 20)
    async with served(database, settings, naps) as app:
        runs = await asyncio.gather(*(app.start(naps, n, id=f"n{n}") for n in range(300)))
        await asyncio.gather(*(run.signal("nothing") for run in runs))

        def bounded() -> bool:
            gc.collect()
            return 0 < sum(type(one) is LiveRun for one in gc.get_objects()) <= 20 * RUNNERS

        await eventually(bounded)
        await asyncio.gather(*(run.signal("wake") for run in runs))
        assert [await run.result(timeout=60) for run in runs] == list(range(1, 301))
