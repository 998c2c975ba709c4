"""Tasks: what waits for somebody outside the workers, steps and approvals, written with the append that asks for it.

Invariant: a task is there exactly as long as its run waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from revenant.queue.script import columns, run_script
from revenant.sql import statement


class TaskKey(NamedTuple):
    """Which operation of which stream a task belongs to."""

    bucket: int
    run: str
    op: int


class TaskWrite(NamedTuple):
    """A task to be written; the order of `write_tasks_v1`."""

    bucket: int
    run: str
    op: int
    kind: str
    key: str
    type: str
    """`step` or `approval`."""
    name: str
    attempt: int
    assignee: str | None
    input: str
    """JSON text."""
    due: str | None
    idempotency: str | None = None


_GONE_COLUMNS = ("gone_buckets", "gone_runs", "gone_ops")
_COLUMNS = (
    "buckets", "runs", "ops", "kinds", "keys", "types", "names", "attempts", "assignees", "inputs", "dues",
    "idempotencies",
)  # fmt: skip


async def write_tasks(
    connection: psycopg.AsyncConnection[Any], *, gone: Sequence[TaskKey], tasks: Sequence[TaskWrite]
) -> None:
    """Inside an append's transaction, remove the tasks that are gone, and then write these."""
    # In one order everywhere, so that two of these do not wait for each other in a ring.
    parameters = {**columns(sorted(gone), _GONE_COLUMNS), **columns(sorted(tasks), _COLUMNS)}
    await run_script(connection, statement("write_tasks"), parameters)


async def forget_streams(connection: psycopg.AsyncConnection[Any], *, streams: Sequence[tuple[int, str]]) -> None:
    """Inside an append's transaction, remove what these streams, (bucket, run) each, have besides their events."""
    await run_script(connection, statement("forget_streams"), columns(sorted(streams), ("gone_buckets", "gone_runs")))
