"""Seeing: a memory application's run as whoever looks at one in Postgres gets it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic_core import from_json

from revenant.queue.runs import RunWrite
from revenant.queue.runviews import SeenRun
from revenant.workflows.events import ENDS, Event


def seen_of(row: RunWrite, events: Sequence[Event], *, messages: int, earlier: list[str]) -> SeenRun:
    """Return a run by its row and its events; nobody but the test itself owns it."""
    ended_at = events[-1].at if row.status in ENDS.values() else None
    expires_at = None if ended_at is None or row.keep is None else ended_at + timedelta(seconds=row.keep)
    told = {
        "run": row.stream, "version": row.version, "status": row.status, "seq": row.seq, "fence": row.fence,
        "recoveries": row.recoveries, "view": from_json(row.view or "null"), "problem": row.problem,
        "started_at": events[0].at, "updated_at": events[-1].at, "ended_at": ended_at, "expires_at": expires_at,
        "owner": None, "host": None, "pid": None, "alive": None, "messages": messages,
        "resolved": None,
    }  # fmt: skip
    return SeenRun(told, [one._asdict() for one in events], earlier)
