"""Times: the durations and moments that code gives, checked before anything waits for them."""

from __future__ import annotations

from datetime import datetime, timedelta

from revenant.errors import ConfigurationError

Duration = float | timedelta
"""Seconds, or a timedelta."""
LONGEST = 3.2e9
"""No duration is of so many seconds, a hundred years."""
_YEARS = range(2, 9000)
"""The years in which a moment may be, in any time zone: Postgres and Python read and write them."""


def seconds_of(given: Duration | None) -> float | None:
    """Return a duration in seconds; None stays so.

    Raises:
        ConfigurationError: it is no duration, or none that can pass.
    """
    return None if given is None else checked_seconds(given)


def checked_seconds(given: Duration) -> float:
    """Return a duration in seconds.

    Raises:
        ConfigurationError: it is no duration, or none that can pass.
    """
    seconds: object = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < LONGEST:
        raise ConfigurationError(
            f"A duration is seconds, or a timedelta, of more than nothing and less than a hundred years; got {given!r}."
        )
    return float(seconds)


def checked_moment(given: datetime, *, door: str) -> datetime:
    """Return a moment that has a time zone; `door` is what it was given to.

    Raises:
        ConfigurationError: it is none, or of a year that Postgres and Python do not both know.
    """
    moment: object = given
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise ConfigurationError(f"{door} takes a datetime with a time zone, and got {given!r}.")
    if moment.year not in _YEARS:
        raise ConfigurationError(
            f"{door} takes a moment between the years {_YEARS[0]} and {_YEARS[-1]}, and got {given!r}."
        )
    return moment
