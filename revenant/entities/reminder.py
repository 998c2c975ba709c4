"""Reminder: a message that is sent at set times, under a name by which its entity replaces and cancels it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from revenant.codec import bucket_of
from revenant.entities.due import due_of
from revenant.entities.message import Message
from revenant.entities.recurrence import Missed, Recurrence, recurrence_of
from revenant.errors import ConfigurationError
from revenant.queue.records import ReminderWrite

MAX_NAME_BYTES = 128
LONGEST_SAID = 60
"""Characters of a name that an error repeats."""
_NEVER = Recurrence(None, None, "UTC")


class Reminder(NamedTuple):
    """What a handler asked for: a reminder to set; without `due`, one to cancel; without `name`, all of that entity."""

    kind: str
    key: str
    name: str | None
    message: Message[Any] | None = None
    due: datetime | None = None
    recurrence: Recurrence = _NEVER
    missed: Missed = "once"


def reminder_of(
    kind: str,
    key: str,
    name: object,
    message: Message[Any],
    *,
    now: datetime,
    every: timedelta | None,
    cron: str | None,
    timezone: str,
    after: timedelta | None,
    at: datetime | None,
    missed: Missed,
) -> Reminder:
    """Return a reminder with its first due time, reckoned from `now`, the turn's.

    Raises:
        ConfigurationError: it does not say when, or not in a way that can be read.
    """
    what = f"turn.remind({_said(name)})"
    checked = name_of(what, name)
    recurrence = recurrence_of(what, every=every, cron=cron, timezone=timezone, missed=missed)
    first = due_of(what, after=after, at=at)
    start = first.at if first.after is None else now + timedelta(seconds=first.after)
    if start is None:
        due = next(recurrence.after(now, since=now), None)
    elif cron is not None:
        # An occurrence at the very start counts.
        due = next(recurrence.after(start - timedelta(microseconds=1), since=start), None)
    else:
        due = start
    if due is None:
        raise ConfigurationError(f"{what} does not say when: give one of every=, cron=, after= and at=.")
    return Reminder(kind, key, checked, message, due, recurrence, missed)


def reminder_row(reminder: Reminder) -> ReminderWrite:
    """Return a reminder as the commit writes it."""
    owner = (bucket_of(reminder.kind, reminder.key), reminder.kind, reminder.key, reminder.name)
    message, when = reminder.message, reminder.recurrence
    if message is None:
        return ReminderWrite(*owner)
    return ReminderWrite(
        *owner, reminder.due, when.every, when.cron, when.timezone, reminder.missed,
        bucket_of(message.kind, message.key), message.kind, message.key, message.handler, message.args,
    )  # fmt: skip


def name_of(what: str, name: object) -> str:
    """Return a name under which Postgres stores a reminder or a schedule.

    Raises:
        ConfigurationError: it is no text, empty, or too long.
    """
    if not isinstance(name, str) or not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES:
        raise ConfigurationError(f"{what}: {_said(name)} is no name. It is text of 1 to {MAX_NAME_BYTES} bytes.")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in name):
        raise ConfigurationError(f"{what}: the name {name!r} holds a character that Postgres does not store.")
    return name


def _said(name: object) -> str:
    """Return a name as an error repeats it."""
    said = repr(name)
    return said if len(said) <= LONGEST_SAID else f"{said[:LONGEST_SAID]}…"
