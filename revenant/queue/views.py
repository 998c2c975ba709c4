"""What a person may look at: kinds, entities and workers, a page at a time; nothing here changes anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from revenant.codec import bucket_of
from revenant.sql import statement

PAGE = 500
BUCKETS = 256
WINDOW = 16
"""Buckets that are asked for in one round trip."""

Row = dict[str, Any]
Connection = psycopg.AsyncConnection[Any]


async def fetch(connection: Connection, query: LiteralString, **parameters: Any) -> list[Row]:
    """Return all rows of one statement, by the names of its columns."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()


async def find_entity(connection: Connection, kind: str, key: str) -> Row | None:
    """Return an entity's state and what waits for it; None where there is neither."""
    (row,) = await fetch(connection, statement("show_entity"), bucket=bucket_of(kind, key), kind=kind, key=key)
    known = row["version"] is not None or row["waiting"] or row["scheduled"] or row["reminders"] or row["dead"]
    return {"kind": kind, "key": key, **row} if known else None


async def kinds(connection: Connection, *, only_waiting: bool = False) -> AsyncIterator[list[Row]]:
    """Yield all kinds with their counts, or those with waiting messages, in pages."""
    after = ""
    while page := await fetch(connection, statement("list_kinds"), after=after, page=PAGE):
        yield [row for row in page if row["waiting"]] if only_waiting else page
        after = page[-1]["kind"]


async def entities(connection: Connection, kind: str, *, after: str | None) -> AsyncIterator[list[Row]]:
    """Yield the entities of a kind that have state, by bucket and key, from behind the key `after` on."""
    first, behind = (bucket_of(kind, after), after) if after else (0, "")
    for lowest in range(first, BUCKETS, WINDOW):
        window = range(lowest, min(lowest + WINDOW, BUCKETS))
        async with connection.pipeline():
            cursors = [await _bucket(connection, kind, bucket, behind if bucket == first else "") for bucket in window]
        for bucket, cursor in zip(window, cursors, strict=True):
            page = await cursor.fetchall()
            while page:
                yield page
                if len(page) < PAGE:
                    break
                page = await (await _bucket(connection, kind, bucket, page[-1]["key"])).fetchall()


async def _bucket(connection: Connection, kind: str, bucket: int, after: str) -> psycopg.AsyncCursor[Row]:
    cursor = connection.cursor(row_factory=dict_row)
    parameters = {"bucket": bucket, "kind": kind, "after": after, "page": PAGE}
    return await cursor.execute(statement("list_entities"), parameters)


async def waiting(connection: Connection, kind: str, *, after: str | None) -> AsyncIterator[list[Row]]:
    """Yield the entities of a kind that have waiting messages, those without state too."""
    bucket, behind = (bucket_of(kind, after), after) if after else (-1, "")
    query = statement("list_waiting")
    while page := await fetch(connection, query, kind=kind, bucket=bucket, after=behind, page=PAGE):
        bucket, behind = page[-1]["bucket"], page[-1]["key"]
        for row in page:
            del row["bucket"]
        yield page


async def residents(connection: Connection, kind: str | None, *, after: str | None) -> AsyncIterator[list[Row]]:
    """Yield the relaxed entities that live in memory, of one kind or of all, and with which worker."""
    place = {"bucket": bucket_of(kind, after) if kind and after else -1, "after_kind": kind or "", "after": after or ""}
    query = statement("list_residents")
    while page := await fetch(connection, query, kind=kind, page=PAGE, **place):
        place = {"bucket": page[-1]["bucket"], "after_kind": page[-1]["kind"], "after": page[-1]["key"]}
        for row in page:
            del row["bucket"]
        yield page


async def workers(connection: Connection) -> list[Row]:
    """Return the workers' rows, with whether each is alive."""
    return await fetch(connection, statement("list_workers"))


async def schedules(connection: Connection) -> list[Row]:
    """Return the schedules of all applications, with whether a worker has each now."""
    return await fetch(connection, statement("list_schedules"))


async def limited(pages: AsyncIterator[list[Row]], limit: int | None) -> AsyncIterator[Sequence[Row]]:
    """Yield pages until so many rows have come."""
    left = limit
    async for page in pages:
        if left is not None and len(page) >= left:
            yield page[:left]
            return
        yield page
        left = None if left is None else left - len(page)
