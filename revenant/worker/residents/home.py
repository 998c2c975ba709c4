"""Home: what one residence knows: its residents, the answers not heard yet, and the hints that wait for it."""

from __future__ import annotations

import logging
import time

from revenant.errors import Conflict
from revenant.queue.records import RELEASED, Hint
from revenant.worker.agenda import Key
from revenant.worker.docket import Docket
from revenant.worker.lanes.observer import lost
from revenant.worker.residents.answers import Answers
from revenant.worker.residents.memory import Memory
from revenant.worker.residents.resident import Resident

log = logging.getLogger("revenant.residence")
LOOK_SECONDS = 2.0
"""How often, at most, the net looks at all messages of an entity that has some to flush."""


class Home:
    """Shared by the one that visits and the one that flushes; both run in one task."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.answers = Answers()
        self.docket = Docket(self._is_due)
        self.careful: set[Key] = set()
        """Entities whose messages are handled and flushed one by one: one of them cannot be flushed."""

    def _is_due(self, key: Key) -> bool:
        """Whether to look at all messages of an entity: of one that has some to flush, only once in a while."""
        resident = self.memory.find(key)
        return resident is None or not resident.seqs or resident.looked_at < time.monotonic() - LOOK_SECONDS

    def drop(self, resident: Resident) -> None:
        """Forget what is in memory; it is read again if there are messages."""
        self.answers.forget(resident)
        self.memory.remove(resident)
        self.docket.add([Hint(*resident.place[:3], RELEASED)])

    def lose(self, resident: Resident, conflict: BaseException | None = None) -> None:
        """Another worker owns it: say so, and forget it."""
        log.warning("%s", conflict or taken(resident))
        lost(*resident.key, resident.stored)
        self.drop(resident)

    def hurry(self) -> None:
        """Have all that is not flushed yet flushed now."""
        for resident in self.memory:
            if not resident.clean:
                resident.urgent = True
                self.memory.plan(resident)
        self.docket.wake()

    def flushed(self, resident: Resident) -> None:
        """What it did is in the database; if it was to leave, it is gone."""
        self.answers.forget(resident)
        resident.was_flushed()
        self.careful.discard(resident.key)
        if resident.leaving:
            self.memory.remove(resident)
            # What came meanwhile is for whoever it lives with next.
            self.docket.add([Hint(*resident.place[:3], 0)])


def taken(resident: Resident) -> Conflict:
    """Return what to say of an entity that another worker owns now."""
    return Conflict(
        f"{resident.place.kind}({resident.place.key!r}) is owned by another worker now, which took this one for dead: "
        "nothing more is written or answered here, what was kept of it is dropped, and its messages are handled again."
    )


def taken_back(resident: Resident) -> Conflict:
    """Return what to say of an entity with messages that are not those which were handled, though numbered so."""
    return Conflict(
        f"{resident.place.kind}({resident.place.key!r}) has other messages than those that were handled here: a crash "
        "of Postgres took some back that were not on the disk yet, and their numbers were given away again. What was "
        "kept of it is dropped, and its messages are handled again."
    )
