"""Timetable: what becomes due later in a memory application: timers, retries, reminders and schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heapify, heappop, heappush

from revenant.codec import bucket_of, new_id
from revenant.entities.address import Address
from revenant.entities.recurrence import Recurrence, firing_of
from revenant.entities.schedule import Schedule
from revenant.queue.records import Envelope, ReminderWrite, Scheduled
from revenant.worker.timing.reminders import MOST

_SLACK = 20
Due = tuple[Envelope, int]
"""A message that has become due, and how often it was tried before."""


@dataclass(slots=True)
class Planned:
    """A schedule of the application, and when it is due next."""

    schedule: Schedule
    due: datetime | None


class Timetable:
    """Due times in memory, by the rules by which the database keeps them."""

    def __init__(self, schedules: Sequence[Schedule], now: datetime) -> None:
        self._timers: dict[str, Scheduled] = {}
        self._heap: list[tuple[datetime, int, str]] = []
        self._count = 0
        self._reminders: dict[tuple[Address, str], ReminderWrite] = {}
        self._planned = [Planned(one, next(one.recurrence.after(now, since=now), None)) for one in schedules]

    def schedule(self, row: Scheduled, now: datetime) -> None:
        """Keep a message for later; one of the same id that is here already stands."""
        if row.id in self._timers:
            return
        due = row.due.astimezone(UTC) if row.due is not None else now + timedelta(seconds=row.delay or 0.0)
        self._count += 1
        self._timers[row.id] = row
        heappush(self._heap, (due, self._count, row.id))

    def cancel(self, message_id: str) -> bool:
        """Forget a message that is not due yet; return whether it was there."""
        found = self._timers.pop(message_id, None) is not None
        if len(self._heap) > 2 * len(self._timers) + _SLACK:
            # What was cancelled is in the way until it would have been due.
            self._heap = [one for one in self._heap if one[2] in self._timers]
            heapify(self._heap)
        return found

    def remind(self, row: ReminderWrite) -> None:
        """Set a reminder, replace it, or cancel one or all of an entity's."""
        owner = Address(row.kind, row.key)
        if row.due is not None and row.name is not None:
            self._reminders[owner, row.name] = row._replace(due=row.due.astimezone(UTC))
            return
        for place in [place for place in self._reminders if place[0] == owner and row.name in (None, place[1])]:
            del self._reminders[place]

    def has_any(self, address: Address) -> bool:
        """Whether the entity has a timer or a reminder."""
        timed = any((one.kind, one.key) == address for one in self._timers.values())
        return timed or any(owner == address for owner, _ in self._reminders)

    def next_due(self) -> datetime | None:
        """Return when the next thing is due."""
        while self._heap and self._heap[0][2] not in self._timers:
            heappop(self._heap)
        dues = [self._heap[0][0]] if self._heap else []
        dues += [row.due for row in self._reminders.values() if row.due is not None]
        dues += [planned.due for planned in self._planned if planned.due is not None]
        return min(dues, default=None)

    def take_due(self, now: datetime) -> Iterator[Due]:
        """Yield the messages that are due, the oldest first of each sort; reminders and schedules move on."""
        while self._heap and self._heap[0][0] <= now:
            row = self._timers.pop(heappop(self._heap)[2], None)
            if row is not None:
                yield Envelope(*row[:6], origin=None, digest=row.digest), row.attempts
        due = [(row.due, place) for place, row in self._reminders.items() if row.due is not None and row.due <= now]
        for _, place in sorted(due):
            yield from self._fire(place, now)
        for planned in self._planned:
            yield from _fire_schedule(planned, now)

    def _fire(self, place: tuple[Address, str], now: datetime) -> Iterator[Due]:
        row = self._reminders.pop(place)
        assert row.due is not None
        recurrence = Recurrence(row.every, row.cron, row.timezone or "UTC")
        firing = firing_of(recurrence, row.due, now, row.missed or "once", most=MOST)
        if firing.next is not None:
            self._reminders[place] = row._replace(due=firing.next)
        assert row.to_kind is not None
        assert row.to_key is not None
        for _ in range(firing.count):
            yield _message(row.to_kind, row.to_key, row.handler or "", row.args or "{}"), 0
        if firing.next is not None and firing.next <= now:
            yield from self._fire(place, now)


def _fire_schedule(planned: Planned, now: datetime) -> Iterator[Due]:
    message = planned.schedule.message
    while planned.due is not None and planned.due <= now:
        firing = firing_of(planned.schedule.recurrence, planned.due, now, planned.schedule.missed, most=MOST)
        planned.due = firing.next
        for _ in range(firing.count):
            yield _message(message.kind, message.key, message.handler, message.args), 0


def _message(kind: str, key: str, handler: str, args: str) -> Envelope:
    bucket = bucket_of(kind, key)
    return Envelope(bucket, kind, key, new_id(bucket), handler, args, origin=None, digest=None)
