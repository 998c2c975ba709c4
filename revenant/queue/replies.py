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


def read_payload(payload: str) -> tuple[list[Reply], list[str], dict[str, str]]:
    """Return the replies that a notification carries, the ids of those too long to carry, and who wants to know.

    A reply that came before its commit names a channel: on it, its worker waits to hear that it has been heard.
    """
    replies: list[Reply] = []
    ids: list[str] = []
    desks: dict[str, str] = {}
    for line in payload.split("\n"):
        parts = line.split(" ", 3)
        if len(parts) == 4:
            status, _, desk = parts[1].partition("@")
            desk, _, digest = desk.partition("@")
            if desk:
                desks[parts[0]] = desk
            replies.append(Reply(parts[0], status, int(parts[2]), parts[3], bytes.fromhex(digest) or None))
        elif line:
            ids.append(line)
    return replies, ids, desks
