"""Retry: how often a failed attempt of a step is followed by another one, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revenant.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What becomes of a step's failed attempts.

    `attempts` (at least 1) bounds them, crashes of workers not counted. Before the second one `backoff` seconds pass,
    before each further one `factor` times as many, `longest` at most, each with up to a quarter more or less by chance.
    Only exceptions of the types `on` are followed by another attempt, and those of the types `never` are not.

    Example:
        >>> Retry(attempts=3, backoff=0.5, on=(ConnectionError, TimeoutError)).pause(2, 0.5)
        1.0
    """

    attempts: int = 5
    backoff: float = 1.0
    factor: float = 2.0
    longest: float = 3600.0
    on: tuple[type[BaseException], ...] = (Exception,)
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        for name in ("attempts", "backoff", "factor", "longest"):
            number: object = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int if name == "attempts" else int | float):
                unit = {"attempts": "a whole number", "factor": "a number"}.get(name, "a number of seconds")
                raise ConfigurationError(f"Retry({name}=…) takes {unit}, and got {number!r}.")
        if self.attempts < 1 or self.backoff < 0 or self.factor < 1 or self.longest <= 0:
            raise ConfigurationError(
                f"{self!r} makes no sense: attempts is at least 1, backoff at least 0, factor at least 1, and longest "
                "more than 0."
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
        return min(self.backoff * self.factor**power, self.longest) * (0.75 + chance / 2)

    def recorded(self) -> dict[str, Any]:
        """Return the numbers that a step was scheduled with, for whoever reads its history."""
        return {"attempts": self.attempts, "backoff": self.backoff, "factor": self.factor, "longest": self.longest}

    def as_recorded(self, numbers: Mapping[str, Any]) -> Retry:
        """Return this with the numbers that are in the history: a running step keeps what it was scheduled with."""
        return Retry(on=self.on, never=self.never, **numbers)


ONCE = Retry(attempts=1)
"""No second attempt."""
