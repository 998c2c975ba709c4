"""What other sessions of the database do to ours: hold locks, and end them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from tests.tools import rows


@asynccontextmanager
async def locked(url: str, table: str, mode: str = "share") -> AsyncIterator[None]:
    """Hold a lock on a table from a session of its own, so that writers have to wait."""
    async with await psycopg.AsyncConnection.connect(url) as session:
        await session.execute(f"lock table {table} in {mode} mode")
        yield


async def blocked(connection: psycopg.AsyncConnection[Any], role: str) -> int:
    """Return how many backends of that role (a prefix) wait for a lock right now."""
    (found,) = await rows(
        connection,
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
        "and starts_with(application_name, 'revenant/' || %s)",
        role,
    )
    return int(found[0])


async def terminate(connection: psycopg.AsyncConnection[Any], role: str) -> set[tuple[Any, ...]]:
    """Terminate every backend of that role (a prefix) in this database; return who they were, by number and birth.

    Who is there is read by the statement that terminates them: others may come and go at any moment.
    """
    found = await rows(
        connection,
        "select pid, backend_start from (select *, pg_terminate_backend(pid) as hit from pg_stat_activity "
        "where datname = current_database() and starts_with(application_name, 'revenant/' || %s)) b where hit",
        role,
    )
    return set(found)
