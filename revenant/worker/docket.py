"""Docket: the hints that wait for one residence; in memory, merged per entity, and never the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from revenant.queue.records import Hint
from revenant.worker.agenda import Key

LARGEST = 10_000
"""With more entities to pass by than this, those whose time is over are dropped."""


class Docket:
    """Hints for one reader, which is woken by the first.

    `is_due` says whether the net, which names no message, is to have an entity looked at now. It is asked before the
    hint goes in: merged with one that names a message, it could not be told from it any more.
    """

    def __init__(self, is_due: Callable[[Key], bool]) -> None:
        self._is_due = is_due
        self._hints: dict[Key, Hint] = {}
        self._passed_by: dict[Key, float] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._hints)

    def add(self, hints: Iterable[Hint]) -> None:
        """Take hints in. Those of the net, which name no message, pass by what is to be passed by."""
        for hint in hints:
            key = (hint.kind, hint.key)
            if hint.seq == 0 and (self.passes_by(key) or not self._is_due(key)):
                continue
            known = self._hints.get(key)
            # The lower number is kept; 0, all of the mailbox, is the lowest.
            self._hints[key] = hint if known is None or hint.seq < known.seq else known
        if self._hints:
            self._wake.set()

    def pass_by(self, key: Key, seconds: float) -> None:
        """Let the net pass this entity by for a while: nothing can be done here about its messages now."""
        now = time.monotonic()
        if len(self._passed_by) > LARGEST:
            self._passed_by = {known: until for known, until in self._passed_by.items() if until > now}
        self._passed_by[key] = now + seconds

    def welcome(self, key: Key) -> None:
        """Pass this entity by no longer: whoever kept it has let it go."""
        self._passed_by.pop(key, None)

    def passes_by(self, key: Key) -> bool:
        """Whether this entity is passed by now."""
        until = self._passed_by.get(key)
        if until is not None and until <= time.monotonic():
            del self._passed_by[key]
            return False
        return until is not None

    def take(self, limit: int) -> list[Hint]:
        """Return hints, the oldest first, and forget them."""
        keys = list(self._hints)[:limit] if len(self._hints) > limit else list(self._hints)
        return [self._hints.pop(key) for key in keys]

    def wake(self) -> None:
        """Have the reader look now."""
        self._wake.set()

    async def wait(self, until: float | None) -> None:
        """Wait for a hint, at most until a moment (monotonic seconds)."""
        if self._hints:
            self._wake.clear()
            return
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass  # the moment has come
        self._wake.clear()
