"""Schedules: fires the application's schedules when they are due, for as long as a worker runs that has them.

Invariant: a schedule fires in the same step as it moves on, if it is still as it was read: once in the whole fleet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from revenant.codec import bucket_of
from revenant.entities.recurrence import firing_of
from revenant.entities.schedule import Schedule
from revenant.queue.link import Link
from revenant.queue.mailbox import cast_wakes, notify
from revenant.queue.timetable import FiredSchedule, Registered, fire_schedules, read_clock, register
from revenant.worker.timing.alarm import Alarm

MOST = 100
"""Messages of one schedule that are sent at once, where it makes up for what it missed."""


class Schedules(Alarm):
    """Says which schedules this application has, and fires those of which it has the current definition."""

    name = "schedules"

    def __init__(self, *, desk: Link, schedules: Sequence[Schedule]) -> None:
        super().__init__(desk=desk)
        self._schedules = {schedule.name: schedule for schedule in schedules}

    async def ring(self, connection: psycopg.AsyncConnection[Any]) -> tuple[bool, float | None]:
        """Fire all that is due."""
        moment = await read_clock(connection)
        dues = await register(connection, [_row(schedule, moment) for schedule in self._schedules.values()])
        firings = [self._firing(name, due, moment) for name, due in dues.items() if due <= moment]
        hints = await fire_schedules(connection, firings) if firings else []
        if hints:
            await notify(connection, cast_wakes(hints))
        if firings:
            return bool(hints), 0.0
        return False, min(((due - moment).total_seconds() for due in dues.values()), default=None)

    def _firing(self, name: str, due: datetime, moment: datetime) -> FiredSchedule:
        schedule = self._schedules[name]
        firing = firing_of(schedule.recurrence, due, moment, schedule.missed, most=MOST)
        # What has no next time any more waits for the end of all times.
        return FiredSchedule(name, schedule.digest, due, firing.count, firing.next or _NEVER)


_NEVER = datetime(9000, 1, 1, tzinfo=UTC)


def _row(schedule: Schedule, moment: datetime) -> Registered:
    message, when = schedule.message, schedule.recurrence
    return Registered(
        schedule.name, schedule.digest, next(when.after(moment, since=moment), _NEVER),
        when.every, when.cron, when.timezone, schedule.missed,
        bucket_of(message.kind, message.key), message.kind, message.key, message.handler, message.args,
    )  # fmt: skip
