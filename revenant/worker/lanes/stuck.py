"""Stuck: an entity whose stored state is invalid: its casts wait for a person, and its calls are told at once.

Invariant: a call is told however many casts wait before it, and the casts alone cause no further turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from revenant.entities.outcome import EntityTurn, Left
from revenant.entities.turn import DELETE
from revenant.queue.callers import claim_calls
from revenant.queue.records import Claimed, Delivery, Hint


@dataclass(frozen=True, slots=True)
class Stuck:
    """An entity as its turn left it, and the number from which its mailbox has not been read."""

    claimed: Claimed
    unread: int

    @classmethod
    def of(cls, done: EntityTurn, again: Sequence[Hint]) -> Stuck | None:
        """Return an entity that is stuck and has unread messages; `again` are hints to what the claim did not take."""
        hinted = [hint.seq for hint in again if _is_about(hint, done.claimed)]
        unfit = any(isinstance(outcome, Left) and outcome.why == "state" for outcome in done.outcomes)
        if done.changed or not unfit or not (hinted or done.unreached):
            return None
        # What was sent before the message that a hint names was hinted before: reading need not pass over it again.
        return cls(done.claimed, max(_last_of(done) + 1, min(hinted, default=0)))

    @property
    def hint(self) -> Hint:
        """What to look at next."""
        return Hint(self.claimed.bucket, self.claimed.kind, self.claimed.key, self.unread)

    def without_own(self, hints: Sequence[Hint]) -> list[Hint]:
        """Return the hints to other entities: its own would be followed at once, and for ever."""
        return [hint for hint in hints if not _is_about(hint, self.claimed)]

    async def calls(self, connection: psycopg.AsyncConnection[Any]) -> Claimed | None:
        """Return the entity with its next unread calls; None when there is none."""
        calls = await claim_calls(connection, self.claimed, since=self.unread)
        return self.claimed._replace(deliveries=_up_to_a_deletion(calls)) if calls else None

    def after(self, done: EntityTurn) -> Stuck:
        """Return the same, read to where this turn ended."""
        return replace(self, unread=_last_of(done) + 1)


def _is_about(hint: Hint, entity: Claimed) -> bool:
    return (hint.kind, hint.key) == (entity.kind, entity.key)


def _last_of(done: EntityTurn) -> int:
    return done.outcomes[-1].delivery.seq


def _up_to_a_deletion(calls: list[Delivery]) -> list[Delivery]:
    """Leave what comes after a deletion: it is for a new state, and the casts before it go first."""
    ends = next((place + 1 for place, delivery in enumerate(calls) if delivery.handler == DELETE), len(calls))
    return calls[:ends]
