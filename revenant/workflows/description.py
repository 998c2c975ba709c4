"""Description: a run as a person wants to see it, by its row and its events; read only, and without its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from revenant.workflows import events as e
from revenant.workflows.attempts import budget_of, is_suspect
from revenant.workflows.events import Event
from revenant.workflows.seen import OperationView
from revenant.workflows.view import View
from revenant.workflows.workflow import KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDescription:
    """One attempt of a step; `version` is that of the code where it is not the one that the step was asked for with."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    error: dict[str, Any] | None
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDescription:
    """One thing that the run's code asked for: a step, timer, wait, call, child …, by its number."""

    number: int
    type: str
    name: str
    state: str
    """`open`, then `done`, `failed` or `cancelled`."""
    asked_at: datetime
    ended_at: datetime | None
    due: datetime | None
    """When it goes on by itself: a timer, a time-out, the next attempt."""
    running: bool
    """Whether an attempt is under way."""
    retrying: bool
    """Whether the next attempt waits for `due`."""
    deaths: int
    """How many processes died while the attempt was under way."""
    recoveries: int
    """At how many of them its run fails."""
    apart: bool
    """Whether it is run in a cell, after so many of them."""
    attempts: tuple[AttemptDescription, ...]
    version: int | None
    """Of a step's code, as it was asked for."""
    result: Any
    error: dict[str, Any] | None
    """Of the last attempt, or of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerDescription:
    """The worker that has attempts of the run under way."""

    id: str
    host: str | None
    pid: int | None
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """A run: where it stands, what it waits for, and all that its code asked for in its current history."""

    workflow: str
    id: str
    status: str
    """`running`, `waiting`, `parked`, `blocked`, and at the end `completed`, `failed` or `cancelled`."""
    version: int
    problem: str | None
    """Why it is parked or blocked; of a run that has ended, what it left that was not undone."""
    resolved: Mapping[str, Any] | None
    """Who has seen to it after it had ended, `by`, with which `note`, and when, `at`."""
    closing: str | None
    """`cancelling` or `failing` while what it did is being undone."""
    reason: str | None
    """Why it was cancelled, where somebody said so."""
    input: Any
    result: Any
    error: dict[str, Any] | None
    not_undone: tuple[int, ...]
    """Of a run that has ended: what was registered to be undone, by its operations, and was not even tried."""
    undo_errors: tuple[dict[str, Any], ...]
    """What was to be undone and failed for good: `op`, `name` and `error` of each."""
    note: str | None
    """What else its last event says of the end."""
    shown: Any
    """What its code shows: `run.state()`."""
    operations: tuple[OperationDescription, ...]
    signals: Mapping[str, int]
    """How many signals nobody has taken yet, by name."""
    events: int
    owner: OwnerDescription | None
    fence: int
    recoveries: int
    """How often a worker died that had attempts of it under way."""
    messages: int
    """How many messages wait for it."""
    parent: tuple[str, str] | None
    """The workflow and the id of the run that started it."""
    forked_from: Mapping[str, Any] | None
    """The run whose history it began with, and up to which operation."""
    run: str
    """The id of its current history."""
    earlier: tuple[str, ...]
    """Those of the histories that it went on from, the latest first."""
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None

    @property
    def waits(self) -> tuple[OperationDescription, ...]:
        """What it waits for now."""
        return tuple(one for one in self.operations if one.state == "open" and not one.running)

    @property
    def timers(self) -> tuple[OperationDescription, ...]:
        """Those of them that become due by themselves."""
        return tuple(one for one in self.waits if one.due is not None)


def describe(
    kind: str, key: str, row: Mapping[str, Any], events: Sequence[Event], *, earlier: Iterable[str]
) -> RunDescription:
    """Return the description of a run, by its row and all events of its current history."""
    view, heard = View(keep=True), dict[int, datetime]()
    for event in events:
        # What was sent names no operation: the view knows whose wait it ends.
        kind_of_wait = _SENT.get(event.type)
        waiting = None if kind_of_wait is None else view.waits_for(event.data["name"], kind_of_wait)
        view.take(event)
        if waiting is not None and waiting.state != "open":
            heard[waiting.number] = event.at
    last = view.end.data if view.end is not None else {}
    first = view.started.data if view.started is not None else {}
    closing = view.closing.data if view.closing is not None else {}
    owner = row["owner"]
    return RunDescription(
        workflow=kind.removeprefix(KIND), id=key, status=row["status"], version=row["version"], problem=row["problem"],
        resolved=row["resolved"],
        closing=None if view.closing is None or view.over else view.closing.type.partition(".")[2],
        input=view.input, result=last.get("result"), error=last.get("error"), shown=row["view"],
        reason=last.get("reason") or closing.get("reason"), not_undone=tuple(last.get("not_undone") or ()),
        undo_errors=tuple(view.undo_errors), note=last.get("note"),
        operations=_operations(view, events, heard),
        signals={name: len(waiting) for name, waiting in view.signals.waiting.items() if waiting},
        events=row["seq"],
        owner=None if owner is None else OwnerDescription(
            id=owner, host=row["host"], pid=row["pid"], alive=bool(row["alive"])
        ),
        fence=row["fence"], recoveries=row["recoveries"], messages=row["messages"],
        parent=_parent(first.get("parent")), forked_from=first.get("forked_from"),
        run=row["run"], earlier=tuple(earlier), started_at=row["started_at"], updated_at=row["updated_at"],
        ended_at=row["ended_at"], expires_at=row["expires_at"],
    )  # fmt: skip


def _parent(parent: Sequence[Any] | None) -> tuple[str, str] | None:
    return None if parent is None else (str(parent[0]).removeprefix(KIND), str(parent[1]))


def _operations(view: View, events: Sequence[Event], heard: Mapping[int, datetime]) -> tuple[OperationDescription, ...]:
    attempts: dict[int, dict[int, AttemptDescription]] = {}
    last: dict[int, datetime] = {}
    for event in events:
        if event.op is None:
            continue
        last[event.op] = event.at
        tries = attempts.setdefault(event.op, {})
        if event.type == e.ATTEMPT_STARTED:
            number, version = event.data["attempt"], event.data.get("version")
            tries[number] = AttemptDescription(
                number=number, started_at=event.at, ended_at=None, error=None, version=version
            )
        elif event.type in _ATTEMPT_ENDS and tries:
            began = tries[max(tries)]
            if began.ended_at is None:
                tries[began.number] = AttemptDescription(
                    number=began.number, started_at=began.started_at, ended_at=event.at,
                    error=event.data.get("error"), version=began.version,
                )  # fmt: skip
    for number, at in heard.items():
        last[number] = max(last[number], at)
    return tuple(
        _operation(one, tuple(attempts.get(one.number, {}).values()), last[one.number])
        for one in sorted(view.operations.values(), key=lambda one: one.number)
    )


def _operation(one: OperationView, attempts: tuple[AttemptDescription, ...], last: datetime) -> OperationDescription:
    return OperationDescription(
        number=one.number, type=one.type, name=one.name, state=one.state, asked_at=one.asked_at,
        ended_at=None if one.state == "open" else last,
        due=one.due if one.state == "open" else None, running=one.running, retrying=one.pausing,
        deaths=one.deaths, recoveries=budget_of(one), apart=is_suspect(one),
        attempts=attempts, version=one.asked.get("version") if one.type in ("step", "undo") else None,
        result=one.result, error=one.error,
    )  # fmt: skip


_SENT = {e.SIGNAL_RECEIVED: "wait", e.UPDATE_RECEIVED: "update"}
_ATTEMPT_ENDS = (e.ATTEMPT_FAILED, e.STEP_SUCCEEDED, e.STEP_FAILED, e.STEP_CANCELLED)
