"""Aftermath: what a turn leaves of an entity: messages that wait for another worker or a person, and what goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from revenant.entities.outcome import EntityTurn, Left
from revenant.queue.records import Hint
from revenant.worker.agenda import Agenda
from revenant.worker.lanes.partners import Loan, Partners

log = logging.getLogger("revenant.lane")
BLOCKED_SECONDS = 5.0
"""How long the net passes by an entity whose messages cannot be handled here now."""
_WHY = {
    "state": "the stored state does not fit the class; callers are told StateInvalid",
    "elsewhere": "this worker does not know their handler and another one does",
}


class Aftermath:
    """Sees to the entities of a lane's turns, once each has been handled."""

    def __init__(self, *, agenda: Agenda, partners: Partners) -> None:
        self._agenda = agenda
        self._partners = partners

    def pass_by(self, hints: Iterable[Hint]) -> None:
        """Have the net pass these entities by for a while."""
        for hint in hints:
            self._agenda.block((hint.kind, hint.key), BLOCKED_SECONDS)

    def look_after(self, done: EntityTurn, loan: Loan, *, changed: bool) -> list[Hint]:
        """Return the hints to what may go on at once. `changed`: whether the state is another one now."""
        again = self._partners.look_after(done, loan)
        entity = done.claimed
        whole = Hint(entity.bucket, entity.kind, entity.key, 0)
        left = [outcome for outcome in done.outcomes if isinstance(outcome, Left)]
        if left:
            log.warning(
                "%s(%r): %d message(s) stay in the mailbox: %s.", entity.kind, entity.key, len(left), _WHY[left[0].why]
            )
        if left and not (changed and left[-1].why == "state"):
            self.pass_by([whole])
        elif left or (done.unreached and done.awaits is None):
            again.append(whole)
        return again
