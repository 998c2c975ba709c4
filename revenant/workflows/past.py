"""Past: what is known of a history before it is taken in, so that what is recorded decides what the code gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from revenant.workflows import events as e
from revenant.workflows.events import ASKS, Event

_TAKEN = (e.SIGNAL_TAKEN, e.UPDATE_TAKEN)


class Past(NamedTuple):
    """What is known of a history before it is taken in."""

    asked: frozenset[int]
    """Operations that are recorded."""
    taken: dict[int, int]
    """Operations that took a signal which was there, and which."""
    refused: frozenset[int]
    """Signals that were there and were refused."""
    patches: frozenset[str]
    last: int
    """The last event that anything can follow from."""

    @classmethod
    def of(cls, history: Sequence[Event], *, ended: bool = False) -> Past:
        """Read it out of the events; `ended`: what came of the code's end followed them, and is known."""
        asked = frozenset(event.op for event in history if event.type in ASKS and event.op is not None)
        taken = {event.op: event.data["signal"] for event in history if event.type in _TAKEN and event.op}
        refused = frozenset(event.data["signal"] for event in history if _refuses(event))
        patches = frozenset(event.data["name"] for event in history if event.type == e.PATCH_RECORDED)
        last = max((event.seq for event in history if ended or event.op is not None), default=0) + ended
        return cls(asked, taken, refused, patches, last)

    def goes_on_after(self, seq: int) -> bool:
        """Whether the history tells more of the code's operations than what was taken in so far."""
        return seq < self.last


def _refuses(event: Event) -> bool:
    return event.type in (e.SIGNAL_REFUSED, e.UPDATE_REFUSED) and "signal" in event.data
