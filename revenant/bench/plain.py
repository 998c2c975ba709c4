"""Plain: the baseline: `UPDATE … RETURNING` by psycopg, a commit each, in a scratch schema of its own.

Invariant: nothing of it is left when it is closed.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Self

import psycopg
from psycopg import sql

from revenant.errors import RevenantError
from revenant.queue.connection import connect, unavailable
from revenant.sql import statement

MOST_CONNECTIONS = 64


class Plain:
    """A plain table of as many counters as there are entities, and up to 64 connections to it.

    Callers beyond 64 share connections and wait for each other, as with a pool.
    """

    def __init__(self, *, url: str, run: str, entities: int, callers: int) -> None:
        self._url = url
        self._schema = sql.Identifier(f"revenant_bench_{run}")
        self._entities = entities
        self._size = min(callers, MOST_CONNECTIONS)
        self._connections: list[psycopg.AsyncConnection[Any]] = []
        self._stack = AsyncExitStack()
        self._add = sql.SQL(statement("add_plainly")).format(schema=self._schema).as_string()

    async def __aenter__(self) -> Self:
        try:
            for number in range(self._size):
                connection = await connect(self._url, role=f"bench-{number + 1}")
                self._connections.append(await self._stack.enter_async_context(connection))
            await self._execute(sql.SQL(statement("create_scratch")), {"entities": self._entities})
        except psycopg.OperationalError as error:
            await self._stack.aclose()
            raise unavailable(self._url, error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._execute(sql.SQL(statement("drop_scratch")), {})
        finally:
            await self._stack.aclose()

    async def add(self, caller: int, entity: int) -> int:
        """Add one to a counter, commit, and return its new value."""
        connection = self._connections[caller % self._size]
        try:
            cursor = await connection.execute(self._add, {"key": f"entity-{entity}", "amount": 1})
        except psycopg.Error as error:
            raise RevenantError(f"Plain SQL failed: {error}") from error
        (value,) = await cursor.fetchone() or (0,)
        return int(value)

    async def _execute(self, text: sql.SQL, parameters: dict[str, Any]) -> None:
        cursor = psycopg.AsyncClientCursor(self._connections[0])
        await cursor.execute(text.format(schema=self._schema), parameters)
