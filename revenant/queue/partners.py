"""Partners: further entities that a turn locks, besides the one whose messages it handles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from revenant.codec import bucket_of
from revenant.queue.claim import claim_parameters, read_rows
from revenant.queue.records import Claim, Claimed, Hint
from revenant.queue.script import columns, run_script
from revenant.sql import statement

Named = tuple[str, str]
"""Kind and key."""


async def lock_partners(connection: psycopg.AsyncConnection[Any], partners: Sequence[Named]) -> list[Claimed] | None:
    """Lock these entities in the turn that runs, and return them in order; None where one is busy. Never waits."""
    (rows,) = await run_script(connection, statement("lock_partners"), _columns(partners))
    if len(rows) < len(partners):
        return None
    found = {row[0]: row[1:] for row in rows}
    return [_claimed(partner, found[slot]) for slot, partner in enumerate(partners, start=1)]


def _claimed(partner: Named, row: tuple[Any, ...]) -> Claimed:
    tid, version, vsn, state = row
    kind, key = partner
    return Claimed(bucket_of(kind, key), kind, key, tid, version, vsn, state, [])


async def claim_together(
    connection: psycopg.AsyncConnection[Any],
    hint: Hint,
    partners: Sequence[Named],
    vsns: Mapping[str, int],
    *,
    most: int,
    patience: float,
) -> Claim | None:
    """Claim one entity once it and its partners are free; None where they are not within `patience` seconds.

    Either way there is a transaction then, which the caller ends.

    Waiting is what gets a lock of a busy entity: between two of its turns it is free for a moment only. It is done in
    the order of kinds and keys, so that nobody who waits is waited for in a circle.
    """
    everybody = sorted({(hint.kind, hint.key), *partners})
    parameters = {
        **claim_parameters([hint], vsns, most=most),
        **{f"partner_{name}": column for name, column in _columns(everybody).items()},
        "patience": int(patience * 1000),
    }
    try:
        _, ((xid,),), _, ((now,),), rows = await run_script(connection, statement("begin_together"), parameters)
    except psycopg.errors.LockNotAvailable:
        return None
    return read_rows(rows, [hint], Claim(xid=xid, now=now))


def _columns(partners: Sequence[Named]) -> dict[str, str]:
    return columns([(bucket_of(*partner), *partner) for partner in partners], ("buckets", "kinds", "keys"))
