"""Crowd: what callers notice of 100,000 messages that nobody waits for: due at one instant, left over, or just sent.

Before it and after it the same callers call alone: the shares are of one run on one machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from revenant.bench.counter import BenchCounter
from revenant.bench.guest import BenchOther
from revenant.bench.load import Measured, Pace, press, press_while, work_off
from revenant.bench.ring import Ring, ring
from revenant.bench.tally import Tally, tally
from revenant.codec import bucket_of, new_id
from revenant.queue.records import Scheduled
from revenant.queue.timetable import schedule
from revenant.trial.settling import settle

Crowd = Literal["timers", "casts", "sent"]
CROWDS: tuple[Crowd, ...] = get_args(Crowd)
LIVE_ENTITIES = 200
"""Entities that are called; the crowd is for others."""
SENDERS = 1000
"""Messages of the crowd that wait for their confirmation at once."""
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdResult:
    """What `bench crowd` measured."""

    of: Crowd
    callers: int
    entities: int
    workers: int
    alone: Measured
    """The callers before and after the crowd."""
    beside: Measured
    """The same callers while it was handled."""
    drained: Pace
    """The crowd, from its first moment to its last message."""
    tally: Tally

    @property
    def kept(self) -> float | None:
        """The share of their calls a second that the callers keep."""
        return self.beside.per_second / self.alone.per_second if self.alone.per_second else None

    @property
    def slower(self) -> float | None:
        """How many times as long the median call takes."""
        alone, beside = self.alone.at(0.5), self.beside.at(0.5)
        return beside / alone if alone and beside else None


class _Bench:
    def __init__(self, site: Ring, *, messages: int, entities: int) -> None:
        self.site = site
        self._messages, self._entities = messages, entities
        self._live = [site.counter(number) for number in range(LIVE_ENTITIES)]
        self._others = [site.ref(BenchOther, number) for number in range(entities)]
        self.warm, self.alone, self.beside = Measured(), Measured(), Measured()

    async def call(self, _: int, entity: int) -> int:
        return await self._live[entity].add(1)

    async def press(self, callers: int, seconds: float) -> None:
        await press(
            self.call, callers=callers, entities=LIVE_ENTITIES, seconds=min(seconds, WARM_UP_SECONDS), into=self.warm
        )
        await press(self.call, callers=callers, entities=LIVE_ENTITIES, seconds=seconds, into=self.alone)

    async def send(self) -> None:
        """Send the whole crowd."""

        async def cast(_: int, entity: int) -> str:
            return await self.site.app.cast(self._others[entity].add(1))

        await work_off(cast, total=self._messages, entities=self._entities, at_once=SENDERS)

    async def store_timers(self) -> None:
        """Store the whole crowd as what `cast(at=…)` stores, many to a commit; all are due when the workers start."""
        kind, run = BenchOther.entity_kind, self.site.run
        keys = [run.key(f"entity-{number}") for number in range(self._entities)]
        for first in range(0, self._messages, SENDERS):
            rows: list[Scheduled] = []
            for number in range(first, min(first + SENDERS, self._messages)):
                key = keys[number % self._entities]
                bucket = bucket_of(kind, key)
                rows.append(Scheduled(bucket, kind, key, new_id(bucket), "add", '{"amount":1}', None, 0, 0.0, None))
            await schedule(self.site.look, rows)

    async def press_until_drained(self, callers: int, *, sent: bool) -> Pace:
        """Call until the crowd is handled, which is sent meanwhile or was before."""
        began = time.perf_counter()

        async def drain() -> None:
            if sent:
                await self.send()
            await settle(self.site.look, self.site.runs[1], watch=self.site.crew.watch)

        draining = asyncio.create_task(drain())
        try:
            await press_while(
                lambda: not draining.done(), self.call, callers=callers, entities=LIVE_ENTITIES, into=self.beside
            )
            await draining
        finally:
            draining.cancel()
        return Pace(self._messages, time.perf_counter() - began)


async def measure_crowd(
    *, of: Crowd, messages: int, entities: int, callers: int, seconds: float, workers: int, say: Callable[[str], None]
) -> CrowdResult:
    """Measure callers beside a crowd, and the same ones alone for half of `seconds` before it and half after it."""
    async with ring(workers=workers, say=say, kinds=(BenchCounter, BenchOther)) as site:
        bench = _Bench(site, messages=messages, entities=entities)
        await site.start()
        await bench.press(callers, seconds / 2)
        if of != "sent":
            await site.crew.stop()
            say(f"Storing {messages:,} {of} …")
            await (bench.store_timers() if of == "timers" else bench.send())
            await site.start()
        drained = await bench.press_until_drained(callers, sent=of == "sent")
        await bench.press(callers, seconds / 2)
        await site.settle()
        crowd = Measured(latencies=[0.0] * messages)
        return CrowdResult(
            of=of,
            callers=callers,
            entities=entities,
            workers=workers,
            alone=bench.alone,
            beside=bench.beside,
            drained=drained,
            tally=tally([bench.warm, bench.alone, bench.beside, crowd], total=await site.total()),
        )


def crowd_as_json(result: CrowdResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second, `_ms` in milliseconds."""
    alone, beside = result.alone, result.beside
    return {
        "of": result.of,
        "messages": result.drained.count,
        "entities": result.entities,
        "callers": result.callers,
        "workers": result.workers,
        "drained_seconds": round(result.drained.seconds, 3),
        "drained_per_second": round(result.drained.per_second, 1),
        "alone_per_second": round(alone.per_second, 1),
        "alone_p50_ms": alone.at(0.5),
        "alone_p99_ms": alone.at(0.99),
        "beside_per_second": round(beside.per_second, 1),
        "beside_p50_ms": beside.at(0.5),
        "beside_p99_ms": beside.at(0.99),
        "beside_max_ms": beside.at(1.0),
        "kept": _rounded(result.kept),
        "slower": _rounded(result.slower),
        **result.tally.as_json(),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
