"""Snapshot: another session's old snapshot, as a dump or a report holds it: nothing that dies can be vacuumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from revenant.queue.connection import unavailable
from revenant.sql import statement


@asynccontextmanager
async def held_snapshot(url: str) -> AsyncIterator[None]:
    """Hold a repeatable-read snapshot from entry to exit."""
    try:
        connection = await psycopg.AsyncConnection.connect(url, application_name="revenant/bench-snapshot")
        async with connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await connection.execute(statement("hold_snapshot"))
            yield
    except psycopg.OperationalError as error:
        raise unavailable(url, error) from error
