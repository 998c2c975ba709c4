"""Replaying: whether today's code fits the history of a run that earlier code has made; no step is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar, overload

from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.errors import ConfigurationError, Nondeterministic, RevenantError
from revenant.testing.histories import Given, History, read_histories
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.attempts import BUDGET_EXCEEDED
from revenant.workflows.contradiction import ends_otherwise
from revenant.workflows.decider import Decider, as_workflow
from revenant.workflows.events import ENDS, Event
from revenant.workflows.flow import ContinueAsNew
from revenant.workflows.live import LiveRun
from revenant.workflows.workflow import Workflow

R = TypeVar("R")
_CLOSING = {**ENDS, e.RUN_FAILING: "failed", e.RUN_CANCELLING: "cancelled", e.RUN_CONTINUED: "continued"}
"""The events after which the code is not run any more, and what the run has come to by them."""
_FROM_OUTSIDE = ("RunTimeout", BUDGET_EXCEEDED)
"""Errors that end a run wherever its code is."""
_REFUSED = ("Unstorable", "TooLarge", "InvalidArguments", "ConfigurationError")
"""Errors that end it where what the code asks for cannot be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed(Generic[R]):
    """What today's code came to at the end of a history.

    `status` is `open` (the code waits, for what `waits` names), `completed` (with `result`), `failed` (with `error`) or
    `continued`. A run that was cancelled, or that ran out of its time, leaves the code `open`.
    """

    id: str | None
    status: str
    result: R | None
    error: BaseException | None
    waits: tuple[str, ...]


@overload
def replay(
    history: Given, workflow: Workflow[Any, R], *, id: str | None = None, run: str | None = None
) -> Replayed[R]: ...


@overload
def replay(
    history: Given, workflow: type[Decider[Any, R]], *, id: str | None = None, run: str | None = None
) -> Replayed[R]: ...


def replay(
    history: Given,
    workflow: Workflow[Any, Any] | type[Decider[Any, Any]],
    *,
    id: str | None = None,
    run: str | None = None,
) -> Replayed[Any]:
    """Run today's code along one recorded history, without its steps, and return what it came to.

    `history` is a path, or the text, of what `revenant run history -o json` or `revenant run export` print, or a list
    of events. A bare list does not tell the run's id: give it, and the `run` that `revenant run show -o json` names, to
    code that uses `flow.id`, `flow.random()` or `flow.uuid()`.

    Raises:
        Nondeterministic: the code does not fit: its text shows what each of the two says.
        ConfigurationError: that is no history of one run of this workflow.

    Example:
        >>> assert replay("tests/histories/order-42.json", checkout).status == "completed"
    """
    found = read_histories(history)
    if len(found) != 1:
        raise ConfigurationError(
            f"There are histories of {len(found)} runs, and replay() takes one. Use replay_all(), which runs the code "
            "along each of them."
        )
    return _replay(found[0]._replace(id=id or found[0].id, run=run or found[0].run), _code(workflow))


@overload
def replay_all(histories: Given, workflow: Workflow[Any, R], *, version: int | None = None) -> list[Replayed[R]]: ...


@overload
def replay_all(
    histories: Given, workflow: type[Decider[Any, R]], *, version: int | None = None
) -> list[Replayed[R]]: ...


def replay_all(
    histories: Given, workflow: Workflow[Any, Any] | type[Decider[Any, Any]], *, version: int | None = None
) -> list[Replayed[Any]]:
    """Run today's code along those of the runs in an export that a worker would have go on with it.

    They are of this workflow and of this code's version; `revenant run export` writes them. `version=` names another
    one, whose runs are to be moved to this code by `revenant run migrate`.

    Raises:
        Nondeterministic: the code does not fit one of them, or more: the text names each, and says why.
        ConfigurationError: there is no such run.
    """
    code = _code(workflow)
    wanted = code.version if version is None else version
    of_it = [one for one in read_histories(histories) if one.workflow == code.name]
    if not of_it:
        raise ConfigurationError(f"There is no run of {code.name!r} among these histories. Which workflow are they of?")
    found = [one for one in of_it if one.version == wanted]
    if not found:
        there = ", ".join(str(number) for number in sorted({one.version for one in of_it}))
        raise ConfigurationError(
            f"There is no run of version {wanted} of {code.name!r} among these histories; they are of version {there}. "
            "A worker goes on with a run by the code of its own version: pass that code. To see whether other code "
            "fits, as before `revenant run migrate`, name their version: replay_all(…, version=1)."
        )
    return _each(found, code)


def _each(found: list[History], code: Workflow[Any, Any]) -> list[Replayed[Any]]:
    came, misfits = [], []
    for one in found:
        try:
            came.append(_replay(one, code))
        except Nondeterministic as error:
            misfits.append(error)
    if len(misfits) == 1:
        raise misfits[0]
    if misfits:
        told = "".join(f"\n{error}" for error in misfits)
        raise Nondeterministic(f"{len(misfits)} of these {len(found)} histories do not fit the code:{told}")
    return came


def _code(workflow: object) -> Workflow[Any, Any]:
    found = as_workflow(workflow)
    if found is None:
        raise ConfigurationError(f"{workflow!r} is no workflow. Pass a function marked with @workflow, or a Decider.")
    return found


def _replay(history: History, workflow: Workflow[Any, Any]) -> Replayed[Any]:
    if history.workflow != workflow.name:
        raise ConfigurationError(
            f"The history is of a run of {history.workflow!r}, and the code is that of {workflow.name!r}."
        )
    # That it was blocked is no answer to whether it would be, today.
    events = [one for one in history.events if one.type != e.RUN_BLOCKED]
    last = next((place for place, one in enumerate(events) if one.type in _CLOSING), len(events))
    live = _live(history, workflow)
    try:
        live.load(_before(events, last), ended=last < len(events))
        if live.problem is not None:
            raise Nondeterministic(live.problem)
        came = _came_to(live, history.id)
    finally:
        live.put_aside()
    if last < len(events):
        _compare(live, events[last], came)
    return came


def _before(events: list[Event], last: int) -> list[Event]:
    """Return the events before the last one, and before what was given up for it: the code had no part in that."""
    while events[last - 1].type in e.GIVEN_UP:
        last -= 1
    return events[:last]


def _live(history: History, workflow: Workflow[Any, Any]) -> LiveRun:
    key = history.id or "(no id given)"
    bucket = bucket_of(workflow.kind, key)
    return LiveRun(
        address=Address(bucket, workflow.kind, key),
        run=history.run or new_id(bucket),
        workflow=workflow,
        now=history.events[0].at,
        chance=lambda: 0.5,
        limit=Settings().max_bytes,
    )


def _came_to(live: LiveRun, id: str | None) -> Replayed[Any]:
    end = live.replay.end if live.replay is not None else None
    if end is None:
        waits = tuple(f"{one.type} {one.name}" for _, one in sorted(live.operations.items()))
        return Replayed(id=id, status="open", result=None, error=None, waits=waits)
    error = end.error
    if error is None:
        try:
            live.workflow.result.write(end.value, limit=live.limit)
        except RevenantError as refused:
            error = refused
    status = "completed" if error is None else "continued" if isinstance(error, ContinueAsNew) else "failed"
    told = None if isinstance(error, ContinueAsNew) else error
    return Replayed(id=id, status=status, result=end.value if error is None else None, error=told, waits=())


def _compare(live: LiveRun, last: Event, came: Replayed[Any]) -> None:
    """Compare how the run has ended with what the code came to."""
    recorded = _CLOSING[last.type]
    error = last.data.get("error") or {}
    if recorded == "cancelled" or error.get("type") in _FROM_OUTSIDE:
        return
    if came.status == recorded or (came.status == "open" and error.get("error") in _REFUSED):
        return
    _refuse(live, last, recorded, came)


def _refuse(live: LiveRun, last: Event, recorded: str, came: Replayed[Any]) -> NoReturn:
    if came.status == "open":
        does = "waits there for " + (", ".join(came.waits) or "nothing that can be answered")
    elif came.status == "failed":
        does = f"fails there with {type(came.error).__name__}: {came.error}"
    else:
        does = f"has {came.status} there"
    raise Nondeterministic(ends_otherwise(live.key, live.workflow, last, recorded, does))
