"""Answers: replies that were given before their commit, until their callers say that they heard them.

Invariant: one that nobody has heard is given again, a few times; after the flush its row is there to be found.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from revenant.queue.records import Reply
from revenant.worker.residents.resident import Resident

AGAIN_SECONDS = 1.0
"""After how long without a word an answer is given again."""
MOST_TRIES = 5

Given = tuple[Resident, Reply, str]
"""Whose answer it is, the reply, and the channel on which its caller waits."""


class Answers:
    """The answers of one residence that wait to be heard, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Resident] = {}

    def expect(self, given: Iterable[Given]) -> None:
        """Wait for a word on these."""
        for resident, reply, _ in given:
            self._waiting[reply.id] = resident

    def heard(self, ids: Iterable[str]) -> None:
        """Their callers have these: they need no row."""
        for name in ids:
            resident = self._waiting.pop(name, None)
            if resident is not None:
                resident.unheard.pop(name, None)

    def forget(self, resident: Resident) -> None:
        """Its answers are in the database now, or void."""
        for name in resident.unheard:
            self._waiting.pop(name, None)

    def next(self) -> float | None:
        """Return when (monotonic seconds) one is to be given again."""
        for name, resident in self._waiting.items():
            found = resident.unheard.get(name)
            return 0.0 if found is None else found.at + AGAIN_SECONDS
        return None

    def take_overdue(self) -> list[Given]:
        """Return the answers to be given again now."""
        now = time.monotonic()
        overdue: list[Given] = []
        for name, resident in list(self._waiting.items()):
            found = resident.unheard.get(name)
            if found is not None and found.at + AGAIN_SECONDS > now:
                break
            del self._waiting[name]
            if found is not None and found.tries < MOST_TRIES:
                found.tries, found.at = found.tries + 1, now
                self._waiting[name] = resident
                overdue.append((resident, found.reply, found.channel))
        return overdue
