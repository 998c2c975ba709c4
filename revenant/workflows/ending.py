"""Ending: how a run comes to its one last event: what is open is cancelled, and what is to be undone, undone."""

from __future__ import annotations

import traceback
from typing import Any

from pydantic_core import to_json

from revenant.codec import as_text, bucket_of, new_id
from revenant.errors import RevenantError, RunFailed, StepFailed
from revenant.queue.records import Envelope
from revenant.workflows import events as e
from revenant.workflows import tasks
from revenant.workflows.address import Address
from revenant.workflows.approving import withdraw
from revenant.workflows.asking import ask
from revenant.workflows.commands import Failing
from revenant.workflows.events import Event
from revenant.workflows.flow import ContinueAsNew
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import UndoOperation
from revenant.workflows.replay import Answer
from revenant.workflows.updating import end_updates
from revenant.workflows.view import View
from revenant.workflows.workflow import KIND

LONGEST_WORDS = 64 * 1024
_GIVEN_UP = {
    "step": e.STEP_CANCELLED,
    "timer": e.TIMER_CANCELLED,
    "wait": e.WAIT_CANCELLED,
    "update": e.WAIT_CANCELLED,
    "call": e.CALL_ABANDONED,
    "child": e.CHILD_ABANDONED,
    "approval": e.WAIT_CANCELLED,
}


def give_up(run: LiveRun, number: int) -> None:
    """Nobody waits for this operation any more: record it, and have whatever goes on for it end."""
    found = run.view.operations.get(number)
    if found is None or found.state != "open":
        return
    if found.type == "timer":
        run.draft.cancels.append(run.id_of(number, "timer"))
    elif found.type == "approval":
        withdraw(run, found)
    elif found.type in ("wait", "update") and found.due is not None:
        run.draft.cancels.append(run.id_of(number, "wait"))
    elif found.pausing:
        run.draft.cancels.append(run.id_of(number, f"retry {found.attempt + 1}"))
    elif found.type == "child" and found.asked.get("on_close") == "cancel":
        _cancel_child(run, f"{number}/close", found.asked["id"], found.name)
    if found.asked.get("external"):
        tasks.withdraw(run, found)
    elif found.running:
        run.draft.stops.append(number)
        # Where it was taken over in the same breath, it has not even begun here.
        run.draft.starts = [start for start in run.draft.starts if start.op != number]
    run.record(_GIVEN_UP[found.type], number)


def give_up_dropped(run: LiveRun) -> None:
    """Record what the code does not wait for any more, before anything else comes for that."""
    given_up, run.given_up = run.given_up, []
    for number in given_up:
        give_up(run, number)


def _cancel_child(run: LiveRun, what: str, key: str, workflow: str) -> None:
    kind = f"{KIND}{workflow}"
    bucket = bucket_of(kind, key)
    made = f"{run.id_of(0, what)[:-2]}{bucket:02x}"
    told = {
        "reason": f"its parent, run {run.key!r}, does not wait for it any more",
        "parent": [run.address.kind, run.key],
    }
    args = to_json(told).decode()
    run.draft.sends.append(Envelope(bucket, kind, key, made, "cancel", args, None, None))


def finish(run: LiveRun, came_to: Answer) -> None:
    """The code has ended: with a result, an error, or a wish to go on afresh."""
    if isinstance(came_to.error, ContinueAsNew):
        _continue(run, came_to.error)
    elif isinstance(came_to.error, Failing):
        fail(run, {name: as_text(str(value)) for name, value in came_to.error.details.items()})
    elif came_to.error is not None:
        fail(run, error_of(came_to.error))
    else:
        try:
            result = run.workflow.result.write(came_to.value, limit=run.limit)
        except RevenantError as error:
            fail(run, error_of(error))
            return
        _give_up_all(run)
        end(run, e.RUN_COMPLETED, result=result)


def fail(run: LiveRun, error: dict[str, Any]) -> None:
    """The run fails; what is to be undone comes first."""
    register(run)
    if run.view.undos:
        close(run, e.RUN_FAILING, error=error)
    else:
        _give_up_all(run)
        end(run, e.RUN_FAILED, error=error)


def close(run: LiveRun, type: str, **data: Any) -> None:
    """Record that the run is about to end: nobody waits for what is open any more, whatever comes for it yet.

    What is open of a blocked run is looked at when it goes on, which may be in another process.
    """
    view = run.view
    blocked = view.status == "blocked" or run.problem is not None
    problem = view.problem if view.status == "blocked" and view.closing is None else None
    run.record(type, None, **data)
    if any(number not in run.undos for number in not_undone(view)):
        # What it is blocked for keeps it from undoing, too.
        run.problem = run.problem or problem
    if not blocked:
        _give_up_open(run)


def _give_up_open(run: LiveRun) -> None:
    for number, found in list(run.view.operations.items()):
        if "undoes" not in found.asked:
            give_up(run, number)


def register(run: LiveRun) -> None:
    """Record what the code has registered to be undone and could not say: the run is parked, or ends in that breath."""
    for number, operation in sorted(run.unrecorded.items()):
        if isinstance(operation, UndoOperation):
            ask(run, number, operation)


def not_undone(view: View) -> list[int]:
    """Return what is still to be undone, should the run end now."""
    return [number for number in view.undos if number not in view.undone]


def go_on_closing(run: LiveRun) -> None:
    """Cancel what is open, begin the next thing to be undone, or come to the end."""
    view = run.view
    assert view.closing is not None
    _give_up_open(run)
    if any("undoes" in found.asked for found in view.operations.values()):
        return
    left = [number for number in not_undone(view) if number in run.undos]
    if left:
        undo = run.undos[left[-1]]
        number = view.highest + 1
        told = {"name": undo.name, "version": undo.step.version, "input": list(undo.args), "undoes": left[-1]}
        run.record(e.STEP_SCHEDULED, number, **told, **undo.options.recorded(), key=run.id_of(left[-1], "undo"))
        return
    data = dict(view.closing.data)
    if view.undone:
        data["undone"] = sorted(view.undone)
    if skipped := not_undone(view):
        # The code that would undo these is not here.
        data["not_undone"] = skipped
    if view.undo_errors:
        data["undo_errors"] = view.undo_errors
    end(run, e.RUN_CANCELLED if view.closing.type == e.RUN_CANCELLING else e.RUN_FAILED, **data)


def release(run: LiveRun) -> None:
    """Let a run go with its attempts under way: whoever comes next goes on with the same ones."""
    if not any(one.running and not one.asked.get("external") for one in run.view.operations.values()):
        return
    run.record(e.RUN_RELEASED, None)
    call_back(run)


def call_back(run: LiveRun) -> None:
    """Have whoever comes next read the run, even if this process does not live to do so itself."""
    bucket, kind, key = run.address
    if all(sent.handler != "go" for sent in run.draft.sends if sent[:3] == run.address):
        run.draft.sends.append(Envelope(bucket, kind, key, new_id(bucket), "go", "{}", None, None))


def _give_up_all(run: LiveRun) -> None:
    for number in list(run.view.operations):
        give_up(run, number)


def end(run: LiveRun, type: str, **data: Any) -> None:
    """Record the last event, and tell whoever waits for it."""
    last = run.record(type, None, **data)
    _stop_clock(run)
    end_updates(run)
    for number, (workflow, key) in run.view.children.items():
        _cancel_child(run, f"{number}/close", key, workflow)
    assert run.view.started is not None
    parent = run.view.started.data.get("parent")
    if parent is not None and parent[3]:
        run.draft.sends.append(finished_message(parent, run, last))


def finished_message(parent: list[Any], run: LiveRun, last: Event) -> Envelope:
    """Return what tells a parent how its child has ended."""
    kind, key, number, _, stream = parent
    bucket = bucket_of(kind, key)
    args: dict[str, Any] = {"run": stream, "op": number, "id": run.key, "child": run.run, "status": "ok"}
    args["workflow"] = run.address.workflow
    if last.type == e.RUN_COMPLETED:
        args["result"] = last.data["result"]
    else:
        args |= {"status": e.ENDS[last.type], "error": last.data.get("error") or _cancelled(last)}
    return Envelope(bucket, kind, key, new_id(bucket), "finished", to_json(args).decode(), None, None)


def refused_child(parent: list[Any], child: Address, error: str, why: str) -> Envelope:
    """Return what tells a parent that the child it asked for was not started."""
    kind, own, number, _, stream = parent
    bucket = bucket_of(kind, own)
    told = {"error": error, "type": error, "message": why}
    args = {"run": stream, "op": number, "id": child.key, "status": "failed", "error": told}
    args["workflow"] = child.workflow
    return Envelope(bucket, kind, own, new_id(bucket), "finished", to_json(args).decode(), None, None)


def _cancelled(last: Event) -> dict[str, Any]:
    return {"error": "RunCancelled", "type": "RunCancelled", "message": last.data.get("reason") or "it was cancelled"}


def _continue(run: LiveRun, wish: ContinueAsNew) -> None:
    try:
        given = run.workflow.write_input(wish.given, limit=run.limit)
    except RevenantError as error:
        fail(run, error_of(error))
        return
    _give_up_all(run)
    # The fresh history has a time-out of its own.
    _stop_clock(run)
    run.record(e.RUN_CONTINUED, None, input=given)


def _stop_clock(run: LiveRun) -> None:
    assert run.view.started is not None
    if run.view.started.data.get("timeout") is not None:
        run.draft.cancels.append(run.id_of(0, "timeout"))


def error_of(error: BaseException) -> dict[str, Any]:
    """Return an exception as what JSON holds of it."""
    name, module = type(error).__qualname__, type(error).__module__
    told: dict[str, Any] = {
        "error": name if isinstance(error, RevenantError) else "RunFailed",
        "type": as_text(name if module in ("builtins", "__main__") else f"{module}.{name}"),
        "message": as_text(_words(error)),
        "traceback": as_text(_traceback(error)),
    }
    if isinstance(error, StepFailed | RunFailed):
        told["cause"] = {"type": as_text(error.type), "message": as_text(error.message)}
    path = getattr(error, "path", None) if isinstance(error, RevenantError) else None
    return told if path is None else {**told, "path": as_text(str(path))}


def _words(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST_WORDS]
    except BaseException:  # noqa: BLE001 # a broken __str__ is the user's, and must not cost more than its words
        return "(its text cannot be read: __str__ raised)"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-LONGEST_WORDS:]
    except BaseException:  # noqa: BLE001 # as above: a chained exception may be broken, too
        return "(its traceback cannot be written)"
