"""Memory: the residents of one residence, and when each is to be flushed or, idle, sent away."""

from __future__ import annotations

import time
from collections.abc import Iterator

from revenant.entities.durability import Interval
from revenant.worker.agenda import Key
from revenant.worker.residents.resident import Resident
from revenant.worker.timing.deadlines import Deadlines

STEPS = 10
"""An interval ends on one of so many moments, up to a step early: those that end together are flushed together."""


class Memory:
    """Residents by kind and key."""

    def __init__(self) -> None:
        self._residents: dict[Key, Resident] = {}
        self._flushes: Deadlines[Key] = Deadlines()
        self._idle: Deadlines[Key] = Deadlines()

    def __len__(self) -> int:
        return len(self._residents)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def find(self, key: Key) -> Resident | None:
        """Return the resident of that name, if it is here."""
        return self._residents.get(key)

    def add(self, resident: Resident) -> None:
        """Take a resident in, in place of the one of that name."""
        self._residents[resident.key] = resident
        self._flushes.remove(resident.key)
        seconds = resident.definition.entity_idle_seconds
        if seconds is not None:
            self._idle.set(resident.key, resident.used_at + seconds)

    def remove(self, resident: Resident) -> None:
        """Forget a resident, if it is here."""
        if self._residents.get(resident.key) is resident:
            del self._residents[resident.key]
            self._flushes.remove(resident.key)
            self._idle.remove(resident.key)

    def plan(self, resident: Resident) -> None:
        """See to it that a resident is flushed when its durability says so."""
        durability, key = resident.definition.entity_durability, resident.key
        if resident.urgent or resident.leaving:
            self._flushes.set(key, time.monotonic())
        elif isinstance(durability, Interval) and key not in self._flushes and not resident.clean:
            self._flushes.set(key, _together(time.monotonic() + durability.seconds, durability.seconds / STEPS))

    def put_off(self, resident: Resident, seconds: float) -> None:
        """Have a resident flushed after so many seconds."""
        self._flushes.set(resident.key, time.monotonic() + seconds)

    def next(self) -> float | None:
        """Return when (monotonic seconds) there is something to flush or to send away."""
        moments = [moment for moment in (self._flushes.next(), self._idle.next()) if moment is not None]
        return min(moments, default=None)

    def take_due(self, limit: int) -> list[Resident]:
        """Return residents that are to be flushed now; those that have been idle for long enough leave with it."""
        due = {key: self._residents[key] for key in self._flushes.take_due(limit)}
        for key in self._idle.take_due(limit - len(due)):
            resident = self._residents[key]
            seconds = resident.definition.entity_idle_seconds
            if seconds is None:
                continue
            until = resident.used_at + seconds
            if until <= time.monotonic():
                resident.leaving = True
                due[key] = resident
                self._flushes.remove(key)
            else:
                self._idle.set(key, until)
        return list(due.values())


def _together(moment: float, step: float) -> float:
    return moment // step * step
