"""Into the mailbox: one client's batch at a time, exactly once however often it is retried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import psycopg
from pydantic_core import from_json, to_json

from revenant.queue.records import Envelope
from revenant.queue.script import array, columns, run_script
from revenant.queue.traces import trace_columns, traced, traces_of
from revenant.sql import statement

WAKE_CHANNEL = "revenant_wake"
CASTS = "cast"
"""A wake-up that begins so names entities with messages for which nobody waits: others go before them."""
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
    traces = traces_of(envelope.id for envelope in envelopes)
    if len(envelopes) == 1 and not (settled or read_ids or traces):
        parameters = {"batch": batch, **envelopes[0]._asdict()}
        ((hint,),), *_ = await run_script(connection, statement("enqueue_one"), parameters)
        return [] if hint is None else [hint]
    flush = any(envelope.origin is None for envelope in envelopes)
    hints, *_ = await run_script(
        connection,
        traced(statement("enqueue_batch"), traces),
        {
            **trace_columns(traces),
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
    traces = traces_of(envelope.id for envelope in envelopes)
    script = traced(statement("send_messages"), traces)
    hints, *_ = await run_script(connection, script, {**columns(envelopes, _COLUMNS), **trace_columns(traces)})
    return [hint for (hint,) in hints]


async def notify(connection: psycopg.AsyncConnection[Any], wakes: Sequence[tuple[str, str]]) -> None:
    """Wake listeners: (channel, payload) each, in one transaction that writes no WAL."""
    await run_script(connection, *waking(wakes))


def waking(wakes: Sequence[tuple[str, str]]) -> tuple[LiteralString, dict[str, str]]:
    """Return the statement that wakes listeners, (channel, payload) each, and its parameters; none for nobody."""
    match wakes:
        case []:
            return "", {}
        case [(channel, payload)]:
            return statement("notify_one"), {"channel": channel, "payload": payload}
        case _:
            return statement("notify_many"), columns(wakes, ("channels", "payloads"))


def cast_wakes(hints: Iterable[str]) -> list[tuple[str, str]]:
    """Return what tells the workers of messages for which nobody waits."""
    return [(WAKE_CHANNEL, f"{CASTS}{hint}" if hint.startswith("[") else hint) for hint in hints]


def batch_wakes(hints: Sequence[str], envelopes: Sequence[Envelope]) -> list[tuple[str, str]]:
    """Return what tells the workers of one batch: of its calls by themselves, so that casts hold up none of them."""
    called = {(envelope.kind, envelope.key) for envelope in envelopes if envelope.origin is not None}
    if not called:
        return cast_wakes(hints)
    wakes: list[tuple[str, str]] = []
    for hint in hints:
        if not hint.startswith("["):
            wakes.append((WAKE_CHANNEL, hint))
            continue
        rows = from_json(hint)
        calls = [row for row in rows if (row[1], row[2]) in called]
        casts = [row for row in rows if (row[1], row[2]) not in called]
        wakes += [(WAKE_CHANNEL, to_json(calls).decode())] if calls else []
        wakes += cast_wakes([to_json(casts).decode()]) if casts else []
    return wakes


def transactional_send(envelopes: Sequence[Envelope]) -> tuple[LiteralString, dict[str, str]]:
    """Return the statement and its parameters that send inside somebody else's transaction."""
    traces = traces_of(envelope.id for envelope in envelopes)
    if not traces:
        return statement("send_in_transaction"), columns(envelopes, _COLUMNS)
    return statement("send_traced"), {**columns(envelopes, _COLUMNS), **trace_columns(traces)}
