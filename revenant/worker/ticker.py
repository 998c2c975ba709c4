"""Ticker: moves messages that have become due, by the database's clock, into their mailboxes."""

from __future__ import annotations

from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.mailbox import WAKE_CHANNEL, notify, release_due
from revenant.worker.loop import Loop

LONGEST_SLEEP = 0.5
"""Seconds that the ticker sleeps at most: a message scheduled meanwhile may be due sooner than the last look knew."""
SHORTEST_SLEEP = 0.02
"""Seconds that it sleeps at least when it could release nothing: another worker's ticker holds what is due."""
PAGE = 500


class Ticker(Loop):
    """Releases due messages in bounded pages, and sleeps until the next due time."""

    name = "ticker"

    def __init__(self, *, desk: Link) -> None:
        super().__init__(desk=desk)

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Release one page; return the seconds until the next message is due."""
        hints, next_due = await release_due(connection, page=PAGE)
        if hints:
            await notify(connection, [(WAKE_CHANNEL, hint) for hint in hints])
        if next_due is None:
            return LONGEST_SLEEP
        return min(max(next_due, 0.0 if hints else SHORTEST_SLEEP), LONGEST_SLEEP)
