"""Into the mailbox: one client's batch at a time, exactly once however often it is retried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from revenant.queue.records import Envelope, Scheduled
from revenant.queue.script import array, columns, run_script
from revenant.sql import statement

WAKE_CHANNEL = "revenant_wake"
_COLUMNS = Envelope._fields


async def enqueue(
    connection: psycopg.AsyncConnection[Any],
    *,
    batch: str,
    settled: Sequence[str],
    envelopes: Sequence[Envelope],
    read_ids: Sequence[str],
) -> list[str]:
    """Send one batch; return the wake-ups that are still to be sent, after the commit.

    A batch of calls commits asynchronously, since the commit of the replies flushes it too, and wakes the
    workers itself. A batch with any cast flushes, because its senders are promised durability. `settled` are earlier
    batches that nobody will try again, and `read_ids` replies that nobody will ask for: their rows go.
    """
    flush = any(envelope.origin is None for envelope in envelopes)
    (hints,) = await run_script(
        connection,
        statement("enqueue_batch"),
        {
            "batch": batch,
            "settled": array(settled),
            "flush": flush,
            "read_ids": array(read_ids),
            **columns(envelopes, _COLUMNS),
        },
    )
    return [hint for (hint,) in hints]


async def send(connection: psycopg.AsyncConnection[Any], envelopes: Sequence[Envelope]) -> list[str]:
    """Put messages into their mailboxes inside the caller's own transaction; return the wake-ups."""
    (hints,) = await run_script(connection, statement("send_messages"), columns(envelopes, _COLUMNS))
    return [hint for (hint,) in hints]


async def schedule(connection: psycopg.AsyncConnection[Any], rows: Sequence[Scheduled]) -> None:
    """Store messages that become due later."""
    await run_script(connection, statement("schedule_messages"), columns(rows, Scheduled._fields))


async def notify(connection: psycopg.AsyncConnection[Any], wakes: Sequence[tuple[str, str]]) -> None:
    """Wake listeners: (channel, payload) each, in one transaction that writes no WAL."""
    await run_script(connection, statement("notify_many"), columns(wakes, ("channels", "payloads")))


async def schedule_batch(connection: psycopg.AsyncConnection[Any], *, batch: str, rows: Sequence[Scheduled]) -> None:
    """Store one client's messages for later, exactly once however often it is retried."""
    parameters = {"batch": batch, **columns(rows, Scheduled._fields)}
    await run_script(connection, statement("schedule_batch"), parameters)


def transactional_send(envelopes: Sequence[Envelope]) -> tuple[LiteralString, dict[str, str]]:
    """Return the statement and its parameters that send inside somebody else's transaction."""
    return statement("send_in_transaction"), columns(envelopes, _COLUMNS)


async def release_due(connection: psycopg.AsyncConnection[Any], *, page: int) -> tuple[list[str], float | None]:
    """Move due messages into their mailboxes; return the wake-ups, and the seconds to the next due time, if any."""
    (rows,) = await run_script(connection, statement("release_due"), {"page": page})
    return [hint for hint, _ in rows if hint is not None], next((due for hint, due in rows if hint is None), None)
