"""What this process should look at next: hints, merged per entity; in memory, and never the truth.

Invariant: an entity is with one lane of this process at a time, and one that is hinted meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from revenant.queue.records import Hint

Key = tuple[str, str]
SMALLEST_SHARE = 4
"""Entities that are not worth dividing between lanes: a commit each would cost more than it saves."""
BRISK_PORTIONS = 2
"""Portions under way at a time, slow ones not counted."""
SLOW_SECONDS = 0.03
"""A portion that has taken this long is slow: others do not wait for it."""


MANY_BLOCKED = 10_000
"""With more blocked entities than this, those whose time is over are dropped: nobody may ask for them again."""


class Inlet(Protocol):
    """Where hints go in: an agenda, or the switchboard before several."""

    def __len__(self) -> int:
        """How many hints wait."""
        ...

    def add(self, hints: Iterable[Hint], *, backlog: bool = False) -> None:
        """Take hints in."""


@dataclass(eq=False, slots=True)
class Portion:
    """What one lane took: hints that are running since `began` (monotonic seconds)."""

    hints: list[Hint]
    began: float
    alone: bool = False
    """Whether it is one entity that was set apart."""


class Agenda:
    """The hints that wait for a lane, and the lanes that wait for a hint."""

    def __init__(self) -> None:
        self._ready: dict[Key, Hint] = {}
        self._backlog: dict[Key, Hint] = {}
        self._running: dict[Key, Hint | None] = {}
        self._resting: dict[Key, Hint] = {}
        self._apart: set[Key] = set()
        self._blocked: dict[Key, float] = {}
        self._prune_at = MANY_BLOCKED
        self._portions: list[Portion] = []
        self._idle: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready) + len(self._backlog)

    @property
    def running(self) -> int:
        """How many entities are with a lane."""
        return len(self._running)

    def add(self, hints: Iterable[Hint], *, backlog: bool = False) -> None:
        """Take hints in; wake a lane. `backlog`: found by the net, so nobody is known to wait for them right now."""
        for hint in hints:
            key = (hint.kind, hint.key)
            if hint.seq == 0 and self._blocked and self._is_blocked(key):
                continue
            if key in self._running:
                self._running[key] = _merged(self._running[key], hint)
            elif key in self._resting:
                self._resting[key] = _merged(self._resting[key], hint)
            elif backlog and key not in self._ready:
                self._backlog[key] = _merged(self._backlog.get(key), hint)
            else:
                self._ready[key] = _merged(self._ready.get(key) or self._backlog.pop(key, None), hint)
        if len(self):
            self._wake_one()

    def block(self, key: Key, seconds: float) -> None:
        """Let the net pass this entity by for a while: it has messages that cannot be handled here now."""
        now = time.monotonic()
        self._blocked[key] = now + seconds
        if len(self._blocked) > self._prune_at:
            self._blocked = {key: until for key, until in self._blocked.items() if until > now}
            # Where all of them still count, the next look comes after as many again: each costs a walk.
            self._prune_at = max(MANY_BLOCKED, 2 * len(self._blocked))

    def set_apart(self, key: Key) -> None:
        """Have this entity taken alone, the next time that it is taken."""
        self._apart.add(key)

    def postpone(self, hint: Hint, seconds: float) -> None:
        """Look at this entity in a while, and not before, whatever is hinted meanwhile."""
        key = (hint.kind, hint.key)
        self._resting[key] = _merged(self._resting.get(key), hint)
        asyncio.get_running_loop().call_later(seconds, self._rested, key)

    def _rested(self, key: Key) -> None:
        hint = self._resting.pop(key, None)
        if hint is not None:
            self.add([hint])

    def borrow(self, keys: Sequence[Key]) -> bool:
        """Keep these entities from other lanes, until they are returned; not where a lane has one of them."""
        if any(key in self._running for key in keys):
            return False
        for key in keys:
            self._running[key] = _lowest(self._ready.pop(key, None), self._backlog.pop(key, None))
        return True

    def give_back(self, keys: Iterable[Key]) -> None:
        """Return borrowed entities; what was hinted meanwhile is looked at."""
        hinted = [self._running.pop(key, None) for key in keys]
        self.add(hint for hint in hinted if hint is not None)

    def _is_blocked(self, key: Key) -> bool:
        until = self._blocked.get(key)
        if until is not None and until <= time.monotonic():
            del self._blocked[key]
            return False
        return until is not None

    async def take(self, limit: int) -> Portion:
        """Wait for hints, and take a portion of them; they count as running until `finish`.

        Messages that arrive together are handled together, since a commit costs the same for one and for fifty. So
        two portions are under way at a time, one's handlers running while the other is being flushed, and a third
        is begun only beside a slow one, or when there is a whole portion to do.
        """
        while not self._may_begin(limit):
            await self._wait()
        # The first of two takes half: the two then stay in step, each at work while the other waits.
        share = limit if self._portions else max(SMALLEST_SHARE, -(-len(self._ready) // 2))
        portion = Portion([], time.monotonic())
        # Some room is always left to a backlog, so that it moves on under any traffic.
        self._move(self._ready, portion, min(share, limit - limit // 8 if self._backlog else limit))
        if portion.alone:
            return self._begun(portion)
        # A backlog goes along with what is hinted, and gets whole portions where nothing is.
        room = max(SMALLEST_SHARE, len(portion.hints)) if portion.hints else limit
        self._move(self._backlog, portion, min(len(portion.hints) + room, limit))
        return self._begun(portion)

    def _begun(self, portion: Portion) -> Portion:
        self._portions.append(portion)
        if len(self):
            self._wake_one()
        return portion

    def _move(self, hints: dict[Key, Hint], portion: Portion, limit: int) -> None:
        while hints and len(portion.hints) < limit:
            key = next(iter(hints))
            alone = key in self._apart
            if alone and portion.hints:
                return
            portion.hints.append(hints.pop(key))
            self._running[key] = None
            if alone:
                self._apart.discard(key)
                portion.alone = True
                return

    def _may_begin(self, limit: int) -> bool:
        if not len(self):
            return False
        if len(self._portions) < BRISK_PORTIONS or len(self) >= limit:
            return True
        since = time.monotonic() - SLOW_SECONDS
        return sum(portion.began > since for portion in self._portions) < BRISK_PORTIONS

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._idle.append(waiter)
        # Where there is something to do, a running portion may turn out to be slow: look again then.
        timer = loop.call_later(SLOW_SECONDS, self._wake_one) if len(self) else None
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_one()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._idle:
                self._idle.remove(waiter)

    def finish(self, portion: Portion, again: Iterable[Hint] = ()) -> None:
        """Give entities back; those in `again`, and those hinted meanwhile, are looked at once more."""
        self._portions.remove(portion)
        more = list(again)
        for hint in portion.hints:
            meanwhile = self._running.pop((hint.kind, hint.key), None)
            if meanwhile is not None:
                more.append(meanwhile)
        self.add(more)

    def _wake_one(self) -> None:
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _lowest(*hints: Hint | None) -> Hint | None:
    return min((hint for hint in hints if hint is not None), default=None, key=lambda hint: hint.seq)


def _merged(known: Hint | None, hint: Hint) -> Hint:
    """Keep the lower number; 0, 'all of the mailbox', is the lowest."""
    return hint if known is None or hint.seq < known.seq else known
