"""Durability: when what a handler did is written: before its reply, once in a while, or when the entity leaves memory.

Invariant: a kind that is not strict is kept in one worker's memory, and its messages wait until they are flushed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from types import EllipsisType
from typing import Literal

from revenant.entities.due import LONGEST
from revenant.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Interval:
    """A durability: one write of the state every `seconds` at most, however many messages came meanwhile.

    Example:
        >>> class Session(Entity, durability=Interval(seconds=5)):
        ...     clicks: int = 0
    """

    seconds: float

    def __post_init__(self) -> None:
        if not _is_positive(self.seconds):
            raise ConfigurationError(
                f"Interval(seconds={self.seconds!r}) is no interval. Give seconds as a number above 0; "
                'durability="strict" writes before each reply.'
            )


Durability = Literal["strict", "on_stop"] | Interval
"""`strict`: before the reply; `Interval`: once in a while; `on_stop`: when the entity leaves memory."""
IdleTimeout = float | timedelta | EllipsisType | None
"""Seconds, or a timedelta; None is never, and `...` what the parent class says."""
DEFAULT_IDLE_SECONDS = 300.0


def durability_of(name: str, given: object, inherited: Durability) -> Durability:
    """Return the durability of the class `name`, which was declared with `given`; None takes the parent's.

    Raises:
        ConfigurationError: there is no such durability.
    """
    if given is None:
        return inherited
    if isinstance(given, Interval):
        return given
    if given == "strict":
        return "strict"
    if given == "on_stop":
        return "on_stop"
    raise ConfigurationError(
        f'{name} has durability={given!r}, and takes "strict", Interval(seconds=…) or "on_stop". Name one of them.'
    )


def idle_seconds(name: str, given: IdleTimeout, inherited: float | None) -> float | None:
    """Return the seconds after which an entity of the class `name` leaves memory; None is never.

    Raises:
        ConfigurationError: that is no time.
    """
    if given is None or isinstance(given, EllipsisType):
        return None if given is None else inherited
    seconds: object = given.total_seconds() if isinstance(given, timedelta) else given
    if not _is_positive(seconds):
        raise ConfigurationError(
            f"{name} has idle_timeout={given!r}, and takes seconds above 0, a timedelta, or None for never."
        )
    return float(seconds)  # type: ignore[arg-type]  # _is_positive has seen that it is a number


def check_level(given: object) -> bool:
    """Return whether a call asks for durability="strict"; None leaves it to the entity's kind.

    Raises:
        ConfigurationError: a single call cannot ask for that.
    """
    if given is None or given == "strict":
        return given is not None
    raise ConfigurationError(
        f'A call got durability={given!r}. It takes durability="strict", which flushes what is pending before the '
        "reply; what is less is a matter of the entity's class. Nothing was sent."
    )


def _is_positive(seconds: object) -> bool:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return number and math.isfinite(seconds) and 0 < seconds <= LONGEST.total_seconds()  # type: ignore[arg-type, operator]  # as `number` says
