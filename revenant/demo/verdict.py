"""Verdict: committed states against what the file says, field by field."""

from __future__ import annotations

import json
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

    Example:
        >>> comparison = Comparison({"N1": expected})
        >>> comparison.add("N1", state_as_json)
        >>> comparison.close().clean
        True
    """

    def __init__(self, expected: dict[str, Record]) -> None:
        self._expected = expected
        self._missing = set(expected)
        self._verdict = Verdict()

    def add(self, tailnum: str, state: str) -> None:
        """Compare one entity's committed state, as JSON text."""
        self._verdict.entities += 1
        self._missing.discard(tailnum)
        self._judge(tailnum, self._expected.get(tailnum, {}), json.loads(state))

    def close(self) -> Verdict:
        """Count the entities that are not there, and return the verdict."""
        for tailnum in sorted(self._missing):
            self._judge(tailnum, self._expected[tailnum], {})
        self._missing.clear()
        return self._verdict

    def _judge(self, tailnum: str, expected: Record, found: Record) -> None:
        difference = _told(found) - _told(expected)
        self._verdict.lost += max(0, -difference)
        self._verdict.doubled += max(0, difference)
        fields = [name for name in sorted(expected.keys() | found.keys()) if _differ(name, expected, found)]
        if not fields:
            return
        self._verdict.mismatched += 1
        if len(self._verdict.differences) < SHOWN:
            parts = (f"{name} is {_shown(found, name)}, should be {_shown(expected, name)}" for name in fields)
            self._verdict.differences.append(f"{tailnum}: {'; '.join(parts)}")


def _told(record: Record) -> int:
    """Return how many flights an aircraft was told of."""
    return _whole(record.get("flights")) + _whole(record.get("cancellations"))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _differ(name: str, expected: Record, found: Record) -> bool:
    absent = object()
    return bool(expected.get(name, absent) != found.get(name, absent))


def _shown(record: Record, name: str) -> str:
    return json.dumps(record[name], ensure_ascii=False) if name in record else "(nothing)"
