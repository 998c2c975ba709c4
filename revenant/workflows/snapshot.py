"""Snapshot: a decider's run where nothing is outstanding, so that a long stream is not read from its beginning.

Invariant: events decide; a snapshot of another shape than today's code would write is as good as none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from revenant.workflows.decisions import DecisionView, Outcome
from revenant.workflows.events import Event
from revenant.workflows.pending import Updates
from revenant.workflows.signals import Signals
from revenant.workflows.view import OperationView, Signal, View

REVISION = 1
"""Counts up when the same shape comes to mean something else."""
LEAST_EVENTS = 500
"""Events between two snapshots, at least."""
SHARE = 4
"""And a quarter of all events: what is written grows with the stream, and not with its square."""


@dataclass(slots=True)
class Snapshot:
    """A run at a decision: what its events came to, and how many operations it has asked for."""

    view: View
    outcomes: list[Outcome]
    signals: list[Signal]
    count: int

    def restore(self, decisions: DecisionView[Any]) -> None:
        """Have the decider's view stand where it stood."""
        for outcome in self.outcomes:
            decisions.add(outcome)
        decisions.decided()
        decisions.signals += self.signals
        decisions.now, decisions.seq = self.view.now, self.view.seq

    def write(self) -> str:
        """Return it as JSON."""
        return _ADAPTER.dump_json(self).decode()


def shape_of(*types: type) -> str:
    """Return what becomes another text when one of these gets, loses or renames a field, or changes its type."""
    fields = [[one.__name__, {name: str(said) for name, said in one.__annotations__.items()}] for one in types]
    return hashlib.sha256(to_json([REVISION, fields])).hexdigest()[:16]


_ADAPTER = TypeAdapter(Snapshot)
FORMAT = shape_of(Snapshot, View, OperationView, Event, Signal, Signals, Updates, Outcome)
"""The shape of what is written: another one is not read."""


def read_snapshot(text: str) -> Snapshot:
    """Return what was written in the same format."""
    return _ADAPTER.validate_json(text)


def is_due(seq: int, last: int) -> bool:
    """Whether enough has happened since the last snapshot."""
    return seq - last >= max(LEAST_EVENTS, seq // SHARE)
