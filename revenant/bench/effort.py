"""Effort: the processor time that requests take, by whoever spends it; it tells a dear library from a busy machine."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.trial.cpu import cpu_seconds
from revenant.trial.crew import Crew

CALLERS, WORKERS, INTAKE, TURNS, LISTENING, PLAIN = "callers", "workers", "intake", "turns", "listening", "plain"
_ROLES = {"client": INTAKE, "lane": TURNS, "listener": LISTENING, "worker-listener": LISTENING, "bench": PLAIN}
"""What the server's processes are for, by the names of their connections without a number."""


class Effort:
    """Seconds of processor time by part: this process, the workers, and the server's processes where they are seen."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._whole = True

    def add(self, before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> None:
        """Add what was spent between two looks."""
        if before is None or after is None:
            self._whole = False
            return
        for part in after:
            self._seconds[part] += after[part] - before.get(part, 0.0)

    def micros(self, requests: int, *parts: str) -> float | None:
        """Return the microseconds for one request, of those parts or of all; None where not all could be seen."""
        if not self._whole or not requests:
            return None
        return sum(self._seconds[part] for part in parts or self._seconds) / requests * 1e6


async def look_at_effort(connection: psycopg.AsyncConnection[Any], crew: Crew) -> Mapping[str, float] | None:
    """Return the seconds spent so far, by part; None where the server is elsewhere, or the system does not tell."""
    (rows,) = await run_script(connection, statement("list_backends"), {"prefix": "revenant/"})
    server = [(role, _seconds_of(pid)) for pid, name in rows if (role := _ROLES.get(name.rstrip("-0123456789")))]
    known = [(CALLERS, cpu_seconds(os.getpid())), (WORKERS, crew.cpu_seconds()), *server]
    seconds: dict[str, float] = defaultdict(float)
    for part, spent in known:
        if spent is None:
            return None
        seconds[part] += spent
    return seconds


def _seconds_of(pid: int) -> float | None:
    """Return what a process of the server has spent; None where that process is not on this machine."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return cpu_seconds(pid) if name.startswith(b"postgres:") else None
