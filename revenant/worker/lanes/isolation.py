"""`turn.connection`: the lane's connection lent to a handler, behind a savepoint that its first statement sets.

Invariant: what a handler leaves on the session, such as a setting, is gone before the next statement of anybody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import pq, sql
from psycopg.abc import PQGen
from psycopg.rows import tuple_row

from revenant.errors import ConfigurationError
from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.lanes.ending import ending_of

R = TypeVar("R")
_SAVEPOINT = "savepoint revenant_message"
_IDLE_WAIT = 0.1
"""Seconds after which psycopg looks whether a wait was interrupted; its own default."""


class TransactionEnded(BaseException):
    """A handler's own SQL ended the turn's transaction: there is no savepoint to go back to, and no lock is held."""


class TransactionSpoilt(BaseException):
    """A handler was given up in the midst of its own SQL: the connection is of no use, and nothing on it is kept."""


class LaneConnection(psycopg.AsyncConnection[Any]):
    """A lane's connection. The engine runs scripts on it; whatever else goes over it is a handler's, and is checked."""

    door = "self.turn.connection"
    """What a handler knows it by."""
    lender = "the turn"
    stakes = "other messages are in it"
    lent = False
    used = False
    abandoned = False
    """Whether a handler that had this connection was given up: whatever still has it is to have it no longer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restore()

    def open(self) -> psycopg.AsyncConnection[Any]:
        """Lend the connection to the handler that runs now."""
        self.lent = True
        return self

    def end_loan(self) -> None:
        """Take the connection back from a handler, used or not."""
        if self.lent:
            self.lent = False
            self._restore()

    def _restore(self) -> None:
        """Be what psycopg makes: a handler may have set factories and adapters for itself."""
        self.row_factory = tuple_row
        self.cursor_factory = _TurnCursor
        self.server_cursor_factory = _TurnServerCursor
        self.prepare_threshold = 5
        self._adapters = None

    def abandon(self) -> None:
        """Take the connection away from a handler that was given up."""
        self.abandoned = True
        self.used = self.used or self.lent

    async def release(self) -> None:
        """Keep what the handler did, and end the loan."""
        try:
            if self.info.transaction_status != pq.TransactionStatus.INTRANS:
                raise ConfigurationError(
                    f"The function ended the transaction of {self.lender}, or went on after its SQL had failed inside "
                    f"it. Do not commit or roll back on {self.door}; use `async with connection.transaction()` around "
                    "what may fail."
                )
            await run_script(self, statement("keep_message"))
        finally:
            self.end_loan()
        self.used = False

    async def rollback_message(self) -> None:
        """Undo what the handler did, and end the loan."""
        self.used = False
        self.end_loan()
        if self.abandoned:
            raise TransactionSpoilt
        try:
            await run_script(self, statement("undo_message"))
        except psycopg.Error as error:
            if self.closed:
                raise
            raise TransactionEnded from error

    async def wait(self, gen: PQGen[R], interval: float = _IDLE_WAIT, timeout: float | None = None) -> R:
        """Set the savepoint before a handler's first statement; refuse statements outside a handler."""
        if not self.lent:
            raise ConfigurationError(
                f"{self.door} was used after its function had ended. Use it inside the function only; for later work "
                "defer a job."
            )
        if not self.used:
            self.used = True
            await super().wait(self._exec_command(_SAVEPOINT), interval)
        return await super().wait(gen, interval, timeout)

    async def commit(self) -> None:
        """Refuse: the turn commits."""
        raise ConfigurationError(f"{self.door} cannot commit: {self.lender} does, with its outcome. Remove the call.")

    async def rollback(self) -> None:
        """Refuse: the turn rolls back, and only what this message did."""
        raise ConfigurationError(
            f"{self.door} cannot roll back: {self.lender} does, where its function raises. Raise an error, or use "
            "`async with connection.transaction()` around what may have to be undone."
        )

    async def close(self) -> None:
        """Refuse a handler; let the lane hang up."""
        if self.lent:
            raise ConfigurationError(
                f"{self.door} cannot be closed: {self.lender} commits on it. Use it as it is, without `async with`."
            )
        await super().close()

    def check(self, query: Any) -> None:
        """Refuse a statement that would end the turn's transaction, and with it what other messages did."""
        word = ending_of(_text(query, self))
        if word is not None:
            raise ConfigurationError(
                f"{word} on {self.door} would end {self.lender}'s transaction, and {self.stakes}. Nothing was sent. "
                f"Remove it: {self.lender} commits, and rolls back where its function raises; use `async with "
                "connection.transaction()` around what may have to be undone."
            )


def _text(query: Any, connection: LaneConnection) -> str:
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    return query.as_string(connection) if isinstance(query, sql.Composable) else ""


class _Checking:
    """Cursor methods that look at what they are about to send."""

    connection: LaneConnection

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        self.connection.check(query)
        return await super().execute(query, *args, **kwargs)  # type: ignore[misc]  # a mixin over psycopg's cursors

    async def executemany(self, query: Any, params_seq: Iterable[Any], **kwargs: Any) -> None:
        self.connection.check(query)
        await super().executemany(query, params_seq, **kwargs)  # type: ignore[misc]  # a mixin over psycopg's cursors

    async def stream(self, query: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self.connection.check(query)
        async for row in super().stream(query, *args, **kwargs):  # type: ignore[misc]  # a mixin over psycopg's cursors
            yield row

    @asynccontextmanager
    async def copy(self, statement: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        self.connection.check(statement)
        async with super().copy(statement, *args, **kwargs) as copy:  # type: ignore[misc]  # a mixin over psycopg's cursors
            yield copy


class _TurnCursor(_Checking, psycopg.AsyncCursor[Any]):
    pass


class _TurnServerCursor(_Checking, psycopg.AsyncServerCursor[Any]):
    pass


class LaneIsolation:
    """What a turn knows of its lane's connection; implements `revenant.entities.context.Isolation`."""

    def __init__(self, connection: LaneConnection) -> None:
        self._connection = connection

    @property
    def used(self) -> bool:
        """Whether the handler that runs now has touched the connection."""
        return self._connection.used

    def open(self) -> psycopg.AsyncConnection[Any]:
        """Return the connection; the savepoint is set before its first statement."""
        return self._connection.open()

    def end_loan(self) -> None:
        """End the loan, used or not: the handler has ended."""
        self._connection.end_loan()

    def abandon(self) -> None:
        """Take the connection away for good: the handler was given up."""
        self._connection.abandon()

    async def release(self) -> None:
        """Keep what the handler did."""
        await self._connection.release()

    async def rollback(self) -> None:
        """Undo what the handler did."""
        await self._connection.rollback_message()
