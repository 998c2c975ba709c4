"""One LISTEN connection per process that knows when it has gone deaf.

Invariant: after every (re)connection `on_connect` runs once LISTEN is in force, so that its owner looks at
everything; a connection that misses its own pings is dropped and made anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.misc import PGnotify

from revenant.eventloop import end
from revenant.queue.connection import connect, retrying
from revenant.queue.link import brief
from revenant.queue.readiness import is_readable

log = logging.getLogger("revenant.listener")
PING = "ping"
PING_SECONDS = 5.0
"""Quiet for this long, a listener pings itself; after two pings missed it is dead."""


class Listener:
    """Listens for one process, and hands each payload to `on_payload(channel, payload)`.

    `channels[0]` is this process's own: `ping(channel, payload)` must notify it over *another* connection, since
    a ping through one's own proves nothing.
    """

    def __init__(
        self,
        *,
        url: str,
        role: str,
        channels: Sequence[str],
        ping: Callable[[str, str], Awaitable[None]],
        on_payload: Callable[[str, str], None],
        on_connect: Callable[[], None],
    ) -> None:
        self._url = url
        self._role = role
        self._channels = list(channels)
        self._ping = ping
        self._on_payload = on_payload
        self._on_connect = on_connect
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._heard = 0.0

    @property
    def listening(self) -> bool:
        """Whether LISTEN is in force right now, as far as this process can know."""
        return self._listening.is_set()

    async def start(self) -> None:
        """Begin to listen; returns at once, and keeps trying while Postgres is away."""
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name="revenant-listener")

    async def stop(self) -> None:
        """Stop listening; safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def ready(self) -> None:
        """Wait until LISTEN is in force."""
        await self._listening.wait()

    async def _forever(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self.run_once()
            except (psycopg.Error, OSError, TimeoutError) as error:
                # A standby takes connections and refuses LISTEN: connecting is not yet success.
                failures = 0 if time.monotonic() - began > PING_SECONDS else min(failures + 1, 10)
                if failures <= 1:
                    log.warning("The LISTEN connection was lost (%s); listening anew.", brief(error))
                await asyncio.sleep(random.uniform(0.5, 1) * min(5.0, 0.05 * 2**failures))  # noqa: S311 # jitter, not a secret

    async def run_once(self) -> None:
        """Connect, listen, and hand payloads on until the connection fails."""
        async for attempt in retrying():
            with attempt:
                connection = await connect(self._url, role=self._role)
        async with connection:
            for channel in self._channels:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            reader = asyncio.create_task(self._read(connection), name="revenant-listener-read")
            try:
                self._listening.set()
                self._on_connect()
                await self._watch(reader)
            finally:
                self._listening.clear()
                await end(reader)

    async def _read(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Hand on what arrives, as soon as the socket has it, until the line fails.

        Not by psycopg's `notifies()`: that makes a task wait, and every call waits for two notifications.
        """
        loop, pgconn = asyncio.get_running_loop(), connection.pgconn
        failed: asyncio.Future[None] = loop.create_future()
        left = False

        def leave() -> None:
            """Once only: by then the number of a socket that was closed is another connection's."""
            nonlocal left
            if not left:
                left = True
                loop.remove_reader(socket)

        def take() -> None:
            try:
                more = True
                while more:
                    pgconn.consume_input()
                    while (note := pgconn.notifies()) is not None:
                        self._heard = time.monotonic()
                        self._hand_on(note)
                    more = is_readable(socket)
            except psycopg.Error as error:
                leave()
                if not failed.done():
                    failed.set_exception(error)

        self._heard = time.monotonic()
        socket = pgconn.socket
        loop.add_reader(socket, take)
        try:
            await failed
        finally:
            leave()

    def _hand_on(self, note: PGnotify) -> None:
        if note.extra == PING.encode():
            return
        try:
            self._on_payload(note.relname.decode(), note.extra.decode())
        except Exception as error:  # noqa: BLE001 # anybody may notify anything: that must make nobody deaf
            log.warning(
                "A notification on %r could not be read (%s); looking at everything.",
                note.relname,
                type(error).__name__,
            )
            self._on_connect()

    async def _watch(self, reader: asyncio.Task[None]) -> None:
        """Return by raising: what the reader raised, or that the connection has gone deaf."""
        while True:
            done, _ = await asyncio.wait({reader}, timeout=PING_SECONDS)
            if done:
                reader.result()
                raise psycopg.OperationalError("the server closed the connection")
            quiet = time.monotonic() - self._heard
            if quiet > 2.5 * PING_SECONDS:
                raise psycopg.OperationalError(f"deaf: no notification came back for {quiet:.0f} s")
            if quiet >= PING_SECONDS:
                await self._ping(self._channels[0], PING)
