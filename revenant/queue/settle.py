"""The commit of a turn: states, replies, consumed and sent messages in one transaction, wake-ups after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from revenant.errors import Conflict
from revenant.queue.history import record
from revenant.queue.mailbox import cast_wakes, send, waking
from revenant.queue.records import DeadLetter, Reply, Settlement
from revenant.queue.script import array, columns, run_script
from revenant.queue.timetable import keep_time
from revenant.sql import statement

_WRITE_COLUMNS = ("tids", "buckets", "kinds", "keys", "expected", "versions", "vsns", "states", "applied")
_REPLY_COLUMNS = ("reply_ids", "reply_statuses", "reply_versions", "reply_bodies", "reply_digests")
_REPLY_COLUMN = ("reply_id", "reply_status", "reply_version", "reply_body", "reply_digest")
_NO_REPLY = ((None,) * len(_REPLY_COLUMN), None)
_MAX_PAYLOAD = 7_900
FENCED = "RV001"
"""The SQLSTATE of settle_v1 when a row is not as it was locked."""


async def settle(connection: psycopg.AsyncConnection[Any], settlement: Settlement) -> None:
    """Write, commit, and wake the callers: one round trip unless messages were sent as well.

    Raises:
        Conflict: the row of an entity is not the one that was locked; nothing was written.
    """
    wakes = [(channel, page) for channel, replies in settlement.wakes.items() for page in payloads(replies)]
    if settlement.sends:
        wakes += cast_wakes(await send(connection, settlement.sends))
    wakes += await keep_time(connection, settlement)
    if settlement.past:
        await record(connection, settlement.past)
    await bury(connection, settlement.burials)
    script, given = _settling(settlement)
    wake, listeners = waking(wakes)
    try:
        await run_script(connection, script + wake, {**given, **listeners})
    except psycopg.DatabaseError as error:
        if error.sqlstate == FENCED:
            raise Conflict(
                f"A turn was refused its commit: {error.diag.message_primary}. Another worker owns the entity now; "
                "nothing was written, and its messages will be handled there."
            ) from error
        raise


async def bury(connection: psycopg.AsyncConnection[Any], letters: Sequence[DeadLetter]) -> None:
    """Keep these as dead letters, if there are any, in the transaction that is open."""
    if letters:
        await run_script(connection, statement("bury_messages"), columns(letters, DeadLetter._fields))


def _settling(settlement: Settlement) -> tuple[LiteralString, dict[str, Any]]:
    """Return what settles a turn, and its parameters; one message of one entity costs half of what a batch does."""
    if len(settlement.consumed) != 1 or len(settlement.writes) != 1 or len(settlement.replies) > 1:
        return statement("settle_turn"), parameters(settlement)
    (write,), (consumed,) = settlement.writes, settlement.consumed
    if write.state is None:
        return statement("settle_turn"), parameters(settlement)
    reply, ttl = settlement.replies[0] if settlement.replies else _NO_REPLY
    return statement("settle_one"), {
        **write._asdict(),
        **dict(zip(("message_tid", "seq"), consumed, strict=True)),
        **dict(zip(_REPLY_COLUMN, reply, strict=True)),
        "reply_ttl": ttl,
    }


def parameters(settlement: Settlement) -> dict[str, Any]:
    """Return the parameters of `settle_turn`."""
    return {
        **columns(settlement.writes, _WRITE_COLUMNS),
        **columns(settlement.consumed, ("message_tids", "seqs")),
        **_replies(settlement),
    }


def run_parameters(settlement: Settlement) -> dict[str, Any]:
    """Return the parameters of `settle_runs`."""
    return {**columns(settlement.taken, ("message_tids", "seqs", "message_ids")), **_replies(settlement)}


def _replies(settlement: Settlement) -> dict[str, Any]:
    return {
        **columns([reply for reply, _ in settlement.replies], _REPLY_COLUMNS),
        "reply_ttls": array(ttl for _, ttl in settlement.replies),
    }


def payloads(replies: Sequence[Reply]) -> list[str]:
    """Return NOTIFY payloads: one line a reply, `id status version body`; only the id where the body is too long.

    JSON text from pydantic holds no line break, so a line is a reply. A payload stays under 8,000 bytes.
    """
    pages: list[str] = []
    lines: list[str] = []
    size = 0
    for reply in replies:
        line = f"{reply.id} {reply.status} {reply.version} {reply.body}"
        length = len(line.encode())
        if length > _MAX_PAYLOAD or reply.digest is not None or "\n" in line:
            # Too long, or its reader must compare what the idempotency key was given for: let it read the row.
            line, length = reply.id, len(reply.id)
        if lines and size + length + 1 > _MAX_PAYLOAD:
            pages.append("\n".join(lines))
            lines, size = [], 0
        lines.append(line)
        size += length + 1
    if lines:
        pages.append("\n".join(lines))
    return pages


def id_payloads(replies: Sequence[Reply]) -> list[str]:
    """Return NOTIFY payloads that only name the replies: whoever waits for them looks at the rows."""
    page = _MAX_PAYLOAD // 37
    return ["\n".join(reply.id for reply in replies[start : start + page]) for start in range(0, len(replies), page)]
