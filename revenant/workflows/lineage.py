"""Lineage: the runs whose histories a forked run's began as, and how far in its own each of them goes.

Invariant: along what another run has recorded, code gets the chance that it had there, so that it asks for the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Ancestor(NamedTuple):
    """A run whose history stands at the beginning of another one's."""

    id: str
    run: str
    """The id of its stream."""
    events: int
    """The last event that is, or goes back to, its own."""


class Lineage(NamedTuple):
    """The oldest comes first; none: the run was not forked."""

    ancestors: tuple[Ancestor, ...] = ()

    def stream_at(self, seq: int, own: str) -> str:
        """Return whose chance it is by which code goes on from that event: up to the last one it is known what came."""
        return next((one.run for one in self.ancestors if seq < one.events), own)

    def is_same(self, seq: int, recorded: tuple[str, str], asked: tuple[str, str], own: str) -> bool:
        """Whether what that event records, by type and name, is what the code asks for, but for the run's id then."""
        found = next((one for one in self.ancestors if seq <= one.events), None)
        if found is None or recorded[0] != asked[0]:
            return False
        either = f"(?:{re.escape(found.id)}|{re.escape(own)})"
        return re.fullmatch(either.join(map(re.escape, recorded[1].split(found.id))), asked[1]) is not None


def lineage_of(forked_from: Mapping[str, Any] | None) -> Lineage:
    """Return the lineage that a run's first event tells of."""
    found: list[Ancestor] = []
    while forked_from is not None:
        id, run, events = (forked_from.get(name) for name in Ancestor._fields)
        if isinstance(id, str) and isinstance(run, str) and isinstance(events, int):
            found.append(Ancestor(id, run, events))
        forked_from = forked_from.get("before")
    return Lineage(tuple(reversed(found)))


def forked(origin: Mapping[str, Any], before: Mapping[str, Any] | None, numbers: Mapping[int, int]) -> dict[str, Any]:
    """Return what a fork's first event tells of it: `numbers` are those of the kept events, the old by the new ones."""
    told: dict[str, Any] = {**origin, "events": len(numbers)}
    if before is not None:
        told["before"] = _renumbered(before, numbers)
    return told


def _renumbered(told: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    made = dict(told)
    if isinstance(told.get("events"), int):
        made["events"] = sum(old <= told["events"] for old in numbers)
    if told.get("before") is not None:
        made["before"] = _renumbered(told["before"], numbers)
    return made
