"""Lifetime: after how long without a message an entity ends, as its class says."""

from __future__ import annotations

from datetime import timedelta
from types import EllipsisType

from revenant.entities.due import LONGEST
from revenant.errors import ConfigurationError

IdleDelete = timedelta | None | EllipsisType
"""A length of time, None for never, or `...` for what the parent says."""
EXPIRE = "revenant:expire"
"""The handler that ends an idle entity; its argument is the version at which it was found idle."""
SLACK = 20
"""A message that changes nothing is noted once in this part of the time: a note is a write."""


def slack_of(idle_delete: timedelta | None) -> float | None:
    """Return for how many seconds it need not be noted that a message came; None where it never need be."""
    return None if idle_delete is None else idle_delete.total_seconds() / SLACK


def idle_delete_of(label: str, given: IdleDelete, inherited: timedelta | None) -> timedelta | None:
    """Return the class keyword `idle_delete`.

    Raises:
        ConfigurationError: it is no timedelta, or none that passes.
    """
    if given is ... or given is None:
        return inherited if given is ... else None
    length: object = given
    if isinstance(length, timedelta) and timedelta(0) < length <= LONGEST:
        return length
    raise ConfigurationError(
        f"{label} has idle_delete={given!r}, and takes a timedelta of at most {LONGEST.days:,} days: "
        "idle_delete=timedelta(days=30). None is never."
    )
