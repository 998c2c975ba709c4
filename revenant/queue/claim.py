"""Out of the mailbox: lock entities that are free, then read their messages in a later snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg

from revenant.queue.records import Claim, Claimed, Delivery, Hint, Mark, Reply
from revenant.queue.replies import fetch_replies
from revenant.queue.script import array, columns, run_script
from revenant.sql import statement

ENTITY_LIMIT = 256
"""Messages of one entity that a turn takes at most."""
MESSAGE_LIMIT = 512
"""Messages that a turn takes at most."""
HALVED_FROM, HALVED_TO = 16, 128
"""Calls that wait for one entity alone are halved from so many, to so many."""
BYTE_LIMIT = 16 * 1024 * 1024
"""Bytes of states and arguments after which a turn takes no more."""


async def claim(
    connection: psycopg.AsyncConnection[Any],
    hints: Sequence[Hint],
    vsns: Mapping[str, int],
    *,
    most: int = ENTITY_LIMIT,
    known: Sequence[Mark] = (),
) -> Claim:
    """Open a transaction and claim what the hints name, in one round trip.

    `vsns` maps each kind to the newest state version that this worker's class reads; `most` is how many messages
    of one entity are taken; `known` are the states, in the order of the hints, that need not be read again.
    """
    if len(hints) == 1:
        return await _claim_one(connection, hints, vsns, most=most, known=known)
    parameters = {**claim_parameters(hints, vsns, most=most), **columns(known, ("known_versions", "known_writers"))}
    _, ((xid, now),), rows = await run_script(connection, statement("begin_turn"), parameters)
    return read_rows(rows, hints, Claim(xid=xid, now=now))


async def _claim_one(
    connection: psycopg.AsyncConnection[Any],
    hints: Sequence[Hint],
    vsns: Mapping[str, int],
    *,
    most: int,
    known: Sequence[Mark],
) -> Claim:
    (hint,), mark = hints, known[0] if known else Mark(None, None)
    parameters = {
        "bucket": hint.bucket,
        "kind": hint.kind,
        "key": hint.key,
        "since": max(hint.seq - 1, 0),
        "vsn": vsns[hint.kind],
        "known_version": mark.version,
        "known_writer": mark.writer,
        "message_limit": most,
        "byte_limit": BYTE_LIMIT,
    }
    _, rows = await run_script(connection, statement("begin_turn_one"), parameters)
    claimed = Claim(xid=rows[0][20], now=rows[0][21]) if rows and rows[0][1] == "claimed" else Claim()
    return read_rows(rows, hints, claimed)


def claim_parameters(hints: Sequence[Hint], vsns: Mapping[str, int], *, most: int) -> dict[str, Any]:
    """Return the parameters that `claim_v1` and `claim_v2` share."""
    return {
        **columns([hint[:3] for hint in hints], ("buckets", "kinds", "keys")),
        # Reading starts at the entity's mark, or at the named number where that is lower: a message may have
        # been numbered early and committed late. 0 ignores the mark.
        "since": array(max(hint.seq - 1, 0) for hint in hints),
        "vsns": array(vsns[hint.kind] for hint in hints),
        "entity_limit": most,
        "message_limit": MESSAGE_LIMIT,
        "byte_limit": BYTE_LIMIT,
    }


async def recall_replies(connection: psycopg.AsyncConnection[Any], claim: Claim) -> None:
    """Look up, for every message, whether its id has a reply already.

    The claim does so for those with an idempotency key. Without one an id comes twice only when somebody sent it
    by hand; the commit stumbles over the first one's reply, and is done again after this.
    """
    ids = [delivery.id for claimed in claim.entities for delivery in claimed.deliveries]
    known = {reply.id: reply for reply in await fetch_replies(connection, ids)}
    for claimed in claim.entities:
        claimed.deliveries[:] = [
            delivery._replace(done=delivery.done or known.get(delivery.id)) for delivery in claimed.deliveries
        ]


def halve(claim: Claim) -> list[Hint]:
    """Leave the later half of one hot entity's calls for the next turn; return the hint to it.

    One entity's turns cannot overlap, so its callers do: those of the first half send their next messages while the
    second half is handled. Where many more wait, whole turns cost less.
    """
    if len(claim.entities) != 1:
        return []
    entity = claim.entities[0]
    count = len(entity.deliveries)
    if not HALVED_FROM <= count <= HALVED_TO or entity.deliveries[0].origin is None:
        return []
    rest = entity.deliveries[count // 2 :]
    del entity.deliveries[count // 2 :]
    return [Hint(entity.bucket, entity.kind, entity.key, rest[0].seq)]


def from_its_first(entity: Claimed) -> Hint:
    """Return the hint to all that was claimed of an entity and not handled."""
    return Hint(entity.bucket, entity.kind, entity.key, entity.deliveries[0].seq)


def leave_out(claim: Claim, keys: Collection[tuple[str, str]]) -> list[Hint]:
    """Take these entities, by kind and key, out of a claim; return the hints to them."""
    if not keys:
        return []
    out = [entity for entity in claim.entities if (entity.kind, entity.key) in keys]
    claim.entities[:] = [entity for entity in claim.entities if (entity.kind, entity.key) not in keys]
    return [from_its_first(entity) for entity in out]


async def give_back(connection: psycopg.AsyncConnection[Any]) -> None:
    """End a turn that has nothing to settle."""
    await run_script(connection, "rollback")


def read_rows(rows: Sequence[tuple[Any, ...]], hints: Sequence[Hint], claim: Claim) -> Claim:
    """Sort what one of the functions that claim returned for these hints into a claim, and return it."""
    others = {"locked": claim.locked, "later": claim.later, "newer": claim.newer}
    last = -1
    for row in rows:
        slot = row[0] - 1
        if row[1] != "claimed":
            others[row[1]].append(slot)
            continue
        if slot != last:
            last = slot
            hint = hints[slot]
            deliveries: list[Delivery] = []
            claim.entities.append(
                Claimed(hint.bucket, hint.kind, hint.key, row[2], row[3], row[4], row[5], deliveries, *row[18:20])
            )
        done = None if row[14] is None else Reply(row[8], row[14], row[15], row[16], row[17])
        deliveries.append(Delivery._make((*row[6:14], done)))
    return claim


async def peek(connection: psycopg.AsyncConnection[Any], hints: Sequence[Hint]) -> list[int]:
    """Return the places (from 0) of those hints whose entities still have a message at or after the named number."""
    (rows,) = await run_script(
        connection, statement("peek_entities"), columns(hints, ("buckets", "kinds", "keys", "seqs"))
    )
    return [slot - 1 for (slot,) in rows]


async def waiting(
    connection: psycopg.AsyncConnection[Any], *, known: Sequence[str], after: Hint, page: int
) -> list[Hint]:
    """Return the next entities of known kinds that have waiting messages, from a cursor on; they ignore the mark."""
    (rows,) = await run_script(
        connection,
        statement("waiting_entities"),
        {"known": array(known), "bucket": after.bucket, "kind": after.kind, "key": after.key, "page": page},
    )
    return [Hint._make((*row, 0)) for row in rows]
