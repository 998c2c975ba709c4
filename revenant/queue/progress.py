"""Progress of steps in the database: written while an attempt runs, read by the next one, gone with the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from revenant.queue.script import columns, run_script
from revenant.queue.tasks import TaskKey
from revenant.sql import statement


class ProgressWrite(NamedTuple):
    """How far one step is; the order of `write_progress_v1`."""

    bucket: int
    kind: str
    key: str
    run: str
    fence: int
    op: int
    attempt: int
    progress: str
    """JSON text."""


_COLUMNS = ("buckets", "kinds", "keys", "runs", "fences", "ops", "attempts", "progresses")


async def write_progress(
    connection: psycopg.AsyncConnection[Any], worker: str, writes: Sequence[ProgressWrite]
) -> None:
    """Keep how far these steps are, of the runs that this worker still owns."""
    await run_script(connection, statement("write_progress"), {"worker": worker, **columns(writes, _COLUMNS)})


async def drop_progress(connection: psycopg.AsyncConnection[Any], *, gone: Sequence[TaskKey]) -> None:
    """Remove what was kept of these steps, inside the transaction in which they end."""
    await run_script(connection, statement("drop_progress"), columns(sorted(gone), ("buckets", "runs", "ops")))
