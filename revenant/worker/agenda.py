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
COMPANY = 8
"""Fewer entities than one in so many of those under way wait for more: a commit costs nearly the same for one."""
COMEBACK_SECONDS = 0.003
"""How long a portion counts as under way once it is done: its callers are about to call again."""
SLOW_SECONDS = 0.03
"""A portion that has taken this long is slow: others do not wait for it."""
LIVE_SECONDS = 1.0
"""For this long after a hint that somebody may wait for, a backlog gets small portions, one at a time."""
SMALL_PORTION = 40
"""Entities of a backlog that are taken at a time beside live messages: few enough to be done in milliseconds."""
STUCK_SECONDS = 0.25
"""A small portion that has taken this long does not hold up the next one."""
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
    live: int = 0
    """How many of them, the first ones, are not from the backlog."""
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
        self._named: set[Key] = set()
        """Running entities that were hinted meanwhile by more than the net."""
        self._live_until = 0.0
        self._blocked: dict[Key, float] = {}
        self._prune_at = MANY_BLOCKED
        self._portions: list[Portion] = []
        self._answered, self._answered_at = 0, 0.0
        """Live hints of the portion that was done last, and when that was."""
        self._idle: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready) + len(self._backlog)

    @property
    def running(self) -> int:
        """How many entities are with a lane."""
        return len(self._running)

    def add(self, hints: Iterable[Hint], *, backlog: bool = False) -> None:
        """Take hints in; wake a lane. `backlog`: nobody is known to wait for them right now."""
        if self._put(hints, backlog=backlog) and not backlog:
            self._live_until = time.monotonic() + LIVE_SECONDS

    def _put(self, hints: Iterable[Hint], *, backlog: bool) -> bool:
        """Take hints in and wake a lane; return whether there were any."""
        hint = None
        for hint in hints:
            key = (hint.kind, hint.key)
            # Only what comes from the net: once taken in, its 0 may stand for a message that was named, too.
            if backlog and hint.seq == 0 and self._blocked and self._is_blocked(key):
                continue
            if key in self._running:
                self._running[key] = _merged(self._running[key], hint)
                if not backlog:
                    self._named.add(key)
            elif key in self._resting:
                self._resting[key] = _merged(self._resting[key], hint)
            elif backlog and key not in self._ready:
                self._backlog[key] = _merged(self._backlog.get(key), hint)
            else:
                self._ready[key] = _merged(self._ready.get(key) or self._backlog.pop(key, None), hint)
        if len(self):
            self._wake_one()
        return hint is not None

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
            self._put([hint], backlog=False)

    def borrow(self, keys: Sequence[Key]) -> bool:
        """Keep these entities from other lanes, until they are returned; not where a lane has one of them."""
        if any(key in self._running for key in keys):
            return False
        for key in keys:
            self._running[key] = _lowest(self._ready.pop(key, None), self._backlog.pop(key, None))
        return True

    def give_back(self, keys: Iterable[Key]) -> None:
        """Return borrowed entities; what was hinted meanwhile is looked at."""
        for key in keys:
            hint = self._running.pop(key, None)
            named = key in self._named
            self._named.discard(key)
            self._put([hint] if hint is not None else (), backlog=not named)

    def _is_blocked(self, key: Key) -> bool:
        until = self._blocked.get(key)
        if until is not None and until <= time.monotonic():
            del self._blocked[key]
            return False
        return until is not None

    async def take(self, limit: int) -> Portion:
        """Wait for hints, and take a portion of them; they count as running until `finish`.

        Messages that arrive together are handled together, since a commit costs the same for one and for fifty. So
        two portions of about a size are under way at a time, one's handlers running while the other is being flushed,
        and a third is begun only beside a slow one, or when there is a whole portion to do. The few that are left
        beside many, such as entities that were called twice, go with the next ones that come. A backlog gets whole
        portions on all lanes; where somebody waits, or did a moment ago, it gets small ones, one at a time.
        """
        while not self._may_begin(limit):
            await self._wait()
        portion = Portion([], time.monotonic())
        if self._is_live and not self._may_begin_live(limit):
            self._move(self._backlog, portion, min(SMALL_PORTION, limit))
            return self._begun(portion)
        # Some room is always left to a backlog, so that it moves on under any traffic.
        self._move(self._ready, portion, min(self._share(), limit - limit // 8 if self._backlog else limit))
        portion.live = len(portion.hints)
        if portion.alone:
            return self._begun(portion)
        # A backlog goes along with what is hinted, and gets whole portions where nothing is.
        room = max(SMALLEST_SHARE, len(portion.hints)) if portion.hints else limit
        self._move(self._backlog, portion, min(len(portion.hints) + room, limit))
        return self._begun(portion)

    def _share(self) -> int:
        """Half of what is live: two portions then stay in step, each at work while the other waits."""
        ready = len(self._ready)
        share = max(SMALLEST_SHARE, -(-(ready + sum(portion.live for portion in self._portions)) // 2))
        return ready if (ready - share) * COMPANY < share else share

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

    @property
    def _is_live(self) -> bool:
        return bool(self._ready) or time.monotonic() < self._live_until

    def _may_begin(self, limit: int) -> bool:
        if not len(self):
            return False
        if self._is_live:
            return self._may_begin_live(limit) or self._may_begin_small()
        return len(self) >= limit or len(self._brisk(self._portions, SLOW_SECONDS)) < BRISK_PORTIONS

    def _may_begin_live(self, limit: int) -> bool:
        if not self._ready:
            return False
        if len(self._ready) >= limit:
            return True
        brisk = self._brisk([portion for portion in self._portions if portion.live], SLOW_SECONDS)
        if len(brisk) >= BRISK_PORTIONS:
            return False
        others = [portion.live for portion in brisk]
        if self._expects_callers:
            others.append(self._answered)
        return len(self._ready) * COMPANY >= max(others, default=0)

    @property
    def _expects_callers(self) -> bool:
        return time.monotonic() - self._answered_at < COMEBACK_SECONDS

    def _may_begin_small(self) -> bool:
        others = [portion for portion in self._portions if not portion.live]
        return bool(self._backlog) and not self._brisk(others, STUCK_SECONDS)

    @staticmethod
    def _brisk(portions: Sequence[Portion], seconds: float) -> list[Portion]:
        since = time.monotonic() - seconds
        return [portion for portion in portions if portion.began > since]

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._idle.append(waiter)
        # Where there is something to do, what is waited for may turn out to be slow, or not to come: look again then.
        pause = COMEBACK_SECONDS if self._expects_callers else SLOW_SECONDS
        timer = loop.call_later(pause, self._wake_one) if len(self) else None
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
        self._answered, self._answered_at = portion.live, time.monotonic()
        more = list(again)
        for hint in portion.hints:
            meanwhile = self._running.pop((hint.kind, hint.key), None)
            if meanwhile is not None:
                more.append(meanwhile)
        # What is left of a backlog is still one, unless it was named meanwhile.
        waiting = {(hint.kind, hint.key) for hint in portion.hints[portion.live :]} - self._named if more else set()
        self._named.difference_update((hint.kind, hint.key) for hint in portion.hints)
        self._put((hint for hint in more if (hint.kind, hint.key) in waiting), backlog=True)
        self._put((hint for hint in more if (hint.kind, hint.key) not in waiting), backlog=False)

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
