"""One worker process: waits for its database, refuses a schema that does not fit, serves, and drains when told."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Coroutine
from typing import Any

from revenant.eventloop import end
from revenant.queue.link import Link
from revenant.sql import require_schema, status
from revenant.worker.shutdown import Shutdown
from revenant.worker.watchdog import Watchdog
from revenant.worker.worker import Worker

log = logging.getLogger("revenant.worker")
YOUNG = 10_000
"""Objects that are made, and not gone again, between two looks of the collector at the young ones; Python's own is 700.

What runs and turns leave is gone without it, so it finds next to nothing, and a look costs what all that is under way
takes to walk over: with hundreds of runs in flight that was a tenth of the worker's time.
"""
GRACE = 3.0
"""Seconds beyond the drain's time-out after which a process is ended that still has not."""


async def serve(worker: Worker, *, url: str, drain_timeout: float, watchdog: Watchdog, shutdown: Shutdown) -> None:
    """Serve until the shutdown, which listens already, and drain.

    Raises:
        SchemaMismatch: the schema is missing, or does not fit this code; nothing was served.
    """
    if not await until_told(shutdown, await_schema(url)):
        return
    watchdog.start()
    await worker.start()
    if await until_told(shutdown, worker.ready()):
        log.info("Ready: worker %s, process %d.", worker.id, os.getpid())
    # What was made by now stays to the end: the collector need not walk over it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    await shutdown.requested.wait()
    log.info("Draining: up to %g s for what runs.", drain_timeout)
    await worker.stop(drain_timeout=drain_timeout)
    watchdog.stop()


async def await_schema(url: str) -> None:
    """Wait until the database is there, saying so once, and check its schema."""
    link = Link(url=url, role="start")
    try:
        require_schema(await status(await link.connection()))
    finally:
        await link.reset()


async def until_told(shutdown: Shutdown, work: Coroutine[Any, Any, None]) -> bool:
    """Run something to its end, or until the process is told to stop; return whether it ended by itself."""
    task = asyncio.ensure_future(work)
    told = asyncio.ensure_future(shutdown.requested.wait())
    try:
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return not told.done()
    finally:
        await end(task, told)
