"""Asking: what the code has asked for is recorded, and what follows from it leaves with the same commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import to_json

from revenant.codec import ANYTHING, bucket_of, check_key, dump
from revenant.queue.records import Envelope, Scheduled
from revenant.queue.runs import run_origin
from revenant.workflows import events as e
from revenant.workflows.approval import ApprovalOperation
from revenant.workflows.draft import Task
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import (
    CallOperation,
    CastOperation,
    ChildOperation,
    JobOperation,
    Operation,
    StepOperation,
    TimerOperation,
    UndoOperation,
    WaitOperation,
)
from revenant.workflows.update import ReplyOperation, UpdateOperation
from revenant.workflows.updating import answer_update
from revenant.workflows.workflow import KIND


def ask(run: LiveRun, number: int, operation: Operation[Any]) -> None:
    """Record what the code asks for under this number."""
    _DOORS[operation.type](run, number, operation)


def _step(run: LiveRun, number: int, operation: StepOperation[Any]) -> None:
    told: dict[str, Any] = {
        "name": operation.name,
        "version": operation.step.version,
        "input": list(operation.args),
        **operation.options.recorded(),
        "key": operation.idempotency or run.id_of(number, "step"),
    }
    if operation.transaction:
        told["transaction"] = True
    run.record(e.STEP_SCHEDULED, number, **told)


def _timer(run: LiveRun, number: int, operation: TimerOperation) -> None:
    due = operation.at.isoformat() if operation.at is not None else run.moment(operation.after or 0.0)
    run.record(e.TIMER_SCHEDULED, number, name=operation.name, due=due)
    run.come_back(number, "timer", after=operation.after, at=operation.at)


def _wait(run: LiveRun, number: int, operation: WaitOperation[Any]) -> None:
    taken = run.taken.get(number) or run.came_meanwhile(operation)
    is_update = operation.type == "update"
    if taken is not None:
        type = e.UPDATE_TAKEN if is_update else e.SIGNAL_TAKEN
        run.record(type, number, name=operation.name, signal=taken.seq)
        return
    due = {} if operation.after is None else {"due": run.moment(operation.after)}
    run.record(e.UPDATE_AWAITED if is_update else e.WAIT_STARTED, number, name=operation.name, **due)
    if operation.after is not None:
        run.come_back(number, "wait", after=operation.after)


def _approval(run: LiveRun, number: int, operation: ApprovalOperation[Any]) -> None:
    due = operation.at.isoformat() if operation.at is not None else None
    if operation.after is not None:
        due = run.moment(operation.after)
    told: dict[str, Any] = {"name": operation.name, "assignee": operation.assignee}
    told["input"] = {"about": operation.about, "form": operation.schema()}
    run.record(e.APPROVAL_ASKED, number, **told, **({} if due is None else {"due": due}))
    run.draft.hand_out(task_of(run, number))
    if due is not None:
        run.come_back(number, "wait", after=operation.after, at=operation.at)


def _call(run: LiveRun, number: int, operation: CallOperation[Any]) -> None:
    message, made = operation.message, run.id_of(number, "call")
    message.send_as(made)
    where = {"kind": message.kind, "key": message.key, "handler": message.handler}
    run.record(e.CALL_SENT, number, name=operation.name, **where, id=_id(made, message.kind, message.key))
    run.draft.sends.append(_envelope(run, operation, made, origin=run_origin(run.address.kind, run.key, number)))


def _cast(run: LiveRun, number: int, operation: CastOperation) -> None:
    message, made = operation.message, run.id_of(number, "cast")
    message.send_as(made)
    where = {"kind": message.kind, "key": message.key, "handler": message.handler}
    run.record(e.CAST_SENT, number, name=operation.name, **where, id=_id(made, message.kind, message.key))
    envelope = _envelope(run, operation, made, origin=None)
    if operation.after is None:
        run.draft.sends.append(envelope)
    else:
        run.draft.schedules.append(Scheduled(*envelope[:6], None, 0, operation.after, None))


def _envelope(
    run: LiveRun, operation: CallOperation[Any] | CastOperation, made: str, *, origin: str | None
) -> Envelope:
    message = operation.message
    bucket = bucket_of(message.kind, message.key)
    made = _id(made, message.kind, message.key)
    return Envelope(bucket, message.kind, message.key, made, message.handler, message.args, origin, None)


def _id(made: str, kind: str, key: str) -> str:
    """Return the id with the bucket of whom it is sent to."""
    return f"{made[:-2]}{bucket_of(kind, key):02x}"


def _child(run: LiveRun, number: int, operation: ChildOperation[Any]) -> None:
    kind = f"{KIND}{operation.workflow}"
    key = check_key(kind, run.child_id(number, operation.id))
    asked = {"name": operation.name, "id": key, "input": operation.input, "on_close": operation.on_close}
    run.record(e.CHILD_STARTED, number, **asked, wait=operation.wait)
    args: dict[str, Any] = {"input": operation.input}
    # Of the end of one that nobody waits for nobody is told, unless it would be cancelled; its start may be refused.
    told = operation.wait or operation.on_close == "cancel"
    args["parent"] = [run.address.kind, run.key, number, told, run.run]
    made = _id(run.id_of(number, "child"), kind, key)
    run.draft.sends.append(Envelope(bucket_of(kind, key), kind, key, made, "start", to_json(args).decode(), None, None))


def _job(run: LiveRun, number: int, operation: JobOperation) -> None:
    kwargs = dump(ANYTHING, operation.kwargs, what=f"The arguments of job {operation.name!r}", limit=run.limit)
    run.record(e.JOB_DEFERRED, number, name=operation.name, arguments=kwargs)
    run.draft.jobs.append(operation)


def _undo(run: LiveRun, number: int, operation: UndoOperation) -> None:
    told = {"name": operation.name, "version": operation.step.version, "input": list(operation.args)}
    run.record(e.UNDO_REGISTERED, number, **told, **operation.options.recorded())


_DOORS: dict[str, Callable[[LiveRun, int, Any], None]] = {
    StepOperation.type: _step,
    TimerOperation.type: _timer,
    WaitOperation.type: _wait,
    UpdateOperation.type: _wait,
    ReplyOperation.type: answer_update,
    ApprovalOperation.type: _approval,
    CallOperation.type: _call,
    CastOperation.type: _cast,
    ChildOperation.type: _child,
    JobOperation.type: _job,
    UndoOperation.type: _undo,
}


def task_of(run: LiveRun, number: int) -> Task:
    """Return what somebody outside is to do for an operation."""
    found = run.view.operations[number]
    due = None if found.due is None else found.due.isoformat()
    text = to_json(found.asked.get("input")).decode()
    return Task(
        number,
        found.type,
        found.name,
        max(found.attempt, 1),
        found.asked.get("assignee"),
        text,
        due,
        found.asked.get("key"),
    )
