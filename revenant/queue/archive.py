"""Archive: runs as JSON lines, to be kept elsewhere; and the end of those that are kept no longer.

Invariant: whatever a run has grown to, no more of it than a page is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from revenant.queue.script import run_script
from revenant.queue.views import Connection, Row, fetch
from revenant.sql import statement

PAGE = 200
EVENT_PAGE = 1_000
GONE_PAGE = 2_000


async def ended_runs(
    connection: Connection,
    *,
    kind: str | None,
    keys: Sequence[str],
    before: datetime | None,
    version: int | None = None,
) -> AsyncIterator[list[Row]]:
    """Yield runs that have ended, of one kind, one version, or all, in pages; or those named, wherever they stand."""
    bucket, after_kind, after = -1, "", ""
    asked = {"kind": kind, "version": version, "keys": list(keys), "before": before, "page": PAGE}
    query = statement("list_ended")
    while page := await fetch(connection, query, bucket=bucket, after_kind=after_kind, after=after, **asked):
        bucket, after_kind, after = page[-1]["bucket"], page[-1]["kind"], page[-1]["key"]
        yield page


async def as_json(connection: Connection, run: Row) -> AsyncIterator[str]:
    """Yield the pieces of one JSON object: what a run is, its events, and those of its earlier histories, if any."""
    named = ("run", "version", "status", "started_at", "ended_at", "expires_at")
    head = {"workflow": run["kind"].partition(":")[2], "id": run["key"], **{name: run[name] for name in named}}
    yield f'{to_json(head).decode()[:-1]},"events":['
    async for piece in _events(connection, run["bucket"], run["run"], upto=run["seq"]):
        yield piece
    yield '],"earlier":['
    first, stream = True, await _before(connection, run["bucket"], run["run"])
    while stream is not None:
        yield f'{"" if first else ","}{{"run":"{stream}","events":['
        async for piece in _events(connection, run["bucket"], stream):
            yield piece
        yield "]}"
        first, stream = False, await _before(connection, run["bucket"], stream)
    yield "]}"


async def _events(connection: Connection, bucket: int, stream: str, *, upto: int | None = None) -> AsyncIterator[str]:
    after, first = 0, True
    query = statement("read_stream")
    while page := await fetch(connection, query, bucket=bucket, run=stream, after=after, page=EVENT_PAGE):
        found = [row["event"] for row in page if upto is None or row["seq"] <= upto]
        if found:
            yield ("" if first else ",") + ",".join(found)
        after, first = page[-1]["seq"], False


async def _before(connection: Connection, bucket: int, stream: str) -> str | None:
    found = await fetch(connection, statement("find_continued"), bucket=bucket, run=stream)
    return found[0]["run"] if found else None


async def release(connection: Connection, run: Row) -> bool:
    """Say that a run need not be kept any longer; return false where it goes on, or is another one by now."""
    named = {name: run[name] for name in ("bucket", "kind", "key", "run")}
    return bool(await fetch(connection, statement("release_run"), **named))


async def expire_runs(connection: Connection, *, page: int = GONE_PAGE) -> int:
    """Remove about a page of what runs have left that are kept no longer; return how many rows went."""
    (((removed,),),) = await run_script(connection, statement("expire_runs"), {"page": page})
    count: Any = removed
    return int(count)
