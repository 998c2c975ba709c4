"""Replies: the row is the truth, the notification only its fastest messenger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from revenant.queue.records import Reply
from revenant.queue.script import array, run_script
from revenant.sql import statement


async def fetch_replies(connection: psycopg.AsyncConnection[Any], ids: Sequence[str]) -> list[Reply]:
    """Return the replies of those ids that have one."""
    (rows,) = await run_script(connection, statement("fetch_replies"), {"ids": array(ids)})
    return [Reply(*row) for row in rows]


def read_payload(payload: str) -> tuple[list[Reply], list[str]]:
    """Return the replies that a notification carries, and the ids of those too long to carry."""
    replies: list[Reply] = []
    ids: list[str] = []
    for line in payload.split("\n"):
        parts = line.split(" ", 3)
        if len(parts) == 4:
            replies.append(Reply(parts[0], parts[1], int(parts[2]), parts[3]))
        elif line:
            ids.append(line)
    return replies, ids
