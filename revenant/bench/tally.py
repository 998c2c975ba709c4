"""Tally: what the replies say against what is stored: whether a message was lost, or counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from revenant.bench.load import Measured


@dataclass(frozen=True, slots=True)
class Tally:
    """`expected` and `unknown` are what callers heard, `total` is the sum of the counters as committed."""

    expected: int
    total: int
    unknown: int = 0
    errors: int = 0
    first_error: str | None = None

    @property
    def sound(self) -> bool:
        """Whether each answered message counted once, and nothing else did but those whose outcome is unknown."""
        return not self.errors and self.expected <= self.total <= self.expected + self.unknown

    def words(self) -> str:
        """Return what is wrong, for people."""
        return (
            f"{self.expected:,} messages were answered and {self.unknown:,} are unknown, yet the counters sum up to "
            f"{self.total:,}; {self.errors:,} requests failed. {self.first_error or ''}".strip()
        )

    def as_json(self) -> dict[str, int]:
        """Return the figures by the names of `--json`."""
        return {"errors": self.errors, "unknown": self.unknown, "expected": self.expected, "total": self.total}


def tally(parts: Sequence[Measured], *, total: int, more: int = 0) -> Tally:
    """Sum up what callers heard; `more` are requests that failed elsewhere."""
    return Tally(
        expected=sum(len(part.latencies) for part in parts),
        total=total,
        unknown=sum(part.unknown for part in parts),
        errors=sum(part.errors for part in parts) + more,
        first_error=next((part.first_error for part in parts if part.first_error), None),
    )
