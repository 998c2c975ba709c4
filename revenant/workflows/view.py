"""View: what the events of a run come to, reduced one after another. A run has no other state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from revenant.workflows import events as e
from revenant.workflows.events import ENDS, Event
from revenant.workflows.leftovers import left_by
from revenant.workflows.pending import Updates
from revenant.workflows.seen import OperationView, Signal
from revenant.workflows.signals import Signals

__all__ = ["OperationView", "Signal", "View"]


@dataclass(slots=True)
class View:
    """What a run is, by its events."""

    keep: bool = False
    """Whether operations that have ended are kept, for whoever looks at them."""
    input: Any = None
    started: Event | None = None
    version: int = 0
    generation: int = 1
    """Which history of the run this is: one more for each time that it went on afresh."""
    children: dict[int, tuple[str, str]] = field(default_factory=dict)
    """(workflow, id) of the children that nobody waits for, and that are to be cancelled when the run ends."""
    operations: dict[int, OperationView] = field(default_factory=dict)
    highest: int = 0
    """The highest number of an operation."""
    signals: Signals = field(default_factory=Signals)
    delivered: dict[int, tuple[int, Signal]] = field(default_factory=dict)
    """Signals by the number of their event that an operation had waited for, until the code has got them."""
    signal_ids: dict[str, None] = field(default_factory=dict)
    """The ids that signals came with, in the order in which they came."""
    updates: Updates = field(default_factory=Updates)
    decisions: dict[int, tuple[str, Any]] = field(default_factory=dict)
    """What was decided about which approval, with its name, by operation."""
    patches: set[str] = field(default_factory=set)
    undos: list[int] = field(default_factory=list)
    """Numbers of what is to be undone, in the order in which it was registered."""
    undone: set[int] = field(default_factory=set)
    undo_errors: list[dict[str, Any]] = field(default_factory=list)
    closing: Event | None = None
    """Why it ends: it was cancelled, or has failed; what is to be undone comes first."""
    status: str = "running"
    """`running`, `parked` or `blocked`, and at the end `completed`, `failed` or `cancelled`."""
    problem: str | None = None
    recoveries: int = 0
    released: bool = False
    """Whether its owner has let it go although attempts were under way: whoever is next goes on with them."""
    continued: Any = None
    """The input with which it goes on afresh."""
    continued_now: bool = False
    """Whether its history ends with the wish to go on afresh."""
    seq: int = 0
    now: datetime | None = None
    end: Event | None = None

    def take(self, event: Event) -> None:
        """Take the next event in."""
        self.seq = event.seq
        self.now = event.at
        reduce = _REDUCERS.get(event.type)
        if reduce is not None:
            reduce(self, event)

    @property
    def over(self) -> bool:
        """Whether there will be no further event."""
        return self.end is not None

    def waits_for(self, name: str, type: str) -> OperationView | None:
        """Return the open operation that takes what is sent under this name: the one that has waited longest."""
        waits = (one for one in self.operations.values() if one.type == type and one.name == name)
        return next((one for one in waits if one.state == "open"), None)

    def _close(self, number: int | None, state: str, **outcome: Any) -> None:
        found = self.operations.get(number or 0)
        if found is None:
            return
        found.state, found.running, found.pausing = state, False, False
        for name, value in outcome.items():
            setattr(found, name, value)
        undo = found.asked.get("undoes")
        if undo is not None:
            self.undone.add(undo)
            if state == "failed":
                self.undo_errors.append({"op": undo, "name": found.name, "error": found.error})
        if not self.keep:
            del self.operations[found.number]


def _started(view: View, event: Event) -> None:
    view.started, view.input, view.version = event, event.data.get("input"), event.data["version"]
    view.generation = event.data.get("generation", 1)
    if "signals" in event.data:
        # What nobody had taken when the run went on afresh.
        view.children = {-1 - place: (name, id) for place, (name, id) in enumerate(event.data.get("children", ()))}
        view.signals = Signals.of(event.data.get("signals", ()))
        view.signal_ids.update(dict.fromkeys(event.data.get("signal_ids", ())))
        view.updates = Updates.of(event.data.get("updates", {}))


def _asked(type: str) -> Callable[[View, Event], None]:
    def reduce(view: View, event: Event) -> None:
        assert event.op is not None
        due = event.data.get("due")
        made = OperationView(event.op, type, event.data["name"], event.data, event.at)
        made.due = datetime.fromisoformat(due) if due else None
        view.operations[event.op] = made
        view.highest = max(view.highest, event.op)

    return reduce


def _at_once(type: str) -> Callable[[View, Event], None]:
    ask = _asked(type)

    def reduce(view: View, event: Event) -> None:
        ask(view, event)
        view._close(event.op, "done", result=event.data.get("id"))

    return reduce


def _undo(view: View, event: Event) -> None:
    _at_once("undo")(view, event)
    assert event.op is not None
    view.undos.append(event.op)


def _attempt_started(view: View, event: Event) -> None:
    view.released = False
    found = view.operations.get(event.op or 0)
    if found is not None:
        found.attempt, found.running, found.pausing = event.data["attempt"], True, False
        found.due, found.deaths = None, 0


def _attempt_failed(view: View, event: Event) -> None:
    found = view.operations.get(event.op or 0)
    if found is not None:
        found.running, found.error = False, event.data["error"]


def _retry_scheduled(view: View, event: Event) -> None:
    found = view.operations.get(event.op or 0)
    if found is not None:
        found.pausing, found.due = True, datetime.fromisoformat(event.data["due"])


def _retry_fired(view: View, event: Event) -> None:
    found = view.operations.get(event.op or 0)
    if found is not None:
        found.pausing, found.due = False, None


def _child(view: View, event: Event) -> None:
    _asked("child")(view, event)
    if not event.data["wait"]:
        view._close(event.op, "done", result=event.data["id"])
        if event.data["on_close"] == "cancel":
            view.children[event.op or 0] = (event.data["name"], event.data["id"])


def _done(view: View, event: Event) -> None:
    view._close(event.op, "done", result=event.data.get("result"))


def _decided(view: View, event: Event) -> None:
    _done(view, event)
    assert event.op is not None
    view.decisions[event.op] = (event.data["name"], event.data["result"])


def _failed(view: View, event: Event) -> None:
    view._close(event.op, "failed", error=event.data.get("error"))


def _cancelled(view: View, event: Event) -> None:
    view._close(event.op, "cancelled")


def _answered(view: View, event: Event) -> None:
    if event.op is None:
        # A child that nobody waits for.
        ended = event.data["workflow"], event.data["id"]
        view.children = {number: child for number, child in view.children.items() if child != ended}
    elif event.data.get("status", "ok") == "ok":
        _done(view, event)
    else:
        _failed(view, event)


def _signal(view: View, event: Event) -> None:
    data = event.data
    update: str | None = data.get("message")
    if update is not None:
        view.updates.receive(data)
    elif data.get("id") is not None:
        view.signal_ids[data["id"]] = None
    signal = Signal(event.seq, data["name"], data.get("payload"), update)
    first = view.waits_for(signal.name, "wait" if update is None else "update")
    if first is None:
        view.signals.add(signal)
    else:
        view.delivered[signal.seq] = (first.number, signal)
        view._close(first.number, "done", result=signal.payload)


def _taken(type: str) -> Callable[[View, Event], None]:
    ask = _at_once(type)

    def reduce(view: View, event: Event) -> None:
        ask(view, event)
        signal = view.signals.drop(event.data["name"], event.data["signal"])
        if signal is not None and event.op is not None:
            view.delivered[event.seq] = (event.op, signal)
            if event.op in view.operations:
                view.operations[event.op].result = signal.payload

    return reduce


def _signal_refused(view: View, event: Event) -> None:
    if "signal" in event.data:
        view.signals.drop(event.data["name"], event.data["signal"])


def _update_joined(view: View, event: Event) -> None:
    view.updates.join(event.data)


def _update_refused(view: View, event: Event) -> None:
    _signal_refused(view, event)
    if "status" in event.data:
        view.updates.settle(event.data)


def _update_answered(view: View, event: Event) -> None:
    _at_once("reply")(view, event)
    view.updates.settle(event.data)


def _patch(view: View, event: Event) -> None:
    view.patches.add(event.data["name"])


def _closing(view: View, event: Event) -> None:
    view.closing = event
    if view.status in ("parked", "blocked"):
        view.status, view.problem = "running", None


def _status(status: str) -> Callable[[View, Event], None]:
    def reduce(view: View, event: Event) -> None:
        view.status, view.problem = status, event.data.get("reason")

    return reduce


def _unblocked(view: View, event: Event) -> None:
    # One that is parked stays so.
    if view.status == "blocked":
        view.status, view.problem = "running", None
    if event.type == e.RUN_MIGRATED:
        view.version = event.data["version"]
        return
    for found in view.operations.values():
        found.deaths = 0


def _continued(view: View, event: Event) -> None:
    view.continued, view.continued_now = event.data["input"], True


def _released(view: View, event: Event) -> None:
    view.released = event.type == e.RUN_RELEASED


def _recovered(view: View, event: Event) -> None:
    view.recoveries += 1
    view.released = False
    for number in event.data["died"]:
        found = view.operations.get(number)
        if found is not None:
            found.deaths += 1


def _ended(view: View, event: Event) -> None:
    view.end, view.status, view.problem = event, ENDS[event.type], left_by(event.data)
    for found in view.operations.values():
        found.running = False


_REDUCERS: dict[str, Callable[[View, Event], None]] = {
    e.RUN_STARTED: _started,
    e.RUN_PARKED: _status("parked"),
    e.RUN_BLOCKED: _status("blocked"),
    e.RUN_RESUMED: _status("running"),
    e.RUN_REQUEUED: _unblocked,
    e.RUN_MIGRATED: _unblocked,
    e.RUN_RECOVERED: _recovered,
    e.RUN_CONTINUED: _continued,
    e.RUN_RELEASED: _released,
    e.RUN_TAKEN: _released,
    e.RUN_CANCELLING: _closing,
    e.RUN_FAILING: _closing,
    **dict.fromkeys(ENDS, _ended),
    e.STEP_SCHEDULED: _asked("step"),
    e.TIMER_SCHEDULED: _asked("timer"),
    e.WAIT_STARTED: _asked("wait"),
    e.CALL_SENT: _asked("call"),
    e.CHILD_STARTED: _child,
    e.APPROVAL_ASKED: _asked("approval"),
    e.CAST_SENT: _at_once("cast"),
    e.JOB_DEFERRED: _at_once("job"),
    e.UNDO_REGISTERED: _undo,
    e.ATTEMPT_STARTED: _attempt_started,
    e.ATTEMPT_FAILED: _attempt_failed,
    e.RETRY_SCHEDULED: _retry_scheduled,
    e.RETRY_FIRED: _retry_fired,
    e.STEP_SUCCEEDED: _done,
    e.TIMER_FIRED: _done,
    e.APPROVAL_GIVEN: _decided,
    e.STEP_FAILED: _failed,
    e.WAIT_EXPIRED: _failed,
    **dict.fromkeys(e.GIVEN_UP, _cancelled),
    e.CALL_ANSWERED: _answered,
    e.CHILD_FINISHED: _answered,
    e.SIGNAL_RECEIVED: _signal,
    e.SIGNAL_TAKEN: _taken("wait"),
    e.SIGNAL_REFUSED: _signal_refused,
    e.UPDATE_AWAITED: _asked("update"),
    e.UPDATE_RECEIVED: _signal,
    e.UPDATE_JOINED: _update_joined,
    e.UPDATE_TAKEN: _taken("update"),
    e.UPDATE_REFUSED: _update_refused,
    e.UPDATE_ANSWERED: _update_answered,
    e.PATCH_RECORDED: _patch,
}
