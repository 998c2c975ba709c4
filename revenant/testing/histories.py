"""Histories: what `revenant run history` and `revenant run export` print, read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from revenant.errors import ConfigurationError
from revenant.workflows.events import RUN_MIGRATED, RUN_STARTED, Event

Given = Path | str | Iterable[Event | Mapping[str, Any]]
"""A file, its text, or the events themselves."""


class History(NamedTuple):
    """One run's events, and what else was told of it."""

    events: list[Event]
    id: str | None
    """The run's id; None: it is not told, as in a bare list of events."""
    run: str | None
    """The stream's own id; None as above."""

    @property
    def workflow(self) -> str:
        """The name of its workflow."""
        return str(self.events[0].data["workflow"])

    @property
    def version(self) -> int:
        """The version with whose code a worker goes on with it."""
        told = [one.data["version"] for one in self.events if one.type == RUN_MIGRATED]
        return int(told[-1] if told else self.events[0].data.get("version", 1))


def read_histories(given: Given) -> list[History]:
    """Return the histories in a file, a text or a list of events, in their order.

    Raises:
        ConfigurationError: it holds none, or something else as well.
    """
    what = repr(str(given)[:60])
    try:
        values = _values(given)
        runs = [one for one in values if isinstance(one, Mapping) and "events" in one]
        if runs and len(runs) == len(values):
            return [_history(one["events"], one.get("id"), one.get("run")) for one in runs]
        return [_history(values, None, None)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{what} holds no history of a run ({type(error).__name__}: {error}). Give the file, the text or the "
            "events that `revenant run history -o json` or `revenant run export` print, or what run.history() returns."
        ) from None


def _values(given: Given) -> Sequence[Any]:
    """Return the events, or the runs, that were given."""
    if isinstance(given, str) and not given.strip():
        raise ValueError("it is empty")
    if isinstance(given, str) and given.lstrip()[:1] not in ("[", "{"):
        given = Path(given)
    text = given.read_text("utf-8") if isinstance(given, Path) else given
    if not isinstance(text, str):
        return list(text)
    try:
        value = from_json(text)
    except ValueError:
        return [from_json(line) for line in text.splitlines() if line.strip()]
    return value if isinstance(value, list) else [value]


def _history(events: Iterable[Any], id: str | None, run: str | None) -> History:
    found = [one if isinstance(one, Event) else _event(one) for one in events]
    if not found or found[0].type != RUN_STARTED or not isinstance(found[0].data, Mapping):
        raise ValueError(f"its first event is no {RUN_STARTED}")
    if [one.seq for one in found] != list(range(1, len(found) + 1)):
        raise ValueError("its events are not numbered from 1 without gaps")
    return History(found, id, run)


def _event(told: Mapping[str, Any]) -> Event:
    at, data = told["at"], told["data"]
    return Event(
        int(told["seq"]),
        told["type"],
        told["op"],
        at if isinstance(at, datetime) else datetime.fromisoformat(at),
        from_json(data) if isinstance(data, str) else data,
    )
