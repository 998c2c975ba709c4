"""What tests of runs look at: the events of a run, as they are recorded."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]


class Told(NamedTuple):
    """An event, as it is read in SQL."""

    seq: int
    type: str
    op: int | None
    data: dict[str, Any]


async def history(connection: Connection, key: str) -> list[Told]:
    """Return the events of a run's current stream."""
    found = await rows(
        connection,
        "select e.seq, e.type, e.op, e.data from revenant.run_heads h "
        "join revenant.run_events e on e.bucket = h.bucket and e.run = h.run where h.key = %s order by e.seq",
        key,
    )
    return [Told(*row) for row in found]


async def types(connection: Connection, key: str) -> list[str]:
    """Return the types of a run's events."""
    return [event.type for event in await history(connection, key)]


async def status(connection: Connection, key: str) -> str | None:
    """Return where a run stands, by its row."""
    found: str | None = await value(connection, "select status from revenant.run_heads where key = %s", key)
    return found
