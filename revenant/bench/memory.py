"""Memory: far more entities visited than are in use at a time, and what the worker's memory does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from revenant.bench.guest import BenchCopy, BenchGuest
from revenant.bench.load import Measured, Pace, work_off
from revenant.bench.ring import ring
from revenant.bench.tally import Tally, tally
from revenant.errors import RevenantError
from revenant.trial.rss import resident_bytes

VISITORS = 64
"""Visits at once."""
SAMPLES = 10
"""How often the memory is read; between two, as many entities are visited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryResult:
    """What `bench memory` measured."""

    entities: int
    resident: Sequence[int]
    """The worker's resident bytes after each tenth of the visits."""
    pace: Pace
    tally: Tally

    @property
    def growth(self) -> float:
        """How much the second half of the visits added to the memory, as a share of what it was then."""
        middle = self.resident[len(self.resident) // 2 - 1]
        return (max(self.resident[len(self.resident) // 2 :]) - middle) / middle


async def measure_memory(*, entities: int, say: Callable[[str], None]) -> MemoryResult:
    """Visit so many entities, half of them relaxed and half strict, each once."""
    async with ring(workers=1, say=say, kinds=(BenchGuest, BenchCopy)) as site:
        await site.start()
        (pid,) = site.crew.pids
        resident: list[int] = []
        pace = Pace(0, 0.0)
        first = 0

        async def visit(_: int, number: int) -> int:
            kind = (BenchGuest, BenchCopy)[number % 2]
            return await site.ref(kind, first + number).add(1)

        step = max(1, entities // SAMPLES)
        for number in range(SAMPLES):
            first = number * step
            pace += await work_off(visit, total=step, entities=step, at_once=VISITORS)
            seen = resident_bytes(pid)
            if seen is None:
                raise RevenantError("This system does not tell how much memory a process has; try it on Linux.")
            resident.append(seen)
            site.crew.watch()
        await site.settle()
        visits = [Measured(latencies=[0.0] * pace.count)]
        return MemoryResult(
            entities=step * SAMPLES, resident=resident, pace=pace, tally=tally(visits, total=await site.total())
        )


def memory_as_json(result: MemoryResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; bytes, and visits a second."""
    return {
        "entities": result.entities,
        "resident_bytes": list(result.resident),
        "growth": round(result.growth, 4),
        "visits_per_second": round(result.pace.per_second, 1),
        **result.tally.as_json(),
    }
