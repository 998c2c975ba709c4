"""Janitor: removes what nobody will ask for: replies of callers that died, old batch markers, dead workers' rows.

Invariant: a round reads one page, whatever the tables hold: others use the same connection.
"""

from __future__ import annotations

import random
from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.loop import Loop

REST_SECONDS = 2.0
"""Between two buckets: a walk over all of them takes about as long as a dead worker's row is kept."""
PAGE_SECONDS = 0.2
"""Between two pages of one bucket."""
PAGE = 2000
BUCKETS = 256
_START = "00000000-0000-0000-0000-000000000000"


class Janitor(Loop):
    """Walks over the replies, a page of one bucket at a time, and tidies the rest after each walk."""

    name = "janitor"

    def __init__(self, *, desk: Link) -> None:
        super().__init__(desk=desk)
        # Workers start at different places, so that together they are through sooner.
        self._bucket = random.randrange(BUCKETS)  # noqa: S311 # spreading, not a secret
        self._after = _START

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Tidy one page; return how long to rest."""
        place = {"bucket": self._bucket, "after": self._after, "page": PAGE}
        (((after,),),) = await run_script(connection, statement("tidy_replies"), place)
        if after is not None:
            self._after = after
            return PAGE_SECONDS
        self._bucket, self._after = (self._bucket + 1) % BUCKETS, _START
        if self._bucket == 0:
            await run_script(connection, statement("tidy_tables"), {"page": PAGE})
        return REST_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 # jitter
