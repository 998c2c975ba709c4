"""Scanner: runs whose owner is dead: whoever goes first for one goes on with it, at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.records import Hint
from revenant.queue.runs import find_dead_runs
from revenant.worker.agenda import Inlet
from revenant.worker.fleet import Fleet
from revenant.worker.loop import Loop

log = logging.getLogger("revenant.runs")
SCAN_SECONDS = 0.4
"""Between two looks. A worker that is killed is seen by the next one; one that hangs, 8 s after its last heartbeat."""
PAGE = 500


class Scanner(Loop):
    """Looks for dead owners: one index probe for each owner there is."""

    name = "scanner"

    def __init__(
        self,
        *,
        desk: Link,
        worker_id: str,
        newest: Mapping[str, int],
        fleet: Fleet,
        inlet: Inlet,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(desk=desk)
        self._worker = worker_id
        self._newest = dict(newest)
        self._fleet = fleet
        self._inlet = inlet
        self._look = look
        self._seen: frozenset[Hint] = frozenset()
        self._told: frozenset[Hint] = frozenset()
        """What the log has been told of: a run that is tried first is found again and again."""

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Look once; return how long to rest."""
        found = await find_dead_runs(connection, self._worker, newest=self._newest, page=PAGE)
        if found:
            # The dead are not to be waited for.
            await self._look()
            # Whoever goes first may not have the code, or be too busy: what is found twice is anybody's.
            mine = [hint for hint in found if hint in self._seen or self._fleet.goes_first(hint.kind, hint.bucket)]
            if not self._told.issuperset(mine):
                log.warning("A worker died that had attempts under way; %d of their runs go on here.", len(mine))
            self._inlet.add(mine)
            self._told = frozenset(mine)
        self._seen = frozenset(found)
        return SCAN_SECONDS
