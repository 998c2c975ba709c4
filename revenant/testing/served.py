"""ServedApp: an application on a test's database with a worker in the same process, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import procrastinate
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.schedule import Schedule
from revenant.errors import ConfigurationError, NotIdle
from revenant.queue import rest
from revenant.queue.connection import connect
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.timetable import DUE_CHANNEL, expire
from revenant.testing.clock import Clock, checked_now
from revenant.worker.worker import Worker
from revenant.workflows.decider import Decider
from revenant.workflows.workflow import Workflow

PATIENCE = 30.0
"""Seconds that `run_until_idle` waits for rest."""
_POLL, _NUDGE = 0.002, 0.1
_BUCKETS = range(256)
_PAGE = 1000


class ServedApp(Revenant):
    """Your application as it runs, on a database of the test's own: inside `async with`, a worker serves it.

    `clock` moves the time, for all connections made with `url()` at once; `run_until_idle()` waits until nothing
    waits and nothing is due.

    Example:
        >>> async with revenant_app([Account]) as app:
        ...     await app.cast(app.ref(Account, "a").deposit(5))
        ...     await app.run_until_idle()
    """

    def __init__(
        self,
        *,
        entities: Iterable[type[Entity]] = (),
        workflows: Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]] = (),
        database_url: str,
        settings: Settings,
        jobs: procrastinate.App | None = None,
        schedules: Iterable[Schedule] = (),
        now: datetime | None = None,
        tracebacks: bool = False,
    ) -> None:
        super().__init__(
            entities=entities,
            workflows=workflows,
            database_url=ruled_by_clock(database_url),
            settings=settings,
            jobs=jobs,
            schedules=schedules,
            tracebacks=tracebacks,
        )
        self._began = None if now is None else checked_now(now)
        self.clock = Clock(self, self._began or datetime.now(UTC))
        self._worker: Worker | None = None
        self._look: psycopg.AsyncConnection[Any] | None = None

    async def _open(self) -> None:
        """Start the clock, the application and its worker; a second start does nothing."""
        if self._worker is not None:
            return
        self._look = await connect(self.url(), role="test")
        try:
            self.clock.now = await rest.create_clock(self._look, self._began)
            await super()._open()
            if self.registry.kinds or self.workflows:
                self._worker = self.worker()
                await self._worker.start()
                await self._worker.ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let the worker drain, and hang up; safe before start and twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop(drain_timeout=5)
        await super().stop()
        look, self._look = self._look, None
        if look is not None:
            await look.close()

    async def run_until_idle(self, *, timeout: float = PATIENCE) -> None:
        """Wait until all that waits and is due is handled, and all that follows from it; relaxed entities are flushed.

        With jobs, until those are done that are due. Messages to kinds that this application does not have stay.

        Raises:
            NotIdle: there was no rest within `timeout` seconds of real time.
        """
        connection, worker = self._connection(), self._worker
        deadline = time.monotonic() + timeout
        nudged = 0.0
        await self._expire(connection)
        while found := await self._unfinished(connection):
            if worker is not None:
                worker.hurry()
            now = time.monotonic()
            if now > deadline:
                raise NotIdle(_no_rest(found, timeout))
            if now > nudged + _NUDGE:
                nudged = now
                await notify(connection, [(DUE_CHANNEL, "0")])
            await asyncio.sleep(_POLL)

    async def next_due(self, until: datetime) -> datetime | None:
        """Return when the next thing becomes due, up to then."""
        return await rest.next_due(self._connection(), until=until, **self._ours())

    async def set_time(self, moment: datetime) -> None:
        """Have it that time in the database."""
        await rest.set_clock(self._connection(), moment)

    async def _unfinished(self, connection: psycopg.AsyncConnection[Any]) -> Mapping[str, int]:
        jobs = self.jobs is not None and self.settings.jobs > 0
        return await rest.unfinished(connection, jobs=jobs, **self._ours())

    async def _expire(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Tell idle entities to end, now and not at the worker's leisure."""
        for kind, definition in self.registry.kinds.items():
            if definition.entity_idle_delete is None:
                continue
            place: tuple[int, str] | None = (0, "")
            while place is not None:
                idle = definition.entity_idle_delete.total_seconds()
                hints, place = await expire(connection, kind=kind, idle=idle, buckets=_BUCKETS, after=place, page=_PAGE)
                if hints:
                    await notify(connection, [(WAKE_CHANNEL, hint) for hint in hints])

    def _ours(self) -> dict[str, Any]:
        return {
            "kinds": sorted((*self.registry.kinds, *self.workflows.kinds)),
            "schedules": [one.name for one in self.schedules],
        }

    def _connection(self) -> psycopg.AsyncConnection[Any]:
        if self._look is None:
            raise ConfigurationError("The application was not started. Use it inside `async with app:`.")
        return self._look


def ruled_by_clock(url: str) -> str:
    """Return the address by which connections go by the test's clock."""
    given = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{given} -c {rest.STANDS_STILL}".strip())


def _no_rest(found: Mapping[str, int], timeout: float) -> str:
    left = ", ".join(f"{what} ({many})" for what, many in sorted(found.items()))
    return (
        f"There was no rest within {timeout:g} s: {left}. Something cannot be handled (the worker's log says why, and "
        "`revenant ls --waiting` what waits), or an entity goes on casting to itself."
    )
