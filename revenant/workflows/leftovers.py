"""Leftovers: what a run that has ended was to undo and did not, as words for whoever has to see to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from revenant.wording import raised

MOST = 5
"""So many are named."""
LONGEST = 300
"""Characters of each."""


def left_by(data: Mapping[str, Any]) -> str | None:
    """Return what is left, by a run's last event; None where there is nothing that anybody has to see to."""
    found = list(_each(data))
    if not found:
        return None
    more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    return f"It left what was not undone: {'; '.join(found[:MOST])}{more}."


def _each(data: Mapping[str, Any]) -> Iterator[str]:
    for one in data.get("undo_errors") or ():
        error = one.get("error") or {}
        why = " ".join(raised(error.get("type"), error.get("message")).split()).rstrip(".")[:LONGEST]
        yield f"{one.get('name')} (for operation {one.get('op')}) failed with {why}"
    for number in data.get("not_undone") or ():
        yield f"operation {number}, for which nothing was tried"
    if data.get("note"):
        yield "whatever was registered, since its history could not be read"
