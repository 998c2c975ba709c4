"""Doing: what a worker has in hand besides turns, as its row says to whoever looks: attempts, and cells for some."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from revenant.queue.script import array

MOST = 100
"""So many of those that wait are named, the longest first."""


class Waiting(NamedTuple):
    """An attempt that waits for a cell, by its run."""

    kind: str
    key: str
    since: float
    """By the monotonic clock of this process."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What one worker has in hand."""

    attempts: int
    """Of steps, that are under way or wait for a cell."""
    cells: int
    """Processes in which such attempts run."""
    waiting: tuple[Waiting, ...]

    def parameters(self) -> dict[str, Any]:
        """Return those of `say_doing`."""
        now = time.monotonic()
        longest = sorted(self.waiting, key=lambda one: one.since)[:MOST]
        return {
            "attempts": self.attempts,
            "cells": self.cells,
            "kinds": array(one.kind for one in longest),
            "keys": array(one.key for one in longest),
            "seconds": array(now - one.since for one in longest),
        }


IDLE = Doing(0, 0, ())
"""What a fresh row says."""
