"""`turn.connection`: the lane's connection lent to a handler, behind a savepoint that its first statement sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import pq

from revenant.errors import ConfigurationError

_SAVEPOINT = "savepoint revenant_message"
# Deferred constraints are checked per message, not at the turn's commit, where they would fail everybody's: the
# check fires inside a savepoint of its own, whose undoing puts the constraints' modes back.
_RELEASE = """
savepoint revenant_check; set constraints all immediate; rollback to savepoint revenant_check;
release savepoint revenant_message
"""
_ROLLBACK = "rollback to savepoint revenant_message; release savepoint revenant_message"


class TransactionEnded(BaseException):
    """A handler's own SQL ended the turn's transaction: there is no savepoint to go back to, and no lock is held."""


class LaneConnection(psycopg.AsyncConnection[Any]):
    """A lane's connection. The engine uses script cursors; what a handler opens goes through `_enter` first."""

    lent = False
    used = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = _TurnCursor
        self.server_cursor_factory = _TurnServerCursor

    def open(self) -> psycopg.AsyncConnection[Any]:
        """Lend the connection to the handler that runs now."""
        self.lent = True
        return self

    def end_loan(self) -> None:
        """Take the connection back from a handler that opened it and did nothing with it."""
        self.lent = False

    async def release(self) -> None:
        """Keep what the handler did, and end the loan."""
        try:
            if self.info.transaction_status != pq.TransactionStatus.INTRANS:
                raise ConfigurationError(
                    "A handler ended the turn's transaction, or went on after its SQL had failed inside it. "
                    "Do not commit or roll back on self.turn.connection; use `async with connection.transaction()` "
                    "around what may fail."
                )
            await psycopg.AsyncClientCursor(self).execute(_RELEASE)
        finally:
            self.lent = False
        self.used = False

    async def rollback_message(self) -> None:
        """Undo what the handler did, and end the loan."""
        self.lent = self.used = False
        try:
            await psycopg.AsyncClientCursor(self).execute(_ROLLBACK)
        except psycopg.Error as error:
            if self.closed:
                raise
            raise TransactionEnded from error

    @contextmanager
    def for_engine(self) -> Iterator[None]:
        """Let the engine's own helpers use ordinary cursors, without a savepoint."""
        self.lent = self.used = True
        try:
            yield
        finally:
            self.lent = self.used = False

    async def enter(self) -> None:
        """Set the savepoint before a handler's first statement; refuse statements outside a handler."""
        if not self.lent:
            raise ConfigurationError(
                "self.turn.connection was used after its handler had ended. Use it inside the handler only; "
                "for later work defer a job (self.turn.defer)."
            )
        if not self.used:
            self.used = True
            await psycopg.AsyncCursor(self).execute(_SAVEPOINT)

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[psycopg.AsyncTransaction]:
        """As psycopg's: a savepoint inside the turn's transaction."""
        await self.enter()
        async with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction

    async def commit(self) -> None:
        """Refuse: the turn commits."""
        raise ConfigurationError("self.turn.connection cannot commit: the turn does, with the state. Remove the call.")

    async def rollback(self) -> None:
        """Refuse: the turn rolls back, and only what this message did."""
        raise ConfigurationError(
            "self.turn.connection cannot roll back: the turn does, where its handler raises. Raise an error, or use "
            "`async with self.turn.connection.transaction()` around what may have to be undone."
        )


class _Entering:
    """Cursor methods that set the savepoint first."""

    connection: LaneConnection

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        await self.connection.enter()
        return await super().execute(*args, **kwargs)  # type: ignore[misc]  # a mixin over psycopg's cursors

    async def executemany(self, query: Any, params_seq: Iterable[Any], **kwargs: Any) -> None:
        await self.connection.enter()
        await super().executemany(query, params_seq, **kwargs)  # type: ignore[misc]  # a mixin over psycopg's cursors

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        await self.connection.enter()
        async for row in super().stream(*args, **kwargs):  # type: ignore[misc]  # a mixin over psycopg's cursors
            yield row

    @asynccontextmanager
    async def copy(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        await self.connection.enter()
        async with super().copy(*args, **kwargs) as copy:  # type: ignore[misc]  # a mixin over psycopg's cursors
            yield copy


class _TurnCursor(_Entering, psycopg.AsyncCursor[Any]):
    pass


class _TurnServerCursor(_Entering, psycopg.AsyncServerCursor[Any]):
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

    async def release(self) -> None:
        """Keep what the handler did."""
        await self._connection.release()

    async def rollback(self) -> None:
        """Undo what the handler did."""
        await self._connection.rollback_message()
