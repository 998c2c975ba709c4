"""Outcomes: what became of one message, and of one entity's part of a turn; values that the worker books.

Each message makes one: named tuples, since a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from revenant.entities.context import Effects
from revenant.entities.lifetime import EXPIRE
from revenant.queue.records import Claimed, Delivery, Past, Reply


class Applied(NamedTuple):
    """The handler returned; its effects belong to the commit."""

    delivery: Delivery
    version: int
    body: str
    effects: Effects | None


class Failed(NamedTuple):
    """The handler raised, or could not be run; the state is as before. `final`: trying again would not help."""

    delivery: Delivery
    version: int
    error: dict[str, Any]
    traceback: str
    final: bool
    collided: bool
    """Whether its own SQL lost against a concurrent transaction, so that running it at once again may help."""


class Repeated(NamedTuple):
    """The message was handled before: it only leaves the mailbox. `reply` is None for a cast's."""

    delivery: Delivery
    reply: Reply | None


class Left(NamedTuple):
    """The message stays in the mailbox: another worker knows what to do, or a person has to mend the state."""

    delivery: Delivery
    why: str


Outcome = Applied | Failed | Repeated | Left


class Awaits(NamedTuple):
    """The message, and all after it, stay: its partners cannot be had in this turn."""

    delivery: Delivery
    why: str
    """`busy`: somebody else has one of them; `elsewhere`, `newer`: another worker knows their kind, or their state."""


class EntityTurn(NamedTuple):
    """What became of one entity: its outcomes in order, and its row afterwards."""

    claimed: Claimed
    outcomes: Sequence[Outcome]
    state: str | None
    """The new state; None where the entity has none."""
    version: int
    changed: bool
    unreached: bool
    """Whether the budget ended before the messages did."""
    awaits: Awaits | None = None
    """The message before which the turn ended, for want of its partners."""
    partners: Sequence[tuple[EntityTurn, int]] = ()
    """The rows of partners that its messages have changed, each with the vsn of its state."""
    slack: float | None = None
    """For how many seconds it need not be noted that messages came; None where the entity does not expire."""

    past: Sequence[Past] = ()
    """Its versions for the history, where its kind keeps one."""

    @property
    def touched(self) -> bool:
        """Whether it is to be noted that messages came, since no write of the state says so."""
        came = any(not isinstance(one, Left) and one.delivery.handler != EXPIRE for one in self.outcomes)
        return self.slack is not None and not self.changed and self.version > 0 and came


def reply_of(outcome: Outcome) -> Reply | None:
    """Return the reply that this outcome is, without the traceback; None where the message stays."""
    delivery = outcome.delivery
    if isinstance(outcome, Applied):
        return Reply(delivery.id, "ok", outcome.version, outcome.body, delivery.digest)
    if isinstance(outcome, Failed):
        return Reply(delivery.id, "error", outcome.version, to_json(outcome.error).decode(), delivery.digest)
    return None
