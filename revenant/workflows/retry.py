"""Retry: how often a failed attempt of a step is followed by another one, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revenant.errors import ConfigurationError
from revenant.workflows.times import LONGEST

JITTER = 0.25
"""The usual share of chance in a pause."""


_UNITS = {"attempts": "a whole number", "factor": "a number", "jitter": "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What becomes of a step's failed attempts.

    `attempts` (at least 1) bounds them, crashes of workers not counted. Before the second one `backoff` seconds pass,
    before each further one `factor` times as many, `longest` at most, each with up to a share of `jitter` (from 0 to 1)
    more or less by chance, so that a crowd of steps does not come back as one.
    Only exceptions of the types `on` are followed by another attempt, and those of the types `never` are not.

    Example:
        >>> Retry(attempts=3, backoff=0.5, on=(ConnectionError, TimeoutError)).pause(2, 0.5)
        1.0
    """

    attempts: int = 5
    backoff: float = 1.0
    factor: float = 2.0
    longest: float = 3600.0
    jitter: float = JITTER
    on: tuple[type[BaseException], ...] = (Exception,)
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("attempts", "backoff", "factor", "longest", "jitter"):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int if name == "attempts" else int | float):
                unit = _UNITS.get(name, "a number of seconds")
                raise ConfigurationError(f"Retry({name}=…) takes {unit}, and got {number!r}.")
        # Asked in this way, a NaN is none of these either.
        if not (
            self.attempts >= 1
            and 0 <= self.backoff < LONGEST
            and 1 <= self.factor <= 1000
            and 0 < self.longest < LONGEST
            and 0 <= self.jitter <= 1
        ):
            raise ConfigurationError(
                f"{self!r} makes no sense: attempts is at least 1, backoff at least 0, factor from 1 to 1000, longest "
                "more than 0, and jitter from 0 to 1; backoff and longest are less than a hundred years."
            )
        for name in ("on", "never"):
            given: object = getattr(self, name)
            if not isinstance(given, tuple) or not all(
                isinstance(one, type) and issubclass(one, BaseException) for one in given
            ):
                raise ConfigurationError(
                    f"Retry({name}=…) takes a tuple of exception classes, and got {given!r}. Write {name}=(Transient,)."
                )

    def allows(self, error: BaseException) -> bool:
        """Whether an attempt that ended so may be followed by another one."""
        return isinstance(error, self.on) and not isinstance(error, self.never)

    def pause(self, attempt: int, chance: float) -> float:
        """Return the seconds between this failed attempt (from 1) and the next; `chance` is from 0 to 1."""
        # Capped before it is reckoned: a float of that size may not exist.
        power = min(attempt - 1, 64)
        return min(self.backoff * self.factor**power, self.longest) * (1 + self.jitter * (2 * chance - 1))

    def recorded(self) -> dict[str, Any]:
        """Return the numbers that a step was scheduled with, for whoever reads its history."""
        told = {"attempts": self.attempts, "backoff": self.backoff, "factor": self.factor, "longest": self.longest}
        return told if self.jitter == JITTER else {**told, "jitter": self.jitter}

    def as_recorded(self, numbers: Mapping[str, Any]) -> Retry:
        """Return this with the numbers that are in the history: a running step keeps what it was scheduled with."""
        return Retry(on=self.on, never=self.never, **numbers)


ONCE = Retry(attempts=1)
"""No second attempt."""
