"""Ring: where the benchmarks take place: a database, a run, real workers and a client on the same machine.

Invariant: whatever ends it, its workers are stopped and its entities removed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from revenant.app import Revenant
from revenant.bench.counter import BenchCounter
from revenant.entities.entity import Entity
from revenant.queue.session import session
from revenant.trial.crew import Crew
from revenant.trial.run import Run
from revenant.trial.settling import settle
from revenant.trial.stage import ROLE, clear, database, settings
from revenant.workflows.workflow import Workflow

E = TypeVar("E", bound=Entity)
APPLICATION = "revenant.bench.application:app"


@dataclass(frozen=True, slots=True)
class Ring:
    """What a measurement needs; the workers are not started yet."""

    url: str
    run: Run
    look: psycopg.AsyncConnection[Any]
    crew: Crew
    app: Revenant
    runs: Sequence[Run]
    """One for each kind that takes part; `run` is the first."""

    def counter(self, number: int) -> BenchCounter:
        """Return the address of the entity of that number."""
        return self.ref(BenchCounter, number)

    def ref(self, kind: type[E], number: int) -> E:
        """Return the address of the entity of that kind and number."""
        return self.app.ref(kind, self.run.key(f"entity-{number}"))

    async def start(self) -> None:
        """Start the workers."""
        await self.crew.start(self.look, self.run.kind)

    async def settle(self) -> None:
        """Wait until all that was sent is handled."""
        for run in self.runs:
            await settle(self.look, run, watch=self.crew.watch)

    async def sleeping(self) -> int:
        """Return how many runs of workflows wait, as committed."""
        return sum([await run.count(self.look, "waiting") for run in self.runs])

    async def total(self) -> int:
        """Return the sum of all counters, as committed."""
        return sum([json.loads(stored.state)["value"] for run in self.runs async for stored in run.states(self.look)])


@asynccontextmanager
async def ring(
    *,
    workers: int,
    say: Callable[[str], None],
    kinds: Sequence[type[Entity]] | None = None,
    workflows: Sequence[Workflow[Any, Any]] = (),
) -> AsyncIterator[Ring]:
    """Prepare a ring for entities of these kinds, or for runs of workflows, and clear it away."""
    kinds = kinds if kinds is not None else () if workflows else (BenchCounter,)
    names = [*(kind.entity_kind for kind in kinds), *(workflow.kind for workflow in workflows)]
    run = Run(kind=names[0])
    runs = [Run(kind=name, id=run.id) for name in names]
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(say))
        for one in runs:
            stack.push_async_callback(clear, url, one, say)
        look = await stack.enter_async_context(session(url, role=ROLE))
        crew = await stack.enter_async_context(Crew(app=APPLICATION, url=url, size=workers, say=say))
        app = await stack.enter_async_context(
            Revenant(entities=kinds, workflows=workflows, database_url=url, settings=settings())
        )
        yield Ring(url, run, look, crew, app, runs)
