"""What this process should look at next: hints, merged per entity; in memory, and never the truth.

Invariant: an entity is with one lane of this process at a time, and one that is hinted meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence

from revenant.queue.records import Hint

Key = tuple[str, str]
SMALLEST_SHARE = 4
"""Entities that are not worth dividing between lanes: a commit each would cost more than it saves."""


class Agenda:
    """The hints that wait for a lane, and the lanes that wait for a hint."""

    def __init__(self) -> None:
        self._ready: dict[Key, Hint] = {}
        self._running: dict[Key, Hint | None] = {}
        self._blocked: dict[Key, float] = {}
        self._idle: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def running(self) -> int:
        """How many entities are with a lane."""
        return len(self._running)

    def add(self, hints: Iterable[Hint]) -> None:
        """Take hints in; wake a lane."""
        for hint in hints:
            key = (hint.kind, hint.key)
            if hint.seq == 0 and self._blocked and self._is_blocked(key):
                continue
            if key in self._running:
                self._running[key] = _merged(self._running[key], hint)
            else:
                self._ready[key] = _merged(self._ready.get(key), hint)
        if self._ready:
            self._wake_one()

    def block(self, key: Key, seconds: float) -> None:
        """Let the net pass this entity by for a while: it has messages that cannot be handled here now."""
        self._blocked[key] = time.monotonic() + seconds

    def _is_blocked(self, key: Key) -> bool:
        until = self._blocked.get(key)
        if until is not None and until <= time.monotonic():
            del self._blocked[key]
            return False
        return until is not None

    async def take(self, limit: int, *, lanes: int) -> list[Hint]:
        """Wait for hints, and take this lane's share of them; they count as running until `finish`.

        Lanes share what is there, so that one's handlers run while another's commit is flushed.
        """
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()
                raise
            finally:
                if waiter in self._idle:
                    self._idle.remove(waiter)
        share = min(limit, max(SMALLEST_SHARE, -(-len(self._ready) // lanes)))
        taken: list[Hint] = []
        while self._ready and len(taken) < share:
            key = next(iter(self._ready))
            taken.append(self._ready.pop(key))
            self._running[key] = None
        if self._ready:
            self._wake_one()
        return taken

    def finish(self, hints: Sequence[Hint], again: Iterable[Hint] = ()) -> None:
        """Give entities back; those in `again`, and those hinted meanwhile, are looked at once more."""
        more = list(again)
        for hint in hints:
            meanwhile = self._running.pop((hint.kind, hint.key), None)
            if meanwhile is not None:
                more.append(meanwhile)
        if more:
            self.add(more)

    def _wake_one(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _merged(known: Hint | None, hint: Hint) -> Hint:
    """Keep the lower number; 0, 'all of the mailbox', is the lowest."""
    return hint if known is None or hint.seq < known.seq else known
