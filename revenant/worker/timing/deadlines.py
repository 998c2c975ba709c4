"""Deadlines: when something is to be looked at next, for many things at once; a thing has one deadline at a time."""

from __future__ import annotations

import heapq
import time
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Moments (monotonic seconds) by key, the earliest first."""

    def __init__(self) -> None:
        self._moments: dict[K, float] = {}
        # What was moved or removed stays in the heap until it comes up, and is then passed over.
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __contains__(self, key: K) -> bool:
        return key in self._moments

    def set(self, key: K, moment: float) -> None:
        """Give a key its deadline, in place of the one it had."""
        if self._moments.get(key) != moment:
            self._moments[key] = moment
            self._count += 1
            heapq.heappush(self._heap, (moment, self._count, key))

    def remove(self, key: K) -> None:
        """Take a key's deadline away, if it has one."""
        self._moments.pop(key, None)

    def next(self) -> float | None:
        """Return the earliest deadline, if any."""
        while self._heap and self._moments.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, limit: int) -> list[K]:
        """Return keys whose deadline has passed, the earliest first, and forget their deadlines."""
        now = time.monotonic()
        due: list[K] = []
        while len(due) < limit and (moment := self.next()) is not None and moment <= now:
            key = heapq.heappop(self._heap)[2]
            del self._moments[key]
            due.append(key)
        return due
