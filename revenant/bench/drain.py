"""Drain: a backlog of casts, stored before any worker lives, and how fast real workers bring it down.

The plain-SQL baseline is the same work done by hand: single-row updates over as many rows, a commit each, over 64
connections; half of it before and half after.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from revenant.bench.load import Pace, work_off
from revenant.bench.plain import MOST_CONNECTIONS, Plain
from revenant.bench.ring import Ring, ring
from revenant.bench.tally import Tally
from revenant.trial.cpu import busy_seconds

SENDERS = 1000
"""Casts that wait for their confirmation at once."""
PLAIN_SECONDS = 5.0
"""Each half of the baseline ends then, or with half of the messages."""
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What explains a bad run: processor time while the backlog went, in seconds; None where the system is silent."""

    worker: float | None
    """Of all the workers."""
    machine: float | None
    """Of everything on this machine."""
    messages_per_turn: float | None
    """How many messages shared a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainResult:
    """What `bench drain` measured."""

    entities: int
    workers: int
    drained: Pace
    """From the first worker's first heartbeat to the last empty mailbox."""
    sent: Pace
    plain: Pace
    load: Load
    tally: Tally

    @property
    def ratio(self) -> float | None:
        """Messages handled for each plain update."""
        return self.drained.per_second / self.plain.per_second if self.plain.per_second else None

    @property
    def worker_ms(self) -> float | None:
        """Milliseconds of the workers' processor time for 1,000 messages."""
        return None if self.load.worker is None else self.load.worker * 1e6 / self.drained.count

    @property
    def worker_share(self) -> float | None:
        """Cores that the workers kept busy."""
        return None if self.load.worker is None else self.load.worker / self.drained.seconds

    @property
    def machine_share(self) -> float | None:
        """The share of all cores that was busy, with whatever."""
        machine = self.load.machine
        return None if machine is None else machine / self.drained.seconds / (os.cpu_count() or 1)


async def measure_drain(*, messages: int, entities: int, workers: int, say: Callable[[str], None]) -> DrainResult:
    """Measure how fast `workers` handle `messages` casts, spread over the entities in turn."""
    async with (
        ring(workers=workers, say=say) as site,
        Plain(url=site.url, run=site.run.id, entities=entities, callers=MOST_CONNECTIONS) as plain,
    ):
        first = await _half(plain, messages, entities)
        say(f"Sending {messages:,} casts …")
        sent = await _send(site, messages, entities)
        await site.start()
        worker, machine = site.crew.cpu_seconds(), busy_seconds()
        await site.settle()
        seconds = (await site.crew.report(site.look, site.run.kind)).age
        worker, machine = _since(worker, site.crew.cpu_seconds()), _since(machine, busy_seconds())
        second = await _half(plain, messages, entities)
        report = await site.crew.report(site.look, site.run.kind)
        per_turn = report.messages / report.turns if report.turns else None
        return DrainResult(
            entities=entities,
            workers=workers,
            drained=Pace(messages, seconds),
            sent=sent,
            plain=first + second,
            load=Load(worker=worker, machine=machine, messages_per_turn=per_turn),
            tally=Tally(expected=messages, total=await site.total()),
        )


async def _half(plain: Plain, messages: int, entities: int) -> Pace:
    async def some(total: int, seconds: float) -> Pace:
        return await work_off(plain.add, total=total, entities=entities, at_once=MOST_CONNECTIONS, seconds=seconds)

    await some(min(messages, 500), WARM_UP_SECONDS)
    return await some(max(1, messages // 2), PLAIN_SECONDS)


async def _send(site: Ring, messages: int, entities: int) -> Pace:
    """Cast every message; the pace is that of casts that are durable."""
    counters = [site.counter(number) for number in range(entities)]

    async def cast(_: int, entity: int) -> str:
        return await site.app.cast(counters[entity].add(1))

    return await work_off(cast, total=messages, entities=entities, at_once=SENDERS)


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def drain_as_json(result: DrainResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; rates a second."""
    return {
        "messages_per_second": round(result.drained.per_second, 1),
        "seconds": round(result.drained.seconds, 3),
        "baseline_per_second": round(result.plain.per_second, 1),
        "ratio": _rounded(result.ratio, 3),
        "messages": result.drained.count,
        "entities": result.entities,
        "workers": result.workers,
        "sent_per_second": round(result.sent.per_second, 1),
        "worker_cpu_ms_per_1000": _rounded(result.worker_ms, 1),
        "worker_cores": _rounded(result.worker_share, 2),
        "machine_busy": _rounded(result.machine_share, 2),
        "messages_per_turn": _rounded(result.load.messages_per_turn, 1),
        "total": result.tally.total,
        "errors": abs(result.tally.expected - result.tally.total),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
