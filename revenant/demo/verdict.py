"""Verdict: committed states against what the file says, field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from revenant.demo.fold import Record

SHOWN = 10
"""Differences that are kept as text; all are counted."""


@dataclass(slots=True)
class Verdict:
    """What the comparison found. `lost` and `doubled` count messages, `mismatched` entities."""

    entities: int = 0
    lost: int = 0
    doubled: int = 0
    mismatched: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every entity is what the file says, and there is no other."""
        return not (self.lost or self.doubled or self.mismatched)


class Comparison:
    """Takes committed states one by one; what nobody brought is lost.

    The sum of the fields `counts` says how many messages an entity was told.

    Example:
        >>> comparison = Comparison({"N1": expected})
        >>> comparison.add("N1", state_as_json)
        >>> comparison.close().clean
        True
    """

    def __init__(self, expected: dict[str, Record], *, counts: Sequence[str] = ("flights", "cancellations")) -> None:
        self._expected = expected
        self._counts = counts
        self._missing = set(expected)
        self._verdict = Verdict()

    def add(self, name: str, state: str) -> None:
        """Compare one entity's committed state, as JSON text."""
        self._verdict.entities += 1
        self._missing.discard(name)
        self._judge(name, self._expected.get(name, {}), json.loads(state))

    def close(self) -> Verdict:
        """Count the entities that are not there, and return the verdict."""
        for name in sorted(self._missing):
            self._judge(name, self._expected[name], {})
        self._missing.clear()
        return self._verdict

    def _judge(self, key: str, expected: Record, found: Record) -> None:
        difference = self._told(found) - self._told(expected)
        self._verdict.lost += max(0, -difference)
        self._verdict.doubled += max(0, difference)
        fields = [name for name in sorted(expected.keys() | found.keys()) if _differ(name, expected, found)]
        if not fields:
            return
        self._verdict.mismatched += 1
        if len(self._verdict.differences) < SHOWN:
            parts = (f"{name} is {_shown(found, name)}, should be {_shown(expected, name)}" for name in fields)
            self._verdict.differences.append(f"{key}: {'; '.join(parts)}")

    def _told(self, record: Record) -> int:
        """Return how many messages an entity was told."""
        return sum(_whole(record.get(name)) for name in self._counts)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _differ(name: str, expected: Record, found: Record) -> bool:
    absent = object()
    return bool(expected.get(name, absent) != found.get(name, absent))


def _shown(record: Record, name: str) -> str:
    return json.dumps(record[name], ensure_ascii=False) if name in record else "(nothing)"
