"""History: how long each version of an entity's state is kept, as its class says; and one version as it is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import EllipsisType
from typing import Generic, TypeVar

from revenant.entities.due import LONGEST
from revenant.errors import ConfigurationError

S = TypeVar("S")
History = timedelta | None | EllipsisType
"""A length of time, None for no history, or `...` for what the parent says."""


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """One version of an entity, and the message that made it."""

    version: int
    """0: the entity was deleted."""
    at: datetime
    """When it was committed, by the database's clock."""
    handler: str
    message_id: str
    state: S | None
    """The state as that message left it; None where it deleted the entity."""


def history_of(label: str, given: History, inherited: timedelta | None) -> timedelta | None:
    """Return the class keyword `history`.

    Raises:
        ConfigurationError: it is no timedelta, or none that passes.
    """
    if given is ... or given is None:
        return inherited if given is ... else None
    length: object = given
    if isinstance(length, timedelta) and timedelta(0) < length <= LONGEST:
        return length
    raise ConfigurationError(
        f"{label} has history={given!r}, and takes a timedelta of at most {LONGEST.days:,} days: "
        "history=timedelta(days=7). None keeps none."
    )
