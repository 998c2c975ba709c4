"""What a person may look at of runs: lists, a page at a time, one with its events; and who has seen to which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from revenant.codec import bucket_of
from revenant.queue.views import PAGE, Connection, Row, fetch
from revenant.sql import statement

EVENT_PAGE = 2_000
MOST_HISTORIES = 1_000
"""Of a run that goes on afresh again and again, so many earlier histories are named."""


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run as it was read: its row, the events up to where that stands, and its earlier histories."""

    row: Row
    events: list[dict[str, Any]]
    """{"seq", "type", "op", "at", "data"}."""
    earlier: list[str]
    """The streams that it went on from, the latest first."""


async def find_runs(connection: Connection, key: str) -> list[Row]:
    """Return (kind, key, started_at) of the runs of this id, whatever their workflows."""
    return await fetch(connection, statement("find_runs"), key=key)


async def runs(
    connection: Connection, *, kind: str | None, status: str | None, after: Row | None
) -> AsyncIterator[list[Row]]:
    """Yield runs, the youngest first, from behind `after` on, a row that `find_runs` returned."""
    place = after or {"kind": None, "key": None, "started_at": None}
    query = statement("list_runs")
    while page := await fetch(connection, query, only=kind, status=status, page=PAGE, **place):
        last = page[-1]
        place = {"kind": f"run:{last['workflow']}", "key": last["id"], "started_at": last["started_at"]}
        yield page


async def stuck_runs(connection: Connection, *, workflow: str | None, limit: int) -> list[Row]:
    """Return runs that do not go on by themselves, and why: of the view `revenant.stuck`."""
    return await fetch(connection, statement("list_stuck"), workflow=workflow, page=limit)


async def see_run(connection: Connection, kind: str, key: str) -> SeenRun | None:
    """Return a run with all its events; None: there is no such run."""
    bucket = bucket_of(kind, key)
    found = await fetch(connection, statement("show_run"), bucket=bucket, kind=kind, key=key)
    if not found:
        return None
    (row,) = found
    events = [event async for event in read_events(connection, bucket, row["run"]) if event["seq"] <= row["seq"]]
    return SeenRun(row, events, await _earlier(connection, bucket, events))


async def resolve_run(connection: Connection, kind: str, key: str, *, by: str, note: str | None) -> bool:
    """Keep that somebody has seen to a run that has ended; return false where that makes no difference."""
    bucket = bucket_of(kind, key)
    return bool(await fetch(connection, statement("resolve_run"), bucket=bucket, kind=kind, key=key, by=by, note=note))


async def read_events(connection: Connection, bucket: int, stream: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a stream in order."""
    after, query = 0, statement("read_stream")
    while page := await fetch(connection, query, bucket=bucket, run=stream, after=after, page=EVENT_PAGE):
        after = page[-1]["seq"]
        for row in page:
            yield from_json(row["event"])


async def _earlier(connection: Connection, bucket: int, events: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    before = events[0]["data"].get("continues") if events else None
    while before is not None and len(found) < MOST_HISTORIES:
        found.append(before)
        rows = await fetch(connection, statement("find_continued"), bucket=bucket, run=before)
        before = rows[0]["run"] if rows else None
    return found
