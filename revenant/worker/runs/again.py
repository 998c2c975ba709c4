"""Again: a signal or an update that comes after its run's end, and may be one that counted before, by its id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from revenant.queue.records import Delivery, Reply, Settlement
from revenant.workflows.events import Event
from revenant.workflows.late import answer_of
from revenant.workflows.view import View


@dataclass(slots=True, kw_only=True)
class Again(Settlement):
    """What is said to it unless the run's events say that it counted."""

    bucket: int
    stream: str
    """The run's history."""
    seq: int
    """How many events that has."""
    delivery: Delivery
    args: dict[str, Any]
    ttl: float
    """Seconds for which the reply is kept."""

    def hear(self, history: Iterable[Event]) -> None:
        """Look for it among these events, and if it counted, say what was said then."""
        view = View()
        for event in history:
            view.take(event)
        known = answer_of(view, self.delivery.handler, self.args)
        if known is None or self.delivery.origin is None:
            return
        status, body = known
        reply = Reply(self.delivery.id, status, self.seq, to_json(body).decode())
        self.replies, self.wakes = [(reply, self.ttl)], {self.delivery.origin: [reply]}
