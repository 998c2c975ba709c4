"""Settling: waiting until all that a run has sent is handled, while its workers live.

Invariant: call it when everything has been sent; then a bucket that is found empty stays empty.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg

from revenant.trial.run import BUCKETS, Leftovers, Run

PAUSE = 0.005
PATIENCE = 60.0
"""Seconds without any progress after which waiting ends: what is left by then counts as lost."""


async def settle(
    connection: psycopg.AsyncConnection[Any], run: Run, *, watch: Callable[[], None], patience: float = PATIENCE
) -> Leftovers:
    """Wait until the mailboxes of the run are empty and nothing is scheduled; return what is left over.

    `watch` is called all the while, and raises when there is nobody left to wait for.
    """
    while True:
        stuck = await _empty(connection, run, watch, patience)
        left = await run.leftovers(connection)
        if stuck or not left.scheduled:
            return left
        # A failed cast comes back into its mailbox when it is due.
        watch()
        await asyncio.sleep(0.1)


async def _empty(
    connection: psycopg.AsyncConnection[Any], run: Run, watch: Callable[[], None], patience: float
) -> bool:
    """Wait for one bucket after the other; return whether patience ran out."""
    for bucket in BUCKETS:
        until = time.monotonic() + patience
        while await run.waits(connection, bucket):
            watch()
            if time.monotonic() > until:
                return True
            await asyncio.sleep(PAUSE)
    return False
