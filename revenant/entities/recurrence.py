"""Recurrence: when something comes again: every so often, or by a cron expression in a time zone; pure.

Invariant: of two moments the later one comes later in real time, also where a zone's clock is put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from revenant.entities.due import LONGEST
from revenant.errors import ConfigurationError

Missed = Literal["skip", "once", "all"]
MISSED: tuple[Missed, ...] = ("skip", "once", "all")
LATE = timedelta(minutes=1)
"""An occurrence that is found later than this is missed, as far as `missed="skip"` goes."""
SHORTEST = 1.0
"""Seconds that lie between two occurrences at least."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """`every` (seconds of real time) or `cron` (wall-clock time in `timezone`); with neither it comes once."""

    every: float | None
    cron: str | None
    timezone: str

    def after(self, moment: datetime, *, since: datetime) -> Iterator[datetime]:
        """Yield the occurrences after a moment, in UTC; `since` is one, from which `every` counts."""
        if self.cron is not None:
            return _by_the_clock(self.cron, ZoneInfo(self.timezone), moment)
        if self.every is not None:
            return _by_length(timedelta(seconds=self.every), moment, since)
        return iter(())


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to be done about something that is due: so many messages, and then again at `next`; None: never."""

    count: int
    next: datetime | None


def firing_of(recurrence: Recurrence, due: datetime, now: datetime, missed: str, *, most: int) -> Firing:
    """Say what is to be done about a due time that has come; of `missed="all"`, at most `most` at once."""
    if recurrence.every is None and recurrence.cron is None:
        return Firing(1, None)
    if missed == "all":
        later = recurrence.after(due, since=due)
        count = 1
        for occurrence in later:
            if occurrence > now or count == most:
                return Firing(count, occurrence)
            count += 1
        return Firing(count, None)
    upcoming = next(recurrence.after(now, since=due), None)
    if missed == "skip" and now - due > LATE:
        lately = next(recurrence.after(now - LATE, since=due), None)
        return Firing(int(lately is not None and lately <= now), upcoming)
    return Firing(1, upcoming)


def recurrence_of(what: str, *, every: object, cron: object, timezone: object, missed: object) -> Recurrence:
    """Return when `what`, such as `turn.remind('close')`, comes again.

    Raises:
        ConfigurationError: both are given, or one that cannot be read, or that no moment fits.
    """
    if every is not None and cron is not None:
        raise ConfigurationError(f"{what} was given both every= and cron=; give one of them.")
    if missed not in MISSED:
        raise ConfigurationError(f"{what} got missed={missed!r}, and takes 'skip', 'once' or 'all'. Nothing was set.")
    zone = _zone_of(what, timezone)
    if every is not None:
        if timezone != "UTC":
            raise ConfigurationError(
                f"{what} was given a time zone with every=, which counts real time and knows none: leave it out, or "
                "use cron=."
            )
        return Recurrence(_seconds_of(what, every), None, "UTC")
    if cron is not None:
        _check_cron(what, cron, zone)
    return Recurrence(None, cron if isinstance(cron, str) else None, zone.key)


def _seconds_of(what: str, every: object) -> float:
    if not isinstance(every, timedelta) or not timedelta(seconds=SHORTEST) <= every <= LONGEST:
        raise ConfigurationError(
            f"{what} got every={every!r}, and takes a timedelta of at least {SHORTEST:g} s, and of "
            f"{LONGEST.days:,} days at most: every=timedelta(hours=1). Nothing was set."
        )
    return every.total_seconds()


def _zone_of(what: str, timezone: object) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)  # type: ignore[arg-type]  # what is no text is what is found out here
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"{what} got timezone={timezone!r}, which this machine does not know. Give an IANA name such as "
            "'Europe/Berlin'; where the system has no list of zones, install tzdata."
        ) from error


def _check_cron(what: str, cron: object, zone: ZoneInfo) -> None:
    fields = cron.split() if isinstance(cron, str) else []
    why = f"it has {len(fields)} fields"
    if isinstance(cron, str) and len(fields) == 5:
        try:
            if next(_by_the_clock(cron, zone, datetime(2000, 1, 1, tzinfo=UTC)), None) is not None:
                return
            why = "no moment fits it"
        except CronSimError as error:
            why = str(error)[:1].lower() + str(error)[1:]
    raise ConfigurationError(
        f"{what} got cron={cron!r}, which cannot be read: {why}. Give five fields, minute, hour, day, month and "
        "weekday: cron='0 9 * * 1-5'. Nothing was set."
    )


def _by_the_clock(cron: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    start = moment.astimezone(UTC)
    for found in CronSim(cron, start.astimezone(zone)):
        # An hour that comes twice: counted from its second time, the clock shows what has been already.
        if found.astimezone(UTC) > start:
            yield found.astimezone(UTC)


def _by_length(every: timedelta, moment: datetime, since: datetime) -> Iterator[datetime]:
    steps = max((moment - since) // every + 1, 1) if moment >= since else 1
    try:
        while True:
            yield (since + steps * every).astimezone(UTC)
            steps += 1
    except OverflowError:
        return
