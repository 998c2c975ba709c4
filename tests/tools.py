"""What tests wait with and break things with."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from statistics import median
from typing import Any

import psycopg

Rows = list[tuple[Any, ...]]


async def eventually(
    condition: Callable[[], Awaitable[Any]] | Callable[[], Any], *, seconds: float = 30.0, what: str = "the condition"
) -> Any:
    """Wait until the condition is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        await asyncio.sleep(0.01)


async def rows(connection: psycopg.AsyncConnection[Any], query: str, *parameters: Any) -> Rows:
    """Return all rows of a query."""
    cursor = await connection.execute(query, parameters or None)
    return await cursor.fetchall()


async def value(connection: psycopg.AsyncConnection[Any], query: str, *parameters: Any) -> Any:
    """Return the first column of the first row."""
    found = await rows(connection, query, *parameters)
    return found[0][0] if found else None


async def waits(connection: psycopg.AsyncConnection[Any], what: str | None = None) -> int:
    """Return how many sessions of this database wait for a lock now (`what`: of that kind, as Postgres names it).

    The server has other databases, in which other tests wait; and `pg_locks` does not say whose a lock on a row is.
    """
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
        "and wait_event = coalesce(%s, wait_event)"
    )
    return int(await value(connection, query, what))


async def anybodys_lateness(database: str, seconds: Iterable[float]) -> float:
    """Return by how many seconds tasks that sleep so long, and then ask Postgres for nothing, come too late: by the median.

    It is what a busy machine takes of anybody who is due at these moments; beside it runs what is measured.
    """
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as plain:

        async def late(length: float) -> float:
            due = time.monotonic() + length
            await asyncio.sleep(length)
            await plain.execute("select")
            return time.monotonic() - due

        return median(await asyncio.gather(*map(late, seconds)))
