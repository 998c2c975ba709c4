"""Heartbeat: this worker's row, and the news of everybody else's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from revenant.queue.link import Link
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.caution import Caution
from revenant.worker.doing import IDLE, Doing
from revenant.worker.fleet import Fleet, Member
from revenant.worker.lanes.lane import Counters
from revenant.worker.loop import Loop

log = logging.getLogger("revenant.worker")
HEARTBEAT_SECONDS = 2.0
ENROLMENT_SECONDS = 1.0
"""How long a worker that is stopped waits for its own row to be written."""
CHANGED = "fleet"
"""The wake-up payload by which workers hear that one came or went."""


class Heartbeat(Loop):
    """Renews the row every 2 seconds; a worker whose row is 8 seconds old counts as dead."""

    name = "heartbeat"

    def __init__(
        self,
        *,
        desk: Link,
        fleet: Fleet,
        worker_id: str,
        kinds: dict[str, Any],
        lanes: int,
        jobs: int,
        counters: Counters,
        caution: Caution,
        doing: Callable[[], Doing],
    ) -> None:
        super().__init__(desk=desk)
        self._fleet = fleet
        self._caution = caution
        self._counters = counters
        self._row = {
            "worker": worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "kinds": Jsonb(kinds),
            "lanes": lanes,
            "jobs": jobs,
        }
        self._draining = False
        self._enrolling = asyncio.Lock()
        self._doing = doing
        self._said: Doing | None = None
        """What the row says of that."""
        self.beaten = asyncio.Event()
        """Set once the row is in the table."""

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Beat once; write the row at the start, and when it was tidied away meanwhile."""
        if not self.beaten.is_set() or not await self._beat(connection):
            await self._enrol(connection)
        await self._say(connection)
        return HEARTBEAT_SECONDS

    async def look(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Read the fleet now, and beat with it."""
        if not await self._beat(connection):
            self.nudge()

    async def _beat(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Say that this worker lives; whether its row is there.

        A beat only updates: one that was cancelled, or whose connection was lost, may reach the table after `leave()`,
        and a row that it wrote then would be a worker's that is gone, and keep the others waiting for it.
        """
        members = await self._read(statement("beat_heart"), connection)
        return any(member.id == self._row["worker"] for member in members)

    async def _enrol(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Write the row, and tell the others that it is there."""
        self._said = None
        async with self._enrolling:
            await self._read(statement("enrol_worker"), connection)
        if self.beaten.is_set():
            log.warning(
                "Worker %s had been silent for so long that its row was tidied away: it is back.", self._row["worker"]
            )
        self.beaten.set()
        await notify(connection, [(WAKE_CHANNEL, CHANGED)])

    async def _say(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Say in the row what this worker has in hand, where that has changed."""
        doing = self._doing()
        if doing != (self._said or IDLE):
            await run_script(connection, statement("say_doing"), {"worker": self._row["worker"], **doing.parameters()})
            self._said = doing

    async def _read(self, script: LiteralString, connection: psycopg.AsyncConnection[Any]) -> list[Member]:
        """Run one of the two statements, and take in the fleet that it returns."""
        news = {"draining": self._draining, "turns": self._counters.turns, "messages": self._counters.messages}
        rows = (await run_script(connection, script, {**self._row, **news}))[-1]
        members = [Member(*row) for row in rows]
        self._fleet.update(members)
        await self._caution.look(connection, members)
        return members

    @property
    def draining(self) -> bool:
        """Whether this worker takes nothing new."""
        return self._draining

    async def drain(self) -> None:
        """Tell the others that this worker takes nothing new."""
        self._draining = True
        connection = await self._desk.connection(seconds=1)
        await self._beat(connection)
        await notify(connection, [(WAKE_CHANNEL, CHANGED)])

    async def stop(self) -> None:
        """End; an enrolment ends first: a row that came after `leave()` would stay. Safe before start and twice."""
        try:
            async with asyncio.timeout(ENROLMENT_SECONDS), self._enrolling:
                pass
        except TimeoutError:
            pass  # nobody waits longer for a Postgres that does not answer
        await super().stop()

    async def leave(self) -> None:
        """Remove the row."""
        connection = await self._desk.connection(seconds=1)
        await run_script(connection, statement("leave_fleet"), {"worker": self._row["worker"]})
        await notify(connection, [(WAKE_CHANNEL, CHANGED)])
