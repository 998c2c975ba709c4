"""Snapshots: where long runs stand, written with the append that brought them there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from revenant.queue.script import columns, run_script
from revenant.sql import statement


class SnapshotWrite(NamedTuple):
    """One stream's snapshot; the order of `write_snapshots_v1`."""

    bucket: int
    run: str
    seq: int
    view: str | None
    """JSON text; None: the stream has ended, and its snapshot goes."""


async def write_snapshots(
    connection: psycopg.AsyncConnection[Any], *, format: str, snapshots: Sequence[SnapshotWrite]
) -> None:
    """Inside an append's transaction, write these."""
    found = columns(sorted(snapshots), ("buckets", "runs", "seqs", "views"))
    await run_script(connection, statement("write_snapshots"), {"format": format, **found})
