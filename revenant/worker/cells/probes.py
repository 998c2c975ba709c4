"""Probes: runs whose code may kill its process are run in a cell first, those that dead workers had noted.

Invariant: while workers die, no code of a run that is read runs in this process without a note that says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from revenant.queue.records import Hint
from revenant.queue.runs import VisitedRun
from revenant.worker.agenda import Key
from revenant.worker.cells.cell import Room
from revenant.worker.cells.cells import Cells, KilledCell
from revenant.worker.cells.confined import AGAIN_SECONDS
from revenant.worker.cells.door import Draining
from revenant.worker.runs.archive import Archive
from revenant.workflows.events import ENDS

log = logging.getLogger("revenant.runs")
_ENDED = frozenset(ENDS.values())
BUSY = -1
"""As a number of deaths: a worker that lives is about to run the code of that run."""
BUSY_SECONDS = 1.0
"""How long a run is left to such a worker before it is looked at again: by then it is done, or found to hang."""
VALID_SECONDS = 60.0
"""How long a probe counts: a run is read at once after it, if it is still there to be read."""


class Outcome(NamedTuple):
    """How a probe ended: the process too, or not; and until when (monotonic seconds) that counts."""

    fate: str | None
    until: float


class Probes:
    """The notes of one runner, and the probes that follow from those of others."""

    def __init__(
        self,
        *,
        archive: Archive,
        cells: Cells | None,
        cautious: Callable[[], bool],
        again: Callable[[Hint], None],
    ) -> None:
        self._archive = archive
        self._cells = cells
        self._cautious = cautious
        self._again = again
        self._noted: list[Hint] = []
        """What is noted, and whose code runs now."""
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._probed: dict[Key, Outcome] = {}
        """Runs that are about to be read, and how their probes ended."""

    async def look(self, hints: Sequence[Hint], found: Sequence[VisitedRun]) -> set[Key]:
        """Note the runs whose code is about to run; return those that are left out: they are probed first.

        Or another worker is at them, and may be dying of them: then they are looked at again in a while.
        """
        if self._cells is None or not self._cells.possible:
            return set()
        cautious = self._cautious()
        risky = [hint for hint, it in zip(hints, found, strict=True) if _may_kill(it, cautious=cautious)]
        if not risky:
            return set()
        deaths = await self._archive.note(risky)
        probed: set[Key] = set()
        for place, hint in enumerate(risky):
            key = (hint.kind, hint.key)
            if deaths.get(place) == BUSY:
                probed.add(key)
                asyncio.get_running_loop().call_later(BUSY_SECONDS, self._again, hint)
            elif deaths.get(place) and self._outcome(key) is None:
                probed.add(key)
                self._begin(key, hint, self._cells)
            else:
                self._noted.append(hint)
        return probed

    def fate(self, key: Key) -> str | None:
        """Return how the process ended in which a run was probed; None: it did not, or there was none."""
        outcome = self._outcome(key)
        return None if outcome is None else outcome.fate

    def _outcome(self, key: Key) -> Outcome | None:
        outcome = self._probed.get(key)
        if outcome is not None and outcome.until < time.monotonic():
            # Others have read it meanwhile, and what it is now nobody here has probed.
            del self._probed[key]
            return None
        return outcome

    async def over(self) -> None:
        """What was noted has done no harm, or is recorded: it is forgotten."""
        noted, self._noted = self._noted, []
        if noted:
            await self._archive.clear(noted)
        for hint in noted:
            self._probed.pop((hint.kind, hint.key), None)

    async def stop(self) -> None:
        """End what is under way; safe twice."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    def _begin(self, key: Key, hint: Hint, cells: Cells) -> None:
        if key not in self._tasks:
            task = self._tasks[key] = asyncio.create_task(self._probe(key, hint, cells), name="revenant-probe")
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _probe(self, key: Key, hint: Hint, cells: Cells) -> None:
        async def talk(room: Room) -> bool:
            await room.tell(probe=[*hint[:3]])
            return "stood" in await room.hear()

        fate = None
        try:
            if not await cells.run(talk):
                # It could not be read there, as without a connection: nothing was probed.
                await asyncio.sleep(AGAIN_SECONDS)
                self._again(hint)
                return
        except Draining:
            return
        except KilledCell as killed:
            log.error("The code of run %s(%r) has ended the process in which it was probed (%s).", *key, killed.fate)  # noqa: TRY400 # its own words are all there is to say
            fate = killed.fate
        now = time.monotonic()
        # What others have read meanwhile is never asked for again.
        self._probed = {each: outcome for each, outcome in self._probed.items() if outcome.until > now}
        self._probed[key] = Outcome(fate, now + VALID_SECONDS)
        self._again(hint)


def _may_kill(visited: VisitedRun, *, cautious: bool) -> bool:
    """Whether code is about to run that may have killed a worker."""
    if visited.head is not None and visited.head.status in _ENDED:
        return False
    if visited.verdict == "dead":
        return True
    return cautious and visited.verdict in ("free", "ours") and bool(visited.deliveries or visited.events)
