"""Signals: what was sent to a run, signals and updates, and nobody has taken yet; the oldest of a name comes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from revenant.workflows.seen import Signal

MOST_IDS = 1_000
"""Of the ids that signals and updates came with, so many are known to a run that goes on afresh: the latest ones."""


def latest(ids: Iterable[str]) -> list[str]:
    """Return those that go along with a run, in their order."""
    return list(ids)[-MOST_IDS:]


@dataclass(slots=True)
class Signals:
    """Signals by name."""

    waiting: dict[str, deque[Signal]] = field(default_factory=dict)

    def add(self, signal: Signal) -> None:
        """Keep one, behind those of its name."""
        self.waiting.setdefault(signal.name, deque()).append(signal)

    def named(self, name: str, *, updates: bool) -> list[Signal]:
        """Return those of a name, either the updates or the plain ones."""
        return [one for one in self.waiting.get(name, ()) if (one.update is not None) == updates]

    def drop(self, name: str, seq: int) -> Signal | None:
        """Take the one of that event out, and return it; None: it is not here any more."""
        waiting = self.waiting.get(name, deque())
        found = next((one for one in waiting if one.seq == seq), None)
        if found is not None:
            waiting.remove(found)
            if not waiting:
                del self.waiting[name]
        return found

    def recorded(self) -> list[Any]:
        """Return these as what JSON holds, for a run that goes on afresh."""
        return [[one.name, one.payload, one.update] for named in self.waiting.values() for one in named]

    @classmethod
    def of(cls, recorded: Iterable[Any]) -> Signals:
        """Return what `recorded` made; they have no events in this history, so they are numbered from -1 down."""
        made = cls()
        for place, (name, payload, update) in enumerate(recorded, 1):
            made.add(Signal(-place, name, payload, update))
        return made
