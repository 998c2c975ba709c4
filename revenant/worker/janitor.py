"""Janitor: removes what nobody will ask for: replies of callers that died, old batch markers, dead workers' rows."""

from __future__ import annotations

import random
from typing import Any

import psycopg

from revenant.queue.connection import script
from revenant.queue.link import Link
from revenant.sql import statement
from revenant.worker.loop import Loop

REST_SECONDS = 30.0
PAGE = 5000


class Janitor(Loop):
    """Tidies a page at a time, one worker at a time."""

    name = "janitor"

    def __init__(self, *, desk: Link) -> None:
        super().__init__(desk=desk)

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Remove one page; come back soon while there is more."""
        cursor = script(connection)
        await cursor.execute(statement("tidy_tables"), {"page": PAGE})
        (removed,) = await cursor.fetchone() or (0,)
        return 0.2 if removed >= PAGE else REST_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 # jitter
