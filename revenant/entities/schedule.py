"""Schedule: a message that an application has sent at set times, exactly once in the whole fleet each time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import to_json

from revenant.entities.message import Message, as_message
from revenant.entities.recurrence import Missed, Recurrence, recurrence_of
from revenant.entities.reminder import name_of
from revenant.errors import ConfigurationError


@dataclass(frozen=True, slots=True, init=False)
class Schedule:
    """A message for `cron`, wall-clock time in `timezone`, or for `every` so much real time.

    `missed` says what becomes of occurrences while no worker ran: "once" sends one message for all of them, "skip"
    none for what is over a minute late, "all" one for each.

    Example:
        >>> nightly = Schedule("nightly", ref(Report, "main").build(), cron="30 2 * * *", timezone="Europe/Berlin")
        >>> app = Revenant(entities=[Report], schedules=[nightly])
    """

    name: str
    message: Message[Any]
    recurrence: Recurrence
    missed: Missed

    def __init__(
        self,
        name: str,
        message: Message[Any],
        *,
        every: timedelta | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "once",
    ) -> None:
        what = f"Schedule({name!r})"
        sent = as_message(message, "Schedule")
        recurrence = recurrence_of(what, every=every, cron=cron, timezone=timezone, missed=missed)
        if every is None and cron is None:
            raise ConfigurationError(f"{what} does not say when: give one of every= and cron=.")
        object.__setattr__(self, "name", name_of(what, name))
        object.__setattr__(self, "message", sent)
        object.__setattr__(self, "recurrence", recurrence)
        object.__setattr__(self, "missed", missed)

    @property
    def digest(self) -> bytes:
        """What this definition is known by among those of its name: 16 bytes of a hash of all that it says."""
        sent, when = self.message, self.recurrence
        parts = (sent.kind, sent.key, sent.handler, sent.args, when.every, when.cron, when.timezone, self.missed)
        return hashlib.sha256(to_json(parts)).digest()[:16]


def checked_schedules(given: Iterable[Schedule]) -> tuple[Schedule, ...]:
    """Return an application's schedules, in the order of their names.

    Raises:
        ConfigurationError: something else is among them, or two have one name.
    """
    if isinstance(given, Schedule | str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"schedules= takes a list of Schedule, and got {given!r}. Nothing was started.")
    found: dict[str, Schedule] = {}
    for schedule in given:
        if not isinstance(schedule, Schedule):
            raise ConfigurationError(f"schedules= takes Schedule values, and got {schedule!r}. Nothing was started.")
        if found.setdefault(schedule.name, schedule) is not schedule:
            raise ConfigurationError(f"Two schedules are named {schedule.name!r}: give one of them another name.")
    return tuple(found[name] for name in sorted(found))
