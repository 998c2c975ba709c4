"""Forking: a run's history up to before a step was asked for, as the beginning of another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from revenant.errors import ConfigurationError
from revenant.workflows import events as e
from revenant.workflows.arguments import MOST
from revenant.workflows.events import ASKS, Event
from revenant.workflows.lasting import clock_of
from revenant.workflows.lineage import forked
from revenant.workflows.view import View
from revenant.workflows.workflow import Workflow

_KEPT = (e.RUN_STARTED, e.SIGNAL_RECEIVED, e.SIGNAL_REFUSED, e.UPDATE_RECEIVED, e.UPDATE_REFUSED, e.UPDATE_ANSWERED)
"""Of what belongs to the run as a whole, what its code may depend on; what people did to it stays with it."""
_OF_THE_RUN_ALONE = (
    "parent", "continues", "children", "timeout", "updates", "forked_from",
)  # fmt: skip
"""What the first event says of the run that it was, and not of one that begins with its history."""


def step_of(history: Sequence[Event], step: str | int | None, *, what: str) -> int:
    """Return the number of the operation that is meant: by name, by number, or else the last step that failed.

    Raises:
        ConfigurationError: there is no such step, or there are several of that name.
    """
    asked = {event.op: event for event in history if event.type in ASKS and "undoes" not in event.data}
    if isinstance(step, int):
        if step in asked:
            return step
        raise ConfigurationError(f"{what} has no operation {step}. It has {_names(asked)}; nothing was forked.")
    if step is None:
        failed = [event.op for event in history if event.type == e.STEP_FAILED and event.op in asked]
        if failed and failed[-1] is not None:
            return failed[-1]
        if not asked:
            raise ConfigurationError(
                f"{what} has asked for nothing yet, so there is nothing that a fork would keep. Start it anew, under "
                "another id, with the same input. Nothing was forked."
            )
        raise ConfigurationError(f"{what} has no step that failed. Say before which to fork: {_names(asked)}.")
    named = [number for number, event in asked.items() if event.data["name"] == step and number is not None]
    if len(named) == 1:
        return named[0]
    if named:
        numbers = ", ".join(map(str, named[:20]))
        raise ConfigurationError(
            f"{what} has asked for {step!r} {len(named)} times. Say which by its number: {numbers}."
        )
    raise ConfigurationError(f"{what} has not asked for {step!r}. It has {_names(asked)}; nothing was forked.")


def check_undone(history: Sequence[Event], number: int, *, what: str) -> None:
    """Refuse a fork that would take for done what has been undone, or is being undone.

    What was registered to be undone is taken to be about the operation before it, as in `flow.step(charge)`, then
    `flow.on_failure(refund)`: a fork from that one on, or an earlier one, does it anew.

    Raises:
        ConfigurationError: the fork begins later than that.
    """
    asks = {event.op: event for event in history if event.type in ASKS and "undoes" not in event.data}
    begun = {event.data["undoes"] for event in history if event.type == e.STEP_SCHEDULED and "undoes" in event.data}
    undone = [event for op, event in asks.items() if op in begun]
    if not undone:
        return
    before = [event for event in asks.values() if event.seq < undone[0].seq and event.type != e.UNDO_REGISTERED]
    last = before[-1] if before else undone[0]
    if asks[number].seq > last.seq:
        names = ", ".join(str(event.data["name"]) for event in undone[:20])
        raise ConfigurationError(
            f"{what} has undone what it did ({names}), and a fork from operation {number} on would take that for done. "
            f"Fork it from operation {last.op} on (step={last.op}, --step {last.op}), the last one before the first of "
            "these was registered, or from an earlier one. Where what was undone is there again by other means, say "
            "even_undone=True (--even-undone). Nothing was forked."
        )


def cut(history: Sequence[Event], number: int, *, origin: Mapping[str, Any]) -> list[Event]:
    """Return the history up to before that operation was asked for, numbered from 1.

    What was open then is left out as well: the code asks for it anew, and it is done anew.
    """
    until = next(event.seq for event in history if event.type in ASKS and event.op == number)
    past = [event for event in history if event.seq < until]
    view = View()
    for event in past:
        view.take(event)
    kept: list[Event] = []
    numbers: dict[int, int] = {}
    for event in past:
        if (event.op is None and event.type not in (*_KEPT, e.PATCH_RECORDED)) or event.op in view.operations:
            continue
        numbers[event.seq] = len(kept) + 1
        kept.append(Event(len(kept) + 1, event.type, event.op, event.at, _told(event, numbers)))
    kept[0].data["forked_from"] = forked(origin, past[0].data.get("forked_from"), numbers)
    return kept


def _told(event: Event, numbers: Mapping[int, int]) -> dict[str, Any]:
    data = dict(event.data)
    if event.type == e.RUN_STARTED:
        data = {name: value for name, value in data.items() if name not in _OF_THE_RUN_ALONE}
    if "signal" in data:
        data["signal"] = numbers.get(data["signal"], data["signal"])
    if event.type == e.UPDATE_RECEIVED:
        # Whoever sent it is answered by the run that it was sent to.
        data["origin"] = None
    if event.type == e.CHILD_STARTED:
        data["on_close"] = "abandon"
    return data


def begins_with(told: Sequence[Sequence[Any]], workflow: Workflow[Any, Any], version: int) -> list[Event]:
    """Return a history that came in a message, [type, op, at, data] each, as that of a run of this code.

    Raises:
        ValueError: it is none.
    """
    try:
        history = [
            _checked(e.read_event({"seq": seq, "type": type, "op": op, "at": at, "data": data}))
            for seq, (type, op, at, data) in enumerate(told, 1)
        ]
        first = history[0]
        history[0] = first._replace(data={**first.data, "version": version, **clock_of(workflow)})
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"What it is to begin with is no history: {error}. Fork by app.fork().") from None
    if first.type != e.RUN_STARTED:
        raise ValueError(f"What it is to begin with is no history: it begins with {first.type}. Fork by app.fork().")
    return history


def _checked(event: Event) -> Event:
    """Return what a history may hold behind its beginning, before its end.

    Raises:
        ValueError: it may not.
    """
    type_, data, op = cast(tuple[object, object, object], (event.type, event.data, event.op))
    if op is None:
        may = event.seq == 1 or type_ in (*_KEPT[1:], e.PATCH_RECORDED)
    else:
        may = type(op) is int and 0 < op <= MOST and isinstance(type_, str) and type_ != ""
    if not (may and isinstance(data, dict) and event.at.tzinfo is not None):
        raise ValueError(f"its event {event.seq} is {event.type!r} of operation {event.op!r}")
    return event


def _names(asked: Mapping[int | None, Event]) -> str:
    names = [f"{number} {event.data['name']!r}" for number, event in asked.items()]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none yet"
