"""Expiry: walks over the entities of kinds that expire, and tells those that nobody has sent to for long to end.

An index over when each was last sent to would be written with every message; a walk reads a page now and then.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.mailbox import cast_wakes, notify
from revenant.queue.timetable import expire
from revenant.worker.fleet import Fleet
from revenant.worker.loop import Loop

PAGE = 1000
"""Entities that are looked at in one round."""
SHARE = 20
"""A round is followed by this many times its own duration; a walk by this part of the time after which entities end."""
SHORTEST_REST, LONGEST_REST = 0.2, 600.0
"""Seconds between two walks at least and at most."""
BUCKETS = 256


class Expiry(Loop):
    """Walks over its share of the buckets: those for which this worker goes first."""

    name = "expiry"

    def __init__(self, *, desk: Link, fleet: Fleet, idle: Mapping[str, timedelta]) -> None:
        super().__init__(desk=desk)
        self._fleet = fleet
        self._idle = {kind: length.total_seconds() for kind, length in idle.items()}
        self._left = list(self._idle)
        self._place = (0, "")

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Look at one page of one kind; return how long to rest."""
        if not self._left:
            self._left = list(self._idle)
        kind, began = self._left[0], time.monotonic()
        mine = [bucket for bucket in range(BUCKETS) if self._fleet.goes_first(kind, bucket)]
        hints, place = await expire(
            connection, kind=kind, idle=self._idle[kind], buckets=mine, after=self._place, page=PAGE
        )
        if hints:
            await notify(connection, cast_wakes(hints))
        rest = (time.monotonic() - began) * SHARE
        if place is None:
            del self._left[0]
        self._place = place or (0, "")
        if not self._left:
            rest = max(rest, min(max(min(self._idle.values()) / SHARE, SHORTEST_REST), LONGEST_REST))
        return rest * random.uniform(0.9, 1.1)  # noqa: S311 # jitter, not a secret
