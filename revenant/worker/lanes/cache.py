"""Cache: strict entities as their last turns left them, so that a stored state is not read and parsed again.

Invariant: a turn uses what is here only if the row it has locked is the one that was written from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from revenant.entities.entity import Entity
from revenant.entities.instance import Instance
from revenant.queue.records import Claimed, Hint, Mark
from revenant.worker.agenda import Key
from revenant.worker.timing.deadlines import Deadlines

ENTRY_BYTES = 2048
"""What an entity takes besides its state, roughly: the object, its text and their entry."""
_UNKNOWN = Mark(None, None)
_LOW = 0xFFFF_FFFF


class Entry(NamedTuple):
    """One entity, and the row that it is."""

    instance: Instance
    mark: Mark
    size: int
    used_at: float


class Cache:
    """Entities by kind and key, the longest unused first; at most so many bytes, counted by the states' JSON."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._entries: dict[Key, Entry] = {}
        self._idle: Deadlines[Key] = Deadlines()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, hints: Sequence[Hint]) -> Warm:
        """Return what is known of these entities, for one turn; until that has ended nobody else has it."""
        return Warm(self, {(hint.kind, hint.key): self._pop((hint.kind, hint.key)) for hint in hints})

    def put(self, key: Key, entry: Entry) -> None:
        """Keep an entity, and let go of the longest unused where there is no room."""
        self._pop(key)
        if entry.size > self._limit:
            return
        self._entries[key] = entry
        self.size += entry.size
        while self.size > self._limit:
            self._pop(next(iter(self._entries)))
        seconds = entry.instance.definition.entity_idle_seconds
        if seconds is not None and key not in self._idle:
            self._idle.set(key, entry.used_at + seconds)
            self._plan()

    def _pop(self, key: Key) -> Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= entry.size
        return entry

    def _plan(self) -> None:
        moment = self._idle.next()
        if moment is None or (self._timer is not None and self._timer_at <= moment):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment
        # Those that end within a second go together.
        self._timer = asyncio.get_running_loop().call_later(max(0.0, moment - time.monotonic()) + 1, self.let_go)

    def let_go(self) -> None:
        """Forget what has been idle for long enough."""
        self._timer = None
        for key in self._idle.take_due(len(self._entries) + 1_000):
            entry = self._entries.get(key)
            seconds = entry.instance.definition.entity_idle_seconds if entry is not None else None
            if entry is None or seconds is None:
                continue
            if entry.used_at + seconds <= time.monotonic():
                self._pop(key)
            else:
                self._idle.set(key, entry.used_at + seconds)
        self._plan()

    def clear(self) -> None:
        """Forget everything; safe twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._entries.clear()
        self._idle = Deadlines()
        self.size = 0


class Warm:
    """What one turn took from the cache, and what it gives back."""

    def __init__(self, cache: Cache, entries: dict[Key, Entry | None]) -> None:
        self._cache = cache
        self._entries = entries
        self._used: dict[Key, Instance] = {}

    @property
    def marks(self) -> list[Mark]:
        """The states that need not be read again, in the order of the hints."""
        return [_UNKNOWN if entry is None else entry.mark for entry in self._entries.values()]

    def instance(self, definition: type[Entity], claimed: Claimed, *, limit: int, prove: bool) -> Instance:
        """Return the entity that was claimed, as it is in memory where its state is known."""
        key = (claimed.kind, claimed.key)
        entry = self._entries.pop(key, None)
        if entry is not None and claimed.known:
            instance = entry.instance
            instance.claimed, instance.recorded, instance.resident = claimed, claimed.version, True
        else:
            instance = Instance(definition, claimed, limit, prove=prove)
        self._used[key] = instance
        return instance

    def forget(self, claimed: Claimed) -> None:
        """It is to leave memory, or nobody knows what its object is."""
        self._used.pop((claimed.kind, claimed.key), None)

    def keep(self, xid: str) -> None:
        """The turn was committed by this transaction: what it used is what is stored."""
        now = time.monotonic()
        for key, instance in self._used.items():
            # After a failed handler there is no object, and a deleted entity is none.
            if instance.entity is None or instance.text is None or not instance.version or instance.ended:
                continue
            claimed, instance.claimed = instance.claimed, instance.claimed.bare()
            writer = int(xid) & _LOW if instance.changed else claimed.writer
            size = len(instance.text) + ENTRY_BYTES
            self._cache.put(key, Entry(instance, Mark(instance.version, writer), size, now))
        self.leave()

    def leave(self) -> None:
        """Give back what was not claimed: it is as it was."""
        for key, entry in self._entries.items():
            if entry is not None:
                self._cache.put(key, entry)
        self._entries = {}
        self._used = {}
