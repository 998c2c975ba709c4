"""Callers: the calls that wait for one entity behind more casts than a claim reads."""

from __future__ import annotations

from typing import Any

import psycopg

from revenant.queue.claim import BYTE_LIMIT, ENTITY_LIMIT
from revenant.queue.records import Claimed, Delivery, Reply
from revenant.queue.script import run_script
from revenant.sql import statement


async def claim_calls(connection: psycopg.AsyncConnection[Any], entity: Claimed, *, since: int) -> list[Delivery]:
    """Return the calls to an entity that this turn holds, in order, from that number on; its casts stay unread."""
    (rows,) = await run_script(
        connection,
        statement("claim_calls"),
        {
            "bucket": entity.bucket,
            "kind": entity.kind,
            "key": entity.key,
            "since": since,
            "message_limit": ENTITY_LIMIT,
            "byte_limit": BYTE_LIMIT,
        },
    )
    return [_read(row) for row in rows]


def _read(row: tuple[Any, ...]) -> Delivery:
    done = None if row[8] is None else Reply(row[2], row[8], row[9], row[10], row[11])
    return Delivery._make((*row[:8], done))
