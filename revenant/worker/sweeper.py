"""Sweeper: the net. Walks over all entities that have waiting messages, so that no lost wake-up strands one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from revenant.queue.claim import waiting
from revenant.queue.link import Link
from revenant.queue.records import Hint
from revenant.worker.agenda import Inlet
from revenant.worker.loop import Loop

IDLE_SECONDS = 1.0
"""How often the net is cast when wake-ups do all the work."""
BUSY_SECONDS = 0.01
PAGE = 512
LOW_WATER = 256
"""With fewer hints than this on the agenda, a backlog's next page is fetched."""
SHARE = 20
"""A round is followed by this many times its own duration: under a held snapshot, dead rows make it slow."""
LONGEST_REST = 5.0
"""Seconds between rounds at most: a long backlog makes a long round, and the next one finds what a lost worker had."""


class Sweeper(Loop):
    """Feeds the agenda from the mailboxes themselves, from a moving cursor: every entity gets its turn."""

    name = "sweeper"

    def __init__(
        self,
        *,
        desk: Link,
        agenda: Inlet,
        kinds: Sequence[str],
        leaves: Callable[[Hint], bool] = lambda hint: False,
        watch: Callable[[list[Hint]], None] = lambda hints: None,
    ) -> None:
        super().__init__(desk=desk)
        self._leaves = leaves
        self._watch = watch
        self._agenda = agenda
        self._kinds = list(kinds)
        # Workers start at different places, so they do not queue for the same entities.
        self._cursor = Hint(random.randrange(-1, 255), "", "", 0)  # noqa: S311 # spreading, not a secret
        self._whole = False
        """Whether this round began at the beginning."""
        self._took = 0.0
        """Seconds that this round's pages have taken so far."""

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Fetch one page, unless the agenda has enough; return how long to rest."""
        if len(self._agenda) >= LOW_WATER:
            return BUSY_SECONDS
        began = time.monotonic()
        found = await waiting(connection, known=self._kinds, after=self._cursor, page=PAGE)
        self._took += time.monotonic() - began
        ours: list[Hint] = []
        others: list[Hint] = []
        for hint in found:
            (others if self._leaves(hint) else ours).append(hint)
        self._watch(others)
        self._agenda.add(ours, backlog=True)
        if len(found) == PAGE:
            self._cursor = found[-1]
            return 0.0
        # The end was reached. From a start in the middle, the beginning has not been seen yet: go on there.
        whole, took = self._whole, self._took
        self._cursor, self._whole, self._took = _START, True, 0.0
        return max(IDLE_SECONDS * random.uniform(0.8, 1.2), min(took * SHARE, LONGEST_REST)) if whole else 0.0  # noqa: S311 # jitter


_START = Hint(-1, "", "", 0)
