"""Alarm: what every loop is that sleeps until something is due, and wakes when told of something sooner.

Invariant: what is due is looked for at its time, by the database's clock, and every few seconds whatever was heard.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.timetable import LONGEST_SLEEP
from revenant.worker.loop import Loop

SHORTEST_SLEEP = 0.02
"""Seconds between two looks at least when the first could do nothing: another worker is at it."""


class Alarm(Loop):
    """A loop over things that become due."""

    def __init__(self, *, desk: Link) -> None:
        super().__init__(desk=desk)
        self._rings_at = 0.0
        """When the next round comes, in monotonic seconds."""

    def expect(self, seconds: float) -> None:
        """Hear that something is due in so many seconds: the next round comes now, unless it would come soon enough."""
        if time.monotonic() + seconds < self._rings_at:
            self.nudge()

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Do what is due; return the seconds until the next round."""
        # Until this round knows better, whatever is heard of is sooner.
        self._rings_at = float("inf")
        done, next_due = await self.ring(connection)
        shortest = 0.0 if done else SHORTEST_SLEEP
        pause = LONGEST_SLEEP if next_due is None else min(max(next_due, shortest), LONGEST_SLEEP)
        self._rings_at = time.monotonic() + pause
        return pause

    @abstractmethod
    async def ring(self, connection: psycopg.AsyncConnection[Any]) -> tuple[bool, float | None]:
        """Do what is due; return whether anything was, and the seconds until more is, None where nothing is known."""
