"""A connection that is made anew whenever it is lost: jittered back-off, never a hot loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from revenant.queue.connection import Opened, connect, retrying
from revenant.sql import address, reason

log = logging.getLogger("revenant.link")


class Link:
    """One named connection of one owner. `connection()` waits until there is a live one."""

    def __init__(
        self,
        *,
        url: str,
        role: str,
        opened: Opened = psycopg.AsyncConnection,
        idle_in_transaction: float | None = None,
    ) -> None:
        self.url = url
        self.role = role
        self._opened = opened
        self._idle = idle_in_transaction
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()
        self.last_error: BaseException | None = None

    async def connection(self, *, seconds: float | None = None) -> psycopg.AsyncConnection[Any]:
        """Return a live connection; keep trying for ever, or for `seconds`."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                async for attempt in retrying(seconds=seconds):
                    with attempt:
                        self._connection = await self._connect()
                if self.last_error is not None:
                    log.info("%s: connected to %s again.", self.role, address(self.url))
                self.last_error = None
        assert self._connection is not None
        return self._connection

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            return await connect(self.url, role=self.role, opened=self._opened, idle_in_transaction=self._idle)
        except (psycopg.Error, OSError) as error:
            if self.last_error is None:
                log.warning("%s: no connection to %s: %s", self.role, address(self.url), reason(error, self.url))
            self.last_error = error
            raise

    async def reset(
        self, error: BaseException | None = None, *, only: psycopg.AsyncConnection[Any] | None = None
    ) -> None:
        """Hang up; the next `connection()` makes a new one. Safe when there is none.

        `only`: the connection that failed, so that one of several users does not hang up the next one.
        """
        if only is not None and only is not self._connection:
            return
        connection, self._connection = self._connection, None
        if error is not None:
            log.warning("%s: the connection failed (%s); making a new one.", self.role, brief(error))
        if connection is not None:
            await connection.close()


def brief(error: BaseException) -> str:
    """Return an error's text on one line; of Postgres' words the first part, as the others quote what was sent."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split()) or type(error).__name__
