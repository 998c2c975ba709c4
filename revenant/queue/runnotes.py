"""Notes of runs whose code is about to run: what a worker that dies leaves behind of what it was doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from revenant.queue.records import Hint
from revenant.queue.script import columns, run_script
from revenant.sql import statement


async def note_runs(
    connection: psycopg.AsyncConnection[object], worker: str, hints: Sequence[Hint]
) -> Mapping[int, int]:
    """Note these runs; return, by place from 0, how many workers have died that had noted them, where any has.

    -1 for those that a worker has noted that lives: they are not noted for this one.
    """
    (rows,) = await run_script(connection, statement("note_runs"), _parameters(worker, hints))
    return {place - 1: deaths for place, deaths in rows}


async def clear_runs(connection: psycopg.AsyncConnection[object], worker: str, hints: Sequence[Hint]) -> None:
    """Remove this worker's notes of these runs."""
    await run_script(connection, statement("clear_runs"), _parameters(worker, hints))


def _parameters(worker: str, hints: Sequence[Hint]) -> dict[str, object]:
    return {"worker": worker, **columns([hint[:3] for hint in hints], ("buckets", "kinds", "keys"))}
