"""Recovery: workers killed with SIGKILL while callers call, and how soon another worker answers in their place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from revenant.bench.load import Measured, press_while, work_off
from revenant.bench.ring import Ring, ring
from revenant.bench.tally import Tally, tally
from revenant.bench.witness import Witness
from revenant.trial.killer import Killer, Recovery
from revenant.trial.latency import milliseconds, percentile

CALLERS = 16
CALM_SECONDS = (0.5, 1.0)
"""How long all workers live before the next kill: at random, so that no rhythm of theirs is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryResult:
    """What `bench recovery` measured; all in seconds from the SIGKILL."""

    workers: int
    entities: int
    recoveries: Sequence[Recovery]
    """Of calls to entities that the killed worker had served last, answered by others."""
    anybody: Sequence[float]
    """To the next reply of any entity by another worker."""
    calls: Measured
    tally: Tally

    @property
    def figures(self) -> dict[str, Sequence[float]]:
        """The samples, by the names of `--json`."""
        return {
            "recovery": [recovery.first for recovery in self.recoveries],
            "recovery_all": [recovery.last for recovery in self.recoveries],
            "any": self.anybody,
        }


async def measure_recovery(*, kills: int, workers: int, entities: int, say: Callable[[str], None]) -> RecoveryResult:
    """Kill so many workers, one after the other; each is replaced when its recovery is measured."""
    async with ring(workers=workers, say=say) as site:
        counters = [site.counter(number) for number in range(entities)]

        async def ask(entity: int) -> int:
            return await counters[entity].add_here(1)

        witness, killer = Witness(ask), Killer(crew=site.crew, say=say)
        await site.start()
        seeds = await work_off(witness.call, total=entities, entities=entities, at_once=CALLERS)
        await _kill_under_load(site, witness, killer, kills=kills, entities=entities)
        await site.settle()
        return RecoveryResult(
            workers=workers,
            entities=entities,
            recoveries=killer.recoveries,
            anybody=witness.anybody,
            calls=witness.calls,
            tally=tally([witness.calls, Measured(latencies=[0.0] * seeds.count)], total=await site.total()),
        )


async def _kill_under_load(site: Ring, witness: Witness, killer: Killer, *, kills: int, entities: int) -> None:
    over = False
    traffic = asyncio.create_task(
        press_while(lambda: not over, witness.call, callers=CALLERS, entities=entities, into=witness.calls)
    )
    try:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(*CALM_SECONDS))  # noqa: S311 # spreading, not a secret
            site.crew.watch()
            killer.kill(witness.probes, pid=witness.server(site.crew.pids))
            await killer.finish()
            await site.crew.recruit(site.look, site.run.kind)
        over = True
        await traffic
    finally:
        traffic.cancel()
        await killer.stop()
        await asyncio.gather(traffic, return_exceptions=True)


def recovery_as_json(result: RecoveryResult) -> dict[str, object]:
    """Return the figures by the names of `--json`; `_ms` in milliseconds."""
    figures: dict[str, object] = {"kills": len(result.recoveries)}
    for name, samples in result.figures.items():
        for share, text in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            figures[f"{name}_{text}_ms"] = milliseconds(percentile(samples, share))
    return {
        **figures,
        "workers": result.workers,
        "entities": result.entities,
        "calls": len(result.calls.latencies),
        "calls_per_second": round(result.calls.per_second, 1),
        **result.tally.as_json(),
    }
