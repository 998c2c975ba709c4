"""Calls: many callers, each waiting for its receipts, in slices that alternate with plain SQL by the same callers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from revenant.bench.effort import CALLERS, INTAKE, LISTENING, TURNS, WORKERS, look_at_effort
from revenant.bench.load import Measured, Request, press, work_off
from revenant.bench.plain import Plain
from revenant.bench.ring import Ring, ring
from revenant.bench.snapshot import held_snapshot
from revenant.bench.tally import Tally, tally

SLICES = 4
"""Slices of each kind: what else the machine does hits both alike."""
WARM_UP_SECONDS = 1.0
"""Never longer than the measurement itself."""
ALONE_SECONDS = 2.0
"""How long one caller alone is measured, before and under a held snapshot; never longer than all of them."""
SEEDS_AT_ONCE = 512
CALL_PARTS = (CALLERS, WORKERS, INTAKE, TURNS, LISTENING)
"""Who takes part in a call; plain SQL has callers and a server."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Calls and plain SQL, measured in the same stretch of time."""

    calls: Measured
    plain: Measured

    @property
    def ratio(self) -> float | None:
        """Calls for each plain update."""
        return self.calls.per_second / self.plain.per_second if self.plain.per_second else None

    @property
    def effort_ratio(self) -> float | None:
        """Calls for each plain update by processor time: what the ratio is where nothing is waited for."""
        calls, plain = self.calls.micros(), self.plain.micros()
        return plain / calls if plain and calls else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsResult:
    """What `bench calls` measured."""

    callers: int
    entities: int
    workers: int
    measured: Pair
    """The measurement; under a held snapshot, the one at the end of the hold."""
    fresh: Pair | None
    """The measurement before the snapshot was taken."""
    alone: Measured | None
    """One caller under the snapshot."""
    fresh_alone: Measured | None
    """One caller before it."""
    hold: float
    """Seconds of traffic of each kind under the snapshot before the measurement."""
    tally: Tally


class _Bench:
    """The two kinds of request, and the memory of all that was measured."""

    def __init__(self, *, site: Ring, plain: Plain, callers: int, entities: int) -> None:
        self._counters = [site.counter(number) for number in range(entities)]
        self._plain = plain
        self._callers = callers
        self._entities = entities
        self._site = site
        self.calls: list[Measured] = []
        """Everything that called, warm-ups too: the sum of the counters must agree with it."""

    async def call(self, _: int, entity: int) -> int:
        return await self._counters[entity].add(1)

    async def seed(self) -> None:
        """Make every entity, since every row of the plain table is there already."""
        pace = await work_off(self.call, total=self._entities, entities=self._entities, at_once=SEEDS_AT_ONCE)
        self.calls.append(Measured(latencies=[0.0] * pace.count))

    async def pair(self, seconds: float) -> Pair:
        """Measure both for so many seconds each, slice by slice."""
        pair = Pair(Measured(), Measured())
        self.calls.append(pair.calls)
        for _ in range(SLICES):
            await self._press(self._plain.add, seconds / SLICES, pair.plain)
            await self._press(self.call, seconds / SLICES, pair.calls)
            self._site.crew.watch()
        return pair

    async def alone(self, seconds: float) -> Measured:
        """Measure one caller."""
        measured = Measured()
        self.calls.append(measured)
        await press(self.call, callers=1, entities=self._entities, seconds=min(seconds, ALONE_SECONDS), into=measured)
        return measured

    async def _press(self, request: Request, seconds: float, into: Measured) -> None:
        before = await look_at_effort(self._site.look, self._site.crew)
        await press(request, callers=self._callers, entities=self._entities, seconds=seconds, into=into)
        into.effort.add(before, await look_at_effort(self._site.look, self._site.crew))


async def measure_calls(
    *, callers: int, entities: int, seconds: float, workers: int, hold: float, say: Callable[[str], None]
) -> CallsResult:
    """Measure; `hold` is in seconds, 0 for no snapshot."""
    async with (
        ring(workers=workers, say=say) as site,
        Plain(url=site.url, run=site.run.id, entities=entities, callers=callers) as plain,
    ):
        await site.start()
        bench = _Bench(site=site, plain=plain, callers=callers, entities=entities)
        await bench.seed()
        await bench.pair(min(seconds, WARM_UP_SECONDS))
        measured = await bench.pair(seconds)
        fresh = alone = fresh_alone = None
        if hold:
            fresh, fresh_alone = measured, await bench.alone(seconds)
            async with held_snapshot(site.url):
                say(f"Another session holds a snapshot; {hold:g} s of traffic of each kind before measuring again …")
                await bench.pair(hold)
                measured = await bench.pair(seconds)
                alone = await bench.alone(seconds)
        await site.settle()
        return CallsResult(
            callers=callers,
            entities=entities,
            workers=workers,
            measured=measured,
            fresh=fresh,
            alone=alone,
            fresh_alone=fresh_alone,
            hold=hold,
            tally=tally(bench.calls, total=await site.total(), more=measured.plain.errors),
        )


def calls_as_json(result: CallsResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second, `_ms` in milliseconds, `_us` microseconds."""
    calls, plain = result.measured.calls, result.measured.plain
    figures: dict[str, object] = {
        "calls_per_second": round(calls.per_second, 1),
        "p50_ms": calls.at(0.5),
        "p95_ms": calls.at(0.95),
        "p99_ms": calls.at(0.99),
        "baseline_per_second": round(plain.per_second, 1),
        "baseline_p50_ms": plain.at(0.5),
        "ratio": _rounded(result.measured.ratio),
        "cpu_us": _micros(calls),
        **{f"{part}_cpu_us": _micros(calls, part) for part in CALL_PARTS},
        "baseline_cpu_us": _micros(plain),
        "cpu_ratio": _rounded(result.measured.effort_ratio),
        "callers": result.callers,
        "entities": result.entities,
        "workers": result.workers,
        "seconds": round(calls.seconds, 3),
        "calls": len(calls.latencies),
        **result.tally.as_json(),
    }
    if result.fresh and result.alone and result.fresh_alone:
        fresh = result.fresh
        figures |= {
            "hold_seconds": result.hold,
            "fresh_per_second": round(fresh.calls.per_second, 1),
            "fresh_p50_ms": fresh.calls.at(0.5),
            "fresh_baseline_per_second": round(fresh.plain.per_second, 1),
            "fresh_ratio": _rounded(fresh.ratio),
            "held_to_fresh": _share(calls, fresh.calls),
            "baseline_held_to_fresh": _share(plain, fresh.plain),
            "alone_p50_ms": result.alone.at(0.5),
            "fresh_alone_p50_ms": result.fresh_alone.at(0.5),
        }
    return figures


def _micros(measured: Measured, *parts: str) -> float | None:
    return _rounded(measured.micros(*parts))


def _share(part: Measured, whole: Measured) -> float | None:
    return _rounded(part.per_second / whole.per_second) if whole.per_second else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
