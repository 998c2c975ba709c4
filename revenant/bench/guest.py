"""Guests: counters of other kinds: relaxed ones, such of both durabilities as leave memory soon, and the others."""

from __future__ import annotations

from revenant.bench.album import INTERVAL
from revenant.bench.counter import BenchCounter

IDLE_SECONDS = 1.0


class BenchResident(BenchCounter, durability=INTERVAL):
    """A counter that is written every 5 seconds."""


class BenchGuest(BenchCounter, durability=INTERVAL, idle_timeout=IDLE_SECONDS):
    """As above, and out of memory a second after its last message."""


class BenchCopy(BenchCounter, idle_timeout=IDLE_SECONDS):
    """A strict counter, of which a copy is kept as long."""


class BenchOther(BenchCounter):
    """A strict counter that is told apart from those that are called."""
