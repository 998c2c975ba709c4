"""Heartbeat: this worker's row, and the news of everybody else's."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from revenant.queue.link import Link
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.caution import Caution
from revenant.worker.fleet import Fleet, Member
from revenant.worker.lanes.lane import Counters
from revenant.worker.loop import Loop

HEARTBEAT_SECONDS = 2.0
CHANGED = "fleet"
"""The wake-up payload by which workers hear that one came or went."""


class Heartbeat(Loop):
    """Writes the row every 2 seconds; a worker whose row is 8 seconds old counts as dead."""

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
        self.beaten = asyncio.Event()
        """Set once the row is in the table."""

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Write the row and read the fleet."""
        (rows,) = await run_script(
            connection,
            statement("beat_heart"),
            {
                **self._row,
                "draining": self._draining,
                "turns": self._counters.turns,
                "messages": self._counters.messages,
            },
        )
        members = [Member(*row) for row in rows]
        self._fleet.update(members)
        await self._caution.look(connection, members)
        if not self.beaten.is_set():
            self.beaten.set()
            await notify(connection, [(WAKE_CHANNEL, CHANGED)])
        return HEARTBEAT_SECONDS

    @property
    def draining(self) -> bool:
        """Whether this worker takes nothing new."""
        return self._draining

    async def drain(self) -> None:
        """Tell the others that this worker takes nothing new."""
        self._draining = True
        connection = await self._desk.connection(seconds=1)
        await self.run_once(connection)
        await notify(connection, [(WAKE_CHANNEL, CHANGED)])

    async def leave(self) -> None:
        """Remove the row."""
        connection = await self._desk.connection(seconds=1)
        await run_script(connection, statement("leave_fleet"), {"worker": self._row["worker"]})
        await notify(connection, [(WAKE_CHANNEL, CHANGED)])
