"""Partners: who of a worker's entities waits for others that change in the same commit, and how it gets them.

Invariant: a turn waits for a lock only before it has begun, in key order, and one turn of the process at a time.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from revenant.entities.outcome import Awaits, EntityTurn
from revenant.queue.claim import claim
from revenant.queue.partners import Named, claim_together, lock_partners
from revenant.queue.records import Claim, Claimed, Hint, Mark
from revenant.worker.agenda import Agenda, Key

log = logging.getLogger("revenant.lane")
SHORTEST_REST, LONGEST_REST = 0.004, 0.5
"""Seconds between two tries to get a busy partner; doubled each time, with jitter."""
PATIENT_FROM = 3
"""Tries without waiting, before one waits at the lock: a hot entity is free only between two of its turns."""
PATIENCE = 0.1
"""Seconds of waiting at a lock."""
UNKNOWN_SECONDS = 5.0
"""How long the net passes by an entity whose message is for a worker that knows its partner."""
MOST_WAITS = 10_000
_WHY = {
    "elsewhere": "it changes an entity of a kind that this worker does not serve, in the same commit",
    "newer": "a newer version of the class wrote the state of its partner",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """An entity whose next message wants partners that were busy."""

    partners: Sequence[Named]
    tries: int


class Loan:
    """Partners for one turn; implements `revenant.entities.company.Lender`."""

    def __init__(
        self,
        *,
        connection: psycopg.AsyncConnection[Any],
        claimed: Claim,
        kinds: Collection[str],
        agenda: Agenda,
        patient: bool,
    ) -> None:
        self._connection = connection
        self.alone = len(claimed.entities) == 1
        self._kinds = kinds
        self._agenda = agenda
        self._patient = patient
        self._borrowed: list[Key] = []
        self.wanted: Sequence[Named] = ()
        """What was asked for last."""

    def serves(self, kind: str) -> bool:
        """Whether entities of that kind may be handled here."""
        return kind in self._kinds

    async def lend(self, addresses: Sequence[Named]) -> Sequence[Claimed] | None:
        """Lock these entities until the turn's commit; None where one is busy, be it with this turn itself."""
        self.wanted = [(kind, key) for kind, key in addresses]
        # What a lane of this process has, this one included, cannot be lent: its state may not be what the row says.
        if self._agenda.borrow(self.wanted):
            self._borrowed += self.wanted
        elif not self._patient:
            return None
        return await lock_partners(self._connection, self.wanted)

    def end(self) -> None:
        """Give all of them back: the turn has ended."""
        self._agenda.give_back(self._borrowed)
        self._borrowed = []


class Partners:
    """Finds turns of one worker the partners that their messages name."""

    def __init__(self, *, kinds: Collection[str], agenda: Agenda) -> None:
        self._kinds = kinds
        self._agenda = agenda
        self._waits: dict[Key, Wait] = {}
        self._at_the_lock = False

    async def claim(
        self,
        connection: psycopg.AsyncConnection[Any],
        hints: Sequence[Hint],
        vsns: Mapping[str, int],
        *,
        most: int,
        known: Sequence[Mark],
    ) -> tuple[Claim, Loan]:
        """Claim as usual; or, for one entity whose partners were busy too often, after waiting for them."""
        wait = self._waits.get((hints[0].kind, hints[0].key)) if len(hints) == 1 and self._waits else None
        patient = wait is not None and wait.tries >= PATIENT_FROM and not self._at_the_lock
        if wait is None or not patient:
            claimed = await claim(connection, hints, vsns, most=most, known=known)
            return claimed, self._loan(connection, claimed, patient=False)
        self._at_the_lock = True
        try:
            patience = PATIENCE * random.uniform(0.5, 1.5)  # noqa: S311 # jitter, not a secret
            together = await claim_together(connection, hints[0], wait.partners, vsns, most=most, patience=patience)
        finally:
            self._at_the_lock = False
        if together is None:
            self._rest(hints[0], wait.partners)
        claimed = together or Claim()
        return claimed, self._loan(connection, claimed, patient=together is not None)

    def _loan(self, connection: psycopg.AsyncConnection[Any], claimed: Claim, *, patient: bool) -> Loan:
        return Loan(connection=connection, claimed=claimed, kinds=self._kinds, agenda=self._agenda, patient=patient)

    def look_after(self, done: EntityTurn, loan: Loan) -> list[Hint]:
        """Take in how an entity's turn ended; return the hint to what may go on at once."""
        entity, key = done.claimed, (done.claimed.kind, done.claimed.key)
        if self._waits and (done.outcomes or done.awaits is None):
            self._waits.pop(key, None)
        if done.awaits is None:
            return []
        hint = Hint(entity.bucket, entity.kind, entity.key, done.awaits.delivery.seq)
        if done.awaits.why != "busy":
            self._leave(done, done.awaits)
        elif loan.alone:
            self._rest(hint, loan.wanted)
        else:
            self._agenda.set_apart(key)
            return [hint]
        return []

    def _leave(self, done: EntityTurn, awaits: Awaits) -> None:
        entity = done.claimed
        log.warning(
            "%s(%r): message %s stays in the mailbox: %s.",
            entity.kind,
            entity.key,
            awaits.delivery.id,
            _WHY[awaits.why],
        )
        self._agenda.block((entity.kind, entity.key), UNKNOWN_SECONDS)

    def _rest(self, hint: Hint, partners: Sequence[Named]) -> None:
        key = (hint.kind, hint.key)
        if len(self._waits) > MOST_WAITS:
            # Others may have handled the messages, and nobody says so: start to count anew.
            self._waits.clear()
        known = self._waits.get(key)
        tries = 1 if known is None else known.tries + 1
        self._waits[key] = Wait(partners, tries)
        rest = min(LONGEST_REST, SHORTEST_REST * 2.0 ** min(tries - 1, 10))
        self._agenda.set_apart(key)
        self._agenda.postpone(hint, rest * random.uniform(0.5, 1))  # noqa: S311 # jitter, not a secret
