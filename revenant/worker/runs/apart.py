"""Apart: appends the runs of one runner together, and each by itself where one of them cannot be written.

Invariant: a run that Postgres does not take now is left as it is, with its attempts under way, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import psycopg

from revenant.queue.connection import refuses_data
from revenant.queue.link import brief
from revenant.worker.docket import Docket
from revenant.worker.runs.appending import Append, part_of
from revenant.worker.runs.archive import Archive
from revenant.worker.runs.blocked import block_stuck
from revenant.worker.runs.holding import Holding
from revenant.worker.runs.stage import Stage, Staged

log = logging.getLogger("revenant.runs")
_PASSING = (OSError, MemoryError)
"""Not what the runs hold, but what this process lacks just now."""
REFUSED_SECONDS = 5.0
"""How long a run rests whose append Postgres refuses."""


class Apart:
    """Writes what runs have come to; one of them that cannot be written costs only itself."""

    def __init__(
        self, *, archive: Archive, stage: Stage, docket: Docket, holding: Holding, read_again: Callable[[Staged], None]
    ) -> None:
        self._archive = archive
        self._docket = docket
        self._stage = stage
        self._holding = holding
        self._read_again = read_again

    async def append(self, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
        """Return the parts that are committed, and the runs that others have."""
        try:
            return await self._archive.append(parts)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 # whatever one of them holds is no fault of the others
            log.warning("An append was refused (%s); its %d runs are appended apart.", brief(error), len(parts))
        done: list[Append] = []
        lost: list[Staged] = []
        left = deque(parts)
        while left:
            part = left.popleft()
            try:
                written, gone = await self._archive.append([part])
            except _PASSING:
                raise
            except Exception as error:
                if isinstance(error, psycopg.Error):
                    log.error("Run %s(%r): Postgres refuses its events: %s.", *part.staged.key, brief(error))  # noqa: TRY400 # its words quote what was sent
                else:
                    log.exception("Run %s(%r): its events cannot be written.", *part.staged.key)
                if again := self._refused(part, error):
                    left.append(again)
            else:
                done += written
                lost += gone
        return done, lost

    def _refused(self, part: Append, error: Exception) -> Append | None:
        """Return what is to be appended in its place; None: it is tried again in a while."""
        staged = part.staged
        passing = isinstance(error, psycopg.Error) and not isinstance(error, psycopg.IntegrityError)
        # What breaks a constraint does so again, as what is no data does, or what this process cannot write.
        if passing and not refuses_data(error):
            self._holding.postpone(part, REFUSED_SECONDS)
            return None
        if not staged.unreadable:
            staged.live.draft = part.draft
            return self.block(staged, ValueError(brief(error)) if isinstance(error, psycopg.Error) else error)
        self._stage.drop(staged)
        self._docket.pass_by(staged.key, REFUSED_SECONDS)
        asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._read_again, staged)
        return None

    def block(self, staged: Staged, error: Exception) -> Append:
        """Put a run in this one's place that is only to be blocked, and return what is to be appended to that."""
        self._stage.drop(staged)
        blocked = block_stuck(staged, error, now=self._archive.now())
        self._stage.add(blocked)
        return part_of(blocked)
