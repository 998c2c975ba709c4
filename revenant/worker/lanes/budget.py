"""Budget: how long one turn goes on to handle messages before it commits."""

from __future__ import annotations

import time

MOST_BUDGETS = 5
"""Budgets of wall time that a turn takes at most, however little of it this process was let run."""


class Budget:
    """Spent by the wall clock, unless other processes had the processor meanwhile.

    What a turn does not reach is claimed once more. On a crowded machine a budget of wall time alone is over before
    the messages are, and a worker reads everything twice: it drained a backlog at half its speed.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._worked = time.thread_time()

    def spent(self) -> bool:
        """Whether to commit now."""
        took = time.monotonic() - self._began
        if took <= self._seconds:
            return False
        return took > MOST_BUDGETS * self._seconds or time.thread_time() - self._worked > self._seconds
