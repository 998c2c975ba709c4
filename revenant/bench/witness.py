"""Witness: calls that remember which worker answered, so that what a killed one served is known.

Invariant: a reply of the dead, which may still be under way, is never taken for another worker's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from revenant.bench.load import Measured, attempt
from revenant.trial.crew import Killed

Ask = Callable[[int], Coroutine[Any, Any, int]]
"""Calls the entity of that number; returns the id of the process that handled the call."""
PROBES = 16
"""Entities of the killed worker that are called right after the kill; calls that wait for them already go before."""


class Witness:
    """Who answered last, for each entity, and how soon after a kill somebody else answers."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._served: dict[int, int] = {}
        """The process that answered last for an entity; the latest answer stands last."""
        self._killed: Killed | None = None
        """The one after whose kill nobody else has answered yet."""
        self.anybody: list[float] = []
        """Seconds from each kill to the next reply of any entity by another worker."""
        self.calls = Measured()

    async def call(self, _: int, entity: int) -> int:
        """Call once; return the process that handled it."""
        pid = await self._ask(entity)
        self._served.pop(entity, None)
        self._served[entity] = pid
        if self._killed is not None and self._killed.pid != pid:
            self.anybody.append(time.perf_counter() - self._killed.at)
            self._killed = None
        return pid

    def server(self, alive: Sequence[int]) -> int:
        """Return one of these processes that serves: the last to answer for some entity."""
        return random.choice([pid for pid in self._served.values() if pid in alive] or list(alive))  # noqa: S311 # spreading

    def probes(self, killed: Killed) -> list[Coroutine[Any, Any, None]]:
        """Return calls, not yet sent, to entities that the killed worker was the last to answer for."""
        self._killed = killed
        its = [entity for entity, pid in reversed(self._served.items()) if pid == killed.pid]
        return [self._probe(entity, killed.pid) for entity in its[:PROBES]]

    async def _probe(self, entity: int, killed: int) -> None:
        pid = killed

        async def ask(caller: int, entity: int) -> None:
            nonlocal pid
            pid = await self.call(caller, entity)

        # What the dead one had committed may still arrive: it is no recovery.
        while pid == killed and await attempt(ask, 0, entity, into=self.calls):
            pass
