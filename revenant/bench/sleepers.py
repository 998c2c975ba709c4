"""Sleepers: far more runs that sleep than anything else, and the memory of the one worker that serves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from revenant.bench.course import rest
from revenant.bench.load import Pace, work_off
from revenant.bench.ring import ring
from revenant.bench.tally import Tally
from revenant.errors import RevenantError
from revenant.trial.rss import resident_bytes

STARTED_AT_ONCE = 128
SAMPLES = 10
"""How often the memory is read; between two, as many runs are started."""
YEAR = 365 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepersResult:
    """What `bench sleepers` measured."""

    runs: int
    resident: Sequence[int]
    """The worker's resident bytes after each tenth of the runs."""
    pace: Pace
    tally: Tally


async def measure_sleepers(*, runs: int, say: Callable[[str], None]) -> SleepersResult:
    """Start so many runs, each of which sleeps for a year."""
    async with ring(workers=1, say=say, workflows=(rest,)) as site:
        await site.start()
        (pid,) = site.crew.pids
        resident: list[int] = []
        pace = Pace(0, 0.0)
        first = 0

        async def begin(_: int, number: int) -> None:
            await site.app.start(rest, YEAR, id=site.run.key(f"sleeper-{first + number}"))

        step = max(1, runs // SAMPLES)
        for number in range(SAMPLES):
            first = number * step
            pace += await work_off(begin, total=step, entities=step, at_once=STARTED_AT_ONCE)
            seen = resident_bytes(pid)
            if seen is None:
                raise RevenantError("This system does not tell how much memory a process has; try it on Linux.")
            resident.append(seen)
            site.crew.watch()
        sleeping = await site.sleeping()
        return SleepersResult(
            runs=step * SAMPLES, resident=resident, pace=pace, tally=Tally(expected=pace.count, total=sleeping)
        )


def sleepers_as_json(result: SleepersResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; bytes, and starts a second."""
    return {
        "runs": result.runs,
        "resident_bytes": list(result.resident),
        "starts_per_second": round(result.pace.per_second, 1),
        **result.tally.as_json(),
    }
