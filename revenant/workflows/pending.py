"""Updates: those that a run has received, who waits for the answer of each, and what was answered.

Invariant: an update is answered once, and whoever sent it again under the same id gets that answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from revenant.workflows.signals import MOST_IDS

Details = Mapping[str, Any]
MOST_BYTES = 2**20
"""Of the answers that go along with a run that goes on afresh, as JSON and all together."""
_NOT_KEPT = {
    "error": "ReplyNotKept",
    "type": "ReplyNotKept",
    "message": "The update was answered before, and nothing was done again. Its answer was too large to be kept when "
    "the run went on afresh; look at what the run shows, or at its earlier histories.",
}


@dataclass(slots=True)
class Updates:
    """What the events say of a run's updates; each is known by the id of its message."""

    waiting: dict[str, str | None] = field(default_factory=dict)
    """Messages whose senders wait, and the channels on which they do."""
    joined: dict[str, str] = field(default_factory=dict)
    """Messages that sent an update again, and the one that was there first."""
    ids: dict[str, str] = field(default_factory=dict)
    """By the id that the sender gave."""
    answers: dict[str, Details | None] = field(default_factory=dict)
    """What those with such an id were answered; None: nothing yet."""

    def receive(self, data: Details) -> None:
        """An update has come."""
        self.waiting[data["message"]] = data.get("origin")
        if data.get("id") is not None:
            self.ids[data["id"]] = data["message"]
            self.answers[data["message"]] = None

    def join(self, data: Details) -> None:
        """The same update has come again, before it was answered."""
        self.waiting[data["message"]] = data.get("origin")
        self.joined[data["message"]] = data["update"]

    def settle(self, data: Details) -> None:
        """An update was answered, or refused."""
        message = data["message"]
        for sender, _ in self.senders(message):
            self.waiting.pop(sender, None)
            self.joined.pop(sender, None)
        if message in self.answers:
            self.answers[message] = {name: data[name] for name in ("status", "result", "error") if name in data}

    def senders(self, message: str) -> list[tuple[str, str | None]]:
        """Return those that wait for this update's answer: the messages, and the channels."""
        return [one for one in self.waiting.items() if self.joined.get(one[0], one[0]) == message]

    def recorded(self) -> dict[str, Any]:
        """Return this as what JSON holds, for a run that goes on afresh: who waits, and the latest answers.

        As pairs, where the order counts: Postgres does not keep that of an object's names.
        """
        kept, size = 0, 0
        pairs: list[list[str]] = []
        answers: list[list[Any]] = []
        for id, message in reversed(self.ids.items()):
            answer = self.answers.get(message)
            if answer is not None:
                kept += 1
                if kept > MOST_IDS:
                    continue
                bytes_ = len(to_json(answer))
                if size + bytes_ > MOST_BYTES:
                    # Its id goes along all the same: what was done is not done again.
                    answer = {"status": "error", "error": _NOT_KEPT}
                else:
                    size += bytes_
            pairs.append([id, message])
            answers.append([message, answer])
        told = {"ids": pairs[::-1], "answers": answers[::-1]}
        return {"waiting": self.waiting, "joined": self.joined, **told}

    @classmethod
    def of(cls, recorded: Details) -> Updates:
        """Return what `recorded` made."""
        return cls(**{name: dict(recorded.get(name, {})) for name in ("waiting", "joined", "ids", "answers")})
