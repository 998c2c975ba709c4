"""Telling: what runs have come to, as telemetry, once it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from revenant import telemetry
from revenant.workflows import events as e
from revenant.workflows.events import ENDS, Event
from revenant.workflows.live import LiveRun
from revenant.workflows.view import View

Told = tuple[Mapping[str, float], Mapping[str, object]]
"""Measurements, and metadata besides the run's own."""


def tell_committed(live: LiveRun, events: Sequence[Event]) -> None:
    """Tell whoever listens what of one run is committed now."""
    if not telemetry.handlers:
        return
    who = {"workflow": live.address.workflow, "run_id": live.address.key}
    for event in events:
        known = NAMES.get(event.type)
        if known is not None:
            name, say = known
            measured, told = say(event, live.view)
            telemetry.emit(name, measured, {**who, **told})


def _nothing(event: Event, view: View) -> Told:
    return {}, {}


def _start(event: Event, view: View) -> Told:
    return {}, {"version": event.data["version"]}


def _end(event: Event, view: View) -> Told:
    seconds = 0.0 if view.started is None else (event.at - view.started.at).total_seconds()
    error = (event.data.get("error") or {}).get("type")
    return {"duration": max(seconds, 0.0)}, {"outcome": ENDS[event.type], "error": error}


def _retry(event: Event, view: View) -> Told:
    found = view.operations.get(event.op or 0)
    return {"delay": event.data["after"]}, {
        "step": None if found is None else found.name,
        "attempt": event.data["attempt"],
    }


def _recover(event: Event, view: View) -> Told:
    return {"attempts": len(event.data["died"])}, {}


def _signal(event: Event, view: View) -> Told:
    return {}, {"signal": event.data["name"]}


NAMES: dict[str, tuple[str, Callable[[Event, View], Told]]] = {
    e.RUN_STARTED: ("run.start", _start),
    **dict.fromkeys(ENDS, ("run.end", _end)),
    e.RUN_BLOCKED: ("run.block", _nothing),
    e.RUN_PARKED: ("run.park", _nothing),
    e.RUN_RESUMED: ("run.resume", _nothing),
    e.RUN_REQUEUED: ("run.requeue", _nothing),
    e.RUN_MIGRATED: ("run.migrate", _start),
    e.RUN_CANCELLING: ("run.cancel", _nothing),
    e.RUN_RECOVERED: ("run.recover", _recover),
    e.RETRY_SCHEDULED: ("step.retry", _retry),
    e.SIGNAL_RECEIVED: ("signal.receive", _signal),
    e.SIGNAL_REFUSED: ("signal.refuse", _signal),
    e.TIMER_FIRED: ("timer.fire", _nothing),
}
"""By the types of the events that are told of: their names here, and what is told."""
