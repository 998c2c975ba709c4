"""Archive: where one runner's runs are kept: read by visits, and appended to; in Postgres, over one connection."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import psycopg

from revenant.config import Settings
from revenant.queue.link import Link
from revenant.queue.records import Hint, Settlement
from revenant.queue.rest import STANDS_STILL
from revenant.queue.runnotes import clear_runs, note_runs
from revenant.queue.runs import Known, VisitedRun, visit_runs
from revenant.worker.runs.appending import Append, Appending
from revenant.worker.runs.late import Late
from revenant.worker.runs.progress import Progress
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.transacting import Transacting

SAME = 0.001
"""Seconds within which it is the same moment: it is asked for several times a run, and made once for many."""


class Archive(Protocol):
    """What a runner needs of it."""

    transacting: Transacting | None
    """Where steps' own SQL commits together with their events; None: it cannot, here."""

    def now(self) -> datetime:
        """Return the time by which things are due."""

    async def is_anew(self) -> bool:
        """Whether what is stored may have lost, since it was asked this last, what was committed before."""

    async def visit(
        self,
        hints: Sequence[Hint],
        known: Sequence[Known],
        *,
        forced: Sequence[bool],
        formats: Sequence[str | None],
    ) -> list[VisitedRun]:
        """Return what there is to be done about each of these runs."""

    async def note(self, hints: Sequence[Hint]) -> Mapping[int, int]:
        """Note the runs whose code is about to run; return the deaths of workers that had noted them too, by place."""

    async def clear(self, hints: Sequence[Hint]) -> None:
        """Remove the notes."""

    async def append(self, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
        """Commit what these runs have come to; return the parts that are committed, and the runs that others have."""

    async def settle_late(self, settlements: Sequence[Settlement]) -> None:
        """Answer messages that reach no run, each by a settlement of its own."""

    async def keep(self, progress: Progress, *, ended: Collection[tuple[Staged, int]], all: bool) -> None:
        """Write what attempts have said of themselves."""

    async def reset(self, error: BaseException | None = None) -> None:
        """Hang up after an error."""

    async def stop(self) -> None:
        """Hang up for good; safe twice."""


class PostgresArchive:
    """Runs in Postgres."""

    def __init__(self, *, url: str, role: str, worker: str, settings: Settings) -> None:
        self._link = Link(url=url, role=role, idle_in_transaction=settings.handler_timeout + 5)
        self._worker = worker
        self._appending = Appending(link=self._link, worker=worker, settings=settings)
        self.transacting: Transacting | None = Transacting(
            url=url, role=role.replace("runner", "transaction"), settings=settings, appending=self._appending
        )
        self._late = Late(link=self._link, worker=worker)
        self._clock = (datetime.now(UTC), time.monotonic())
        self._told = (self._clock[0], 0.0)
        """The time that was told last, and how long after that of the clock."""
        self._stands_still = STANDS_STILL in url
        self._last: psycopg.AsyncConnection[Any] | None = None

    def now(self) -> datetime:
        """Return the database's time, as nearly as it is known."""
        base, at = self._clock
        if self._stands_still:
            return base
        passed = time.monotonic() - at
        if not 0.0 <= passed - self._told[1] < SAME:
            self._told = base + timedelta(seconds=passed), passed
        return self._told[0]

    async def is_anew(self) -> bool:
        """Whether there is another connection than before, which may lead to another server: a standby that lagged."""
        last, self._last = self._last, await self._link.connection()
        return self._last is not last

    async def visit(
        self,
        hints: Sequence[Hint],
        known: Sequence[Known],
        *,
        forced: Sequence[bool],
        formats: Sequence[str | None],
    ) -> list[VisitedRun]:
        """Return what there is to be done about each of these runs."""
        connection = await self._link.connection()
        now, found = await visit_runs(connection, self._worker, hints, known, forced=forced, formats=formats)
        self._clock, self._told = (now, time.monotonic()), (now, 0.0)
        return found

    async def note(self, hints: Sequence[Hint]) -> Mapping[int, int]:
        """Note the runs whose code is about to run; return the deaths of workers that had noted them too, by place."""
        return await note_runs(await self._link.connection(), self._worker, hints)

    async def clear(self, hints: Sequence[Hint]) -> None:
        """Remove the notes."""
        await clear_runs(await self._link.connection(), self._worker, hints)

    async def append(self, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
        """Commit what these runs have come to, in one transaction."""
        return await self._appending.append(parts)

    async def settle_late(self, settlements: Sequence[Settlement]) -> None:
        """Answer messages that reach no run, each by a settlement of its own."""
        await self._late.settle(settlements)

    async def keep(self, progress: Progress, *, ended: Collection[tuple[Staged, int]], all: bool) -> None:
        """Write what attempts have said of themselves."""
        await progress.flush(await self._link.connection(), ended=ended, all=all)

    async def reset(self, error: BaseException | None = None) -> None:
        """Hang up; the next one who needs it connects again."""
        await self._link.reset(error)

    async def stop(self) -> None:
        """Hang up for good; safe twice."""
        if self.transacting is not None:
            await self.transacting.stop()
        await self._link.reset()
