"""Transacting: attempts whose SQL commits in one transaction with the event that they have succeeded: exactly once.

Invariant: the event is appended under the fence of the run's owner, so whoever has lost the run commits nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import psycopg

from revenant.config import Settings
from revenant.errors import ConfigurationError
from revenant.queue.link import Link
from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.lanes.isolation import LaneConnection
from revenant.worker.runs.appending import Append, Appending

CONNECTIONS = 4
"""Transactions of steps that one runner has open at a time; each has a connection of its own."""


class StepConnection(LaneConnection):
    """The connection of one attempt, lent to its function; the engine begins and commits."""

    door = "the connection of flow.transaction()"
    lender = "the step"
    stakes = "its result is recorded in it"


Hold = Callable[[Any], Awaitable[Append | None]]
"""Asks for what is to be appended for a result; None: nobody waits for it any more."""


class Transacting:
    """The connections of one runner on which such attempts run; made when they are needed."""

    def __init__(self, *, url: str, role: str, settings: Settings, appending: Appending) -> None:
        self._url = url
        self._role = role
        self.timeout = settings.handler_timeout
        """Seconds that an attempt may hold its transaction open, where nothing else is said."""
        self._appending = appending
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Link] = []

    async def run(
        self,
        function: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]],
        *,
        seconds: float,
        write: Callable[[Any], Any],
        hold: Hold,
    ) -> Append | None:
        """Run a function on a connection, and return what was committed with its SQL; None: its run was lost.

        `seconds` is how long it may leave the transaction alone; `write` makes what JSON holds of what it returns.

        Raises:
            psycopg.Error: its SQL, or the commit, was refused; nothing of it was kept.
        """
        async with self._places:
            link = self._idle.pop() if self._idle else Link(url=self._url, role=self._role, opened=StepConnection)
            connection: StepConnection | None = None
            try:
                connection = cast(StepConnection, await link.connection())
                await run_script(connection, statement("begin_step"), {"idle": str(int(seconds * 1000) + 5000)})
                result = write(await self._lend(connection, function))
                part = await hold(result)
                if part is not None and await self._appending.append_within(connection, part):
                    return part
            except BaseException:
                # Whatever it left is gone with the session; its successor must not wait for its locks.
                await _hang_up(link, connection)
                raise
            else:
                await _hang_up(link, connection)
                return None
            finally:
                self._idle.append(link)

    async def _lend(
        self, connection: StepConnection, function: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Any]]
    ) -> Any:
        came = function(connection.open())
        if not isinstance(came, Awaitable):
            raise ConfigurationError(
                "flow.transaction() runs `async def` functions: their connection is asynchronous. This one returned "
                f"{came!r}, and nothing of it was kept."
            )
        value = await came
        if connection.used:
            await connection.release()
        connection.end_loan()
        return value

    async def stop(self) -> None:
        """Hang up; safe twice."""
        for link in self._idle:
            await link.reset()


async def _hang_up(link: Link, connection: StepConnection | None) -> None:
    if connection is not None:
        connection.end_loan()
        connection.used = False
    await link.reset()
