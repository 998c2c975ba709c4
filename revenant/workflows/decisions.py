"""Decisions: the view that a decider decides by, reduced from the events of its run, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, overload

from revenant.workflows import events as e
from revenant.workflows.events import ASKS, Event
from revenant.workflows.signature import Shape
from revenant.workflows.step import as_step
from revenant.workflows.view import Signal, View

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What a command came to.

    `type` is `step`, `timer`, `wait`, `call` or `child`; `state` is `done`, `failed` or, of a wait, `expired`. `value`
    is what JSON holds of the result. `attempts` counts those of a step. `seq` is the number of its event.
    """

    seq: int
    op: int
    type: str
    name: str
    state: str
    value: Any = None
    error: dict[str, Any] | None = None
    attempts: int = 0


@dataclass(slots=True)
class DecisionView(Generic[I]):
    """What a decider knows: nothing but what its run's events say. It looks, and changes nothing here.

    `outcomes` are those of all commands, in the order of their events; `results` those of the steps that succeeded,
    `timers`, `waits`, `calls` and `children` the others by type. `failure` is what failed of the last command.
    `signals` have all been received so far, whether or not a command waited for them.
    """

    input: I
    id: str = ""
    """The run's id."""
    now: datetime | None = None
    """When the last event happened, by the database's clock."""
    outcomes: list[Outcome] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    results: list[Outcome] = field(default_factory=list, init=False)
    timers: list[Outcome] = field(default_factory=list, init=False)
    waits: list[Outcome] = field(default_factory=list, init=False)
    calls: list[Outcome] = field(default_factory=list, init=False)
    children: list[Outcome] = field(default_factory=list, init=False)
    seq: int = field(default=0, init=False)
    """The number of the last event."""
    _since: int = field(default=0, init=False, repr=False)
    _latest: dict[str, Outcome] = field(default_factory=dict, init=False, repr=False)
    _open: dict[int, tuple[str, str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        outcomes, self.outcomes = self.outcomes, []
        for outcome in outcomes:
            self.add(outcome)
        self._since = max(len(self.outcomes) - 1, 0)

    @property
    def failure(self) -> Outcome | None:
        """The first failed outcome of the command that came last; None if it failed in nothing."""
        return next((one for one in self.outcomes[self._since :] if one.state == "failed"), None)

    def result(self, step: Callable[..., Any] | str, *, default: Any = None) -> Any:
        """Return the latest result of a step, read by the step's annotation if its function is given, not its name."""
        name = step if isinstance(step, str) else as_step(step).name
        found = self._latest.get(name)
        if found is None:
            return default
        return found.value if isinstance(step, str) else as_step(step).signature.result.read(found.value)

    @overload
    def signal(self, name: str, type: type[T]) -> T | None: ...

    @overload
    def signal(self, name: str, type: Any = ...) -> Any: ...

    def signal(self, name: str, type: Any = Any) -> Any:
        """Return the payload of the latest signal of that name, read as the type; None if none came."""
        for one in reversed(self.signals):
            if one.name == name:
                return Shape(type, of=f"The signal {name!r}").read(one.payload)
        return None

    def add(self, outcome: Outcome) -> None:
        """Take in what a command came to; for tests of deciders, and for the reducer."""
        self.outcomes.append(outcome)
        if outcome.type != "step":
            self._of_type(outcome.type).append(outcome)
        elif outcome.state == "done":
            self.results.append(outcome)
            self._latest[outcome.name] = outcome

    def _of_type(self, type: str) -> list[Outcome]:
        found: list[Outcome] = getattr(self, _LISTS[type])
        return found

    # What the run tells.

    def decided(self) -> None:
        """Another command is on its way: what comes now belongs to that one."""
        self._since = len(self.outcomes)

    def take(self, event: Event, view: View) -> None:
        """Take in an event that the run's own view has taken in just now."""
        self.now, self.seq = event.at, event.seq
        if event.type == e.RUN_STARTED:
            self.signals += [signal for waiting in view.signals.waiting.values() for signal in waiting]
        elif event.type == e.SIGNAL_RECEIVED:
            data = event.data
            self.signals.append(Signal(event.seq, data["name"], data.get("payload"), None))
            self._delivered(event, view)
        elif event.type == e.SIGNAL_TAKEN:
            self._delivered(event, view)
        elif event.type == e.SIGNAL_REFUSED:
            self.signals = [one for one in self.signals if one.seq != event.data.get("signal")]
        elif event.type in _STATES:
            self._outcome(event)
        elif event.type == e.CHILD_STARTED and not event.data["wait"]:
            self._begun(event)
        elif event.op is not None and event.type in ASKS and event.type not in _AT_ONCE:
            self._open[event.op] = (ASKS[event.type], event.data["name"])

    def at_once(self, number: int, type: str, name: str, value: Any, seq: int) -> None:
        """Take in the outcome of a command that was answered before an event says that it was asked for."""
        self.add(Outcome(seq, number, type, name, "done", value))

    def _delivered(self, event: Event, view: View) -> None:
        number, signal = view.delivered.get(event.seq, (0, None))
        if signal is not None:
            self._open.pop(number, None)
            self.add(Outcome(signal.seq, number, "wait", signal.name, "done", signal.payload))

    def _begun(self, event: Event) -> None:
        """A child is there that nobody waits for; where its code has run here, that is known already."""
        known = next((one for one in self.children if one.op == event.op), None)
        if known is not None:
            known.seq = event.seq
        elif event.op is not None:
            self.add(Outcome(event.seq, event.op, "child", event.data["name"], "done", event.data["id"]))

    def _outcome(self, event: Event) -> None:
        asked = self._open.pop(event.op or 0, None)
        state = _STATES[event.type]
        if asked is None or event.op is None or state is None:
            return
        if event.data.get("status", "ok") != "ok":
            state = "failed"
        data = event.data
        attempts = data.get("attempts", data.get("attempt", 0))
        self.add(Outcome(event.seq, event.op, *asked, state, data.get("result"), data.get("error"), attempts))


_LISTS = {"timer": "timers", "wait": "waits", "call": "calls", "child": "children"}
_AT_ONCE = (e.SIGNAL_TAKEN, e.CAST_SENT, e.JOB_DEFERRED, e.UNDO_REGISTERED)
_STATES = {
    e.STEP_SUCCEEDED: "done",
    e.TIMER_FIRED: "done",
    e.CALL_ANSWERED: "done",
    e.CHILD_FINISHED: "done",
    e.STEP_FAILED: "failed",
    e.WAIT_EXPIRED: "expired",
    **dict.fromkeys(e.GIVEN_UP),
}
"""What has become of a command by an event; None: nobody waits for it any more."""
