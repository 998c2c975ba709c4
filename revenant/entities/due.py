"""When a message is due: at once, after some time, or at a moment; checked before anything is sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from revenant.errors import ConfigurationError

LONGEST = timedelta(days=365_000)
"""The longest time, about a thousand years, that anything here takes: a due time after it fits every calendar."""
YEARS = range(2, 9000)
"""The years in which a moment may be, in any time zone: Postgres and Python read and write them."""


class Due(NamedTuple):
    """At most one of `after` (seconds) and `at`; neither is at once."""

    after: float | None
    at: datetime | None


def due_of(what: str, *, after: object, at: object) -> Due:
    """Return when `what`, such as `cast(<message …>)`, is due.

    Raises:
        ConfigurationError: these are not a timedelta and a datetime with a zone, are out of range, or both given.
    """
    if after is not None and at is not None:
        raise ConfigurationError(f"{what} was given both after= and at=; give one of them.")
    if after is not None and not isinstance(after, timedelta):
        raise ConfigurationError(
            f"{what} got after={after!r}, and takes a timedelta: after=timedelta(seconds=5). Nothing was sent."
        )
    if after is not None and abs(after) > LONGEST:
        raise ConfigurationError(
            f"{what} got after={after!r}, and takes {LONGEST.days:,} days at most, about a thousand years. Nothing was "
            "sent."
        )
    if at is not None and not isinstance(at, datetime):
        raise ConfigurationError(
            f"{what} got at={at!r}, and takes a datetime with a time zone: at=datetime.now(UTC) + …. Nothing was sent."
        )
    if at is not None and at.utcoffset() is None:
        raise ConfigurationError(
            f"{what} got at={at!r}, which has no time zone, and needs one: at.replace(tzinfo=UTC). Nothing was sent."
        )
    if at is not None and at.year not in YEARS:
        raise ConfigurationError(
            f"{what} got at={at!r}, and takes a moment between the years {YEARS[0]} and {YEARS[-1]}. Nothing was sent."
        )
    return Due(None if after is None else after.total_seconds(), at)
