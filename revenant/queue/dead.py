"""Dead letters: casts that failed for the last time, for a person to look at, send again or drop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.views import PAGE, Connection, Row, fetch
from revenant.sql import statement

_LOWEST = str(UUID(int=0))


async def dead_letters(connection: Connection, *, kind: str | None = None) -> AsyncIterator[list[Row]]:
    """Yield the dead letters of one kind or of all, in pages; those that die meanwhile may be among them."""
    bucket, after = -1, _LOWEST
    query = statement("list_dead")
    while page := await fetch(connection, query, bucket=bucket, after=after, kind=kind, page=PAGE):
        bucket, after = page[-1]["bucket"], page[-1]["id"]
        for row in page:
            del row["bucket"]
        yield page


async def find_dead(connection: Connection, message_id: str) -> Row | None:
    """Return one dead letter whole."""
    found = await fetch(connection, statement("show_dead"), id=message_id)
    return found[0] if found else None


async def retry(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Put dead letters back into their mailboxes as if new, in one transaction; return those that were there."""
    moved = await fetch(connection, statement("retry_dead"), ids=list(ids))
    await notify(connection, [(WAKE_CHANNEL, row["hint"]) for row in moved])
    return [row["id"] for row in moved]


async def drop(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Remove dead letters for good; return those that were there."""
    return [row["id"] for row in await fetch(connection, statement("drop_dead"), ids=list(ids))]
