"""Retention: removes runs that have ended when their time to be kept (`keep=`) is over.

Invariant: a round removes one page, whatever a run has grown to: others use the same connection.
"""

from __future__ import annotations

import random
from typing import Any

import psycopg

from revenant.queue.archive import GONE_PAGE, expire_runs
from revenant.worker.loop import Loop

REST_SECONDS = 30.0
PAGE_SECONDS = 0.2
"""Between two pages of a backlog."""


class Retention(Loop):
    """Removes expired runs; several workers share the work, and wait for none of the others."""

    name = "retention"

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Remove one page; return how long to rest."""
        if await expire_runs(connection, page=GONE_PAGE) >= GONE_PAGE:
            return PAGE_SECONDS
        return REST_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 # jitter
