"""What tests wait with and break things with."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
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
