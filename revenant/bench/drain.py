"""Drain: a backlog of casts, stored before any worker lives, and how fast real workers bring it down.

The plain-SQL baseline is the same work done by hand: single-row updates over as many rows, a commit each, over 64
connections; half of it before and half after.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from revenant.bench.load import Measured
from revenant.bench.plain import MOST_CONNECTIONS, Plain
from revenant.bench.ring import Ring, ring
from revenant.trial.settling import settle

SENDERS = 1000
"""Casts that wait for their confirmation at once."""
PLAIN_SECONDS = 5.0
"""Each half of the baseline ends then, or with half of the messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainResult:
    """What `bench drain` measured; `total` is the sum of the counters, which must be `messages`."""

    messages: int
    entities: int
    workers: int
    seconds: float
    """From the first worker's first heartbeat to the last empty mailbox."""
    send_seconds: float
    plain: Measured
    plain_updates: int
    total: int

    @property
    def per_second(self) -> float:
        """Messages handled a second."""
        return self.messages / self.seconds

    @property
    def plain_per_second(self) -> float:
        """Plain updates a second."""
        return self.plain_updates / self.plain.seconds if self.plain.seconds else 0.0

    @property
    def sound(self) -> bool:
        """Whether every message counted once."""
        return self.total == self.messages


async def measure_drain(*, messages: int, entities: int, workers: int, say: Callable[[str], None]) -> DrainResult:
    """Measure how fast `workers` handle `messages` casts, spread over the entities in turn."""
    async with (
        ring(workers=workers, say=say) as site,
        Plain(url=site.url, run=site.run.id, entities=entities, callers=MOST_CONNECTIONS) as plain,
    ):
        measured = Measured()
        updates = await _half(plain, messages, measured)
        say(f"Sending {messages:,} casts …")
        send_seconds = await _send(site, messages, entities)
        await site.crew.start(site.look, site.run.kind)
        await settle(site.look, site.run, watch=site.crew.watch)
        seconds = await site.crew.age(site.look, site.run.kind)
        updates += await _half(plain, messages, measured)
        return DrainResult(
            messages=messages,
            entities=entities,
            workers=workers,
            seconds=seconds,
            send_seconds=send_seconds,
            plain=measured,
            plain_updates=updates,
            total=await site.total(),
        )


async def _half(plain: Plain, messages: int, measured: Measured) -> int:
    await plain.many(min(messages, 500), 1.0)
    began = time.perf_counter()
    updates = await plain.many(max(1, messages // 2), PLAIN_SECONDS)
    measured.seconds += time.perf_counter() - began
    return updates


async def _send(site: Ring, messages: int, entities: int) -> float:
    """Cast every message; return the seconds until the last one was durable."""
    numbers = iter(range(messages))
    began = time.perf_counter()

    async def sender() -> None:
        for number in numbers:
            await site.app.cast(site.counter(number % entities).add(1))

    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return time.perf_counter() - began


def drain_as_json(result: DrainResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second."""
    plain = result.plain_per_second
    return {
        "messages_per_second": round(result.per_second, 1),
        "seconds": round(result.seconds, 3),
        "baseline_per_second": round(plain, 1),
        "ratio": round(result.per_second / plain, 3) if plain else None,
        "messages": result.messages,
        "entities": result.entities,
        "workers": result.workers,
        "sent_per_second": round(result.messages / result.send_seconds, 1),
        "total": result.total,
        "errors": abs(result.messages - result.total),
    }
