"""Workflows: runs of a few steps, each step durable before the next begins, beside as many plain commits of one row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from revenant.bench.course import course, field
from revenant.bench.load import Measured, Pace, attempt
from revenant.bench.plain import Plain
from revenant.bench.ring import Ring, ring
from revenant.bench.tally import Tally
from revenant.sql import statement

SLICES = 4
"""Slices of each kind: what else the machine does hits both alike."""
WARM_UP = 0.1
"""Share of the runs that are not measured, first."""
MOST_ALONE = 200
"""Runs that are measured one after the other; never more than all of them."""
KINDS = (course.kind, field.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowsResult:
    """What `bench workflows` measured."""

    in_flight: int
    steps: int
    runs: Measured
    plain: Measured
    """As many checkpoints by plain SQL; one of its latencies is that of a whole run's."""
    alone: Measured
    wal_bytes: float
    """Of one run."""
    worker_ms: float | None
    """Processor time that the worker took for 1,000 runs; None where the system does not tell."""
    items: int
    mapped: Pace
    """`flow.map` over so many items, in one run."""
    tally: Tally

    @property
    def ratio(self) -> float | None:
        """Runs for each plain run."""
        return self.runs.per_second / self.plain.per_second if self.plain.per_second else None


class _Bench:
    """The two kinds of run, and the memory of all that was measured."""

    def __init__(self, site: Ring, plain: Plain, *, in_flight: int, steps: int) -> None:
        self._site = site
        self._plain = plain
        self._in_flight = in_flight
        self._steps = steps
        self._next = 0
        self.worker_seconds: float | None = 0.0
        self.finished = 0
        """Runs that came to their results."""
        self.wrong = 0

    async def run(self, _: int, __: int) -> None:
        self._next += 1
        handle = await self._site.app.start(course, self._steps, id=self._site.run.key(f"run-{self._next}"))
        result = await handle.result(timeout=60)
        self.finished += 1
        self.wrong += result != self._steps

    async def plainly(self, caller: int, _: int) -> None:
        for _ in range(self._steps):
            await self._plain.add(caller, caller)

    async def press(self, request: Callable[[int, int], object], runs: int, *, in_flight: int, into: Measured) -> None:
        """Make so many runs, so many at a time."""
        numbers = iter(range(runs))

        async def caller(number: int) -> None:
            for _ in numbers:
                await attempt(request, number, 0, into=into)  # type: ignore[arg-type]  # both kinds are awaitable

        began = time.perf_counter()
        await asyncio.gather(*(caller(number) for number in range(min(in_flight, runs))))
        into.seconds += time.perf_counter() - began

    async def slices(self, runs: int) -> tuple[Measured, Measured, int]:
        """Measure both, slice by slice; return the bytes of WAL that the runs took as well."""
        ours, plain, wal = Measured(), Measured(), 0
        for _ in range(SLICES):
            await self.press(self.plainly, runs // SLICES, in_flight=self._in_flight, into=plain)
            before, used = await self._written(), self._site.crew.cpu_seconds()
            await self.press(self.run, runs // SLICES, in_flight=self._in_flight, into=ours)
            wal += await self._written() - before
            self._count(used, self._site.crew.cpu_seconds())
            self._site.crew.watch()
        return ours, plain, wal

    def _count(self, before: float | None, after: float | None) -> None:
        known = None not in (before, after, self.worker_seconds)
        self.worker_seconds = (self.worker_seconds or 0) + (after or 0) - (before or 0) if known else None

    def worker_ms(self, runs: int) -> float | None:
        """Return the worker's processor time for 1,000 of so many runs, in milliseconds."""
        return self.worker_seconds / runs * 1e6 if self.worker_seconds is not None and runs else None

    async def _written(self) -> int:
        row = await (await self._site.look.execute(statement("read_wal"))).fetchone()
        assert row is not None
        return int(row[0])


async def measure_workflows(
    *, runs: int, in_flight: int, steps: int, items: int, say: Callable[[str], None]
) -> WorkflowsResult:
    """Measure runs, so many at a time, one run alone, and one run over many items; one worker."""
    async with (
        ring(workers=1, say=say, workflows=(course, field)) as site,
        Plain(url=site.url, run=site.run.id, entities=in_flight, callers=in_flight) as plain,
    ):
        await site.start()
        bench = _Bench(site, plain, in_flight=in_flight, steps=steps)
        warm_up, alone = Measured(), Measured()
        await bench.press(bench.run, max(1, int(runs * WARM_UP)), in_flight=in_flight, into=warm_up)
        ours, plainly, wal = await bench.slices(max(SLICES, runs))
        await bench.press(bench.run, min(runs, MOST_ALONE), in_flight=1, into=alone)
        began = time.perf_counter()
        handle = await site.app.start(field, items, id=site.run.key("field"))
        total = await handle.result(timeout=600)
        mapped = Pace(items, time.perf_counter() - began)
        measured = (warm_up, ours, alone)
        expected = sum(len(part.latencies) for part in measured) + 1
        right = total == items * (items + 1) // 2
        return WorkflowsResult(
            in_flight=in_flight, steps=steps, runs=ours, plain=plainly, alone=alone, items=items, mapped=mapped,
            wal_bytes=wal / max(1, len(ours.latencies)),
            worker_ms=bench.worker_ms(len(ours.latencies)),
            tally=Tally(
                expected=expected,
                total=bench.finished - bench.wrong + right,
                unknown=sum(part.unknown for part in measured),
                errors=sum(part.errors for part in (*measured, plainly)),
                first_error=next((part.first_error for part in (*measured, plainly) if part.first_error), None),
            ),
        )  # fmt: skip


def workflows_as_json(result: WorkflowsResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second, `_ms` in milliseconds."""
    return {
        "runs_per_second": round(result.runs.per_second, 1),
        "p50_ms": result.runs.at(0.5),
        "p95_ms": result.runs.at(0.95),
        "p99_ms": result.runs.at(0.99),
        "baseline_runs_per_second": round(result.plain.per_second, 1),
        "baseline_p50_ms": result.plain.at(0.5),
        "ratio": None if result.ratio is None else round(result.ratio, 3),
        "wal_bytes_per_run": round(result.wal_bytes),
        "worker_cpu_ms_per_1000": None if result.worker_ms is None else round(result.worker_ms, 1),
        "alone_p50_ms": result.alone.at(0.5),
        "alone_p99_ms": result.alone.at(0.99),
        "items": result.items,
        "items_seconds": round(result.mapped.seconds, 3),
        "runs": len(result.runs.latencies),
        "in_flight": result.in_flight,
        "steps": result.steps,
        **result.tally.as_json(),
    }
