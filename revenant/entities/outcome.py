"""Outcomes: what became of one message, and of one entity's part of a turn; values that the worker books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from revenant.entities.context import Effects
from revenant.queue.records import Claimed, Delivery, Reply


@dataclass(frozen=True, slots=True)
class Applied:
    """The handler returned; its effects belong to the commit."""

    delivery: Delivery
    version: int
    body: str
    effects: Effects | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or could not be run; the state is as before. `final`: trying again would not help."""

    delivery: Delivery
    version: int
    error: dict[str, Any]
    traceback: str
    final: bool
    collided: bool
    """Whether its own SQL lost against a concurrent transaction, so that running it at once again may help."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The message was handled before: it only leaves the mailbox. `reply` is None for a cast's."""

    delivery: Delivery
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Left:
    """The message stays in the mailbox: another worker knows what to do, or a person has to mend the state."""

    delivery: Delivery
    why: str


Outcome = Applied | Failed | Repeated | Left


@dataclass(frozen=True, slots=True)
class EntityTurn:
    """What became of one entity: its outcomes in order, and its row afterwards."""

    claimed: Claimed
    outcomes: Sequence[Outcome]
    state: str | None
    """The new state; None where the entity has none."""
    version: int
    changed: bool
    unreached: bool
    """Whether the budget ended before the messages did."""


def reply_of(outcome: Outcome) -> Reply | None:
    """Return the reply that this outcome is, without the traceback; None where the message stays."""
    delivery = outcome.delivery
    if isinstance(outcome, Applied):
        return Reply(delivery.id, "ok", outcome.version, outcome.body, delivery.digest)
    if isinstance(outcome, Failed):
        return Reply(delivery.id, "error", outcome.version, to_json(outcome.error).decode(), delivery.digest)
    return None
