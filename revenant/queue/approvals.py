"""Approvals: which questions wait for a person, and what was decided about one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from revenant.codec import bucket_of
from revenant.queue.views import PAGE, Connection, Row, fetch, limited
from revenant.sql import statement

_FIRST = {"after": datetime(1970, 1, 1, tzinfo=UTC), "stream": str(UUID(int=0)), "op": 0}


async def approvals(connection: Connection, *, assignee: str | None, kind: str | None) -> AsyncIterator[list[Row]]:
    """Yield the approvals that wait, for one assignee or for anybody, in pages, the oldest first."""
    query, place = statement("list_approvals"), _FIRST
    while page := await fetch(connection, query, assignee=assignee, kind=kind, page=PAGE, **place):
        yield page
        place = {"after": page[-1]["asked_at"], "stream": page[-1]["stream"], "op": page[-1]["op"]}


async def list_approvals(connection: Connection, assignee: str | None, kind: str | None, limit: int) -> list[Row]:
    """Return the oldest ones of these."""
    pages = limited(approvals(connection, assignee=assignee, kind=kind), limit)
    return [row async for page in pages for row in page]


async def find_decision(
    connection: Connection, kind: str, key: str, *, name: str, stream: str | None, op: int | None
) -> dict[str, Any] | None:
    """Return what was decided about an approval of a run; None: nothing was."""
    place = {"bucket": bucket_of(kind, key), "kind": kind, "key": key}
    cursor = await connection.execute(statement("find_decision"), {**place, "name": name, "run": stream, "op": op})
    row = await cursor.fetchone()
    return None if row is None else row[0]
