"""Reminders: fires the reminders of entities when they are due, and reckons when each is due again.

Invariant: a reminder fires in the same step as it moves on, if it is still as it was read: once in the whole fleet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from revenant.entities.recurrence import Recurrence, firing_of
from revenant.queue.link import Link
from revenant.queue.mailbox import cast_wakes, notify
from revenant.queue.timetable import DueReminder, FiredReminder, due_reminders, fire_reminders
from revenant.worker.timing.alarm import Alarm

log = logging.getLogger("revenant.reminders")
PAGE = 200
"""Reminders that are fired at once."""
MOST = 100
"""Messages of one reminder that are sent at once, where it makes up for what it missed."""


class Reminders(Alarm):
    """Fires due reminders that go to kinds which this worker serves, a page at a time, oldest first.

    What only others serve is theirs to fire: while none of them runs, nothing is to pile up.
    """

    name = "reminders"

    def __init__(self, *, desk: Link, kinds: Sequence[str]) -> None:
        super().__init__(desk=desk)
        self._kinds = list(kinds)
        self._unreckoned: set[DueReminder] = set()

    async def ring(self, connection: psycopg.AsyncConnection[Any]) -> tuple[bool, float | None]:
        """Fire one page."""
        moment, due, next_due = await due_reminders(connection, kinds=self._kinds, page=PAGE)
        if not due:
            return False, next_due
        firings = [firing for reminder in due if (firing := self._firing(reminder, moment)) is not None]
        if not firings:
            return False, next_due
        hints = await fire_reminders(connection, firings)
        if hints:
            await notify(connection, cast_wakes(hints))
        # Those that have just moved on may be due again before the next that was seen.
        return bool(hints), 0.0

    def _firing(self, reminder: DueReminder, moment: datetime) -> FiredReminder | None:
        recurrence = Recurrence(reminder.every, reminder.cron, reminder.timezone)
        try:
            firing = firing_of(recurrence, reminder.due, moment, reminder.missed, most=MOST)
        except Exception:
            # Another worker may know the zone that this one does not.
            if reminder not in self._unreckoned:
                self._unreckoned.add(reminder)
                log.exception("%s(%r): its reminder %r cannot be reckoned.", *reminder[1:4])
            return None
        return FiredReminder(*reminder[:5], firing.count, firing.next)
