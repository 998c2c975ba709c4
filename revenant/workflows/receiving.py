"""Receiving: what a message that reaches a run becomes: an event, and an answer to whoever waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from revenant.queue.records import Delivery
from revenant.workflows import events as e
from revenant.workflows.approving import decide
from revenant.workflows.arguments import Unusable, read_args
from revenant.workflows.controlling import CONTROLS
from revenant.workflows.ending import give_up_dropped
from revenant.workflows.lasting import time_out
from revenant.workflows.late import answer_of, ended
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import Misfit, WaitOperation
from revenant.workflows.outside import expire, take_step
from revenant.workflows.replying import refuse, reply, stand, tell
from revenant.workflows.seen import OperationView
from revenant.workflows.updating import receive_update, refuse_update

Details = dict[str, Any]


def receive(run: LiveRun, delivery: Delivery) -> None:
    """Take one message in; it leaves the mailbox with the commit of what it led to."""
    # What came before it may have ended a wait that this one must not go to.
    give_up_dropped(run)
    run.draft.consumed.append(delivery.taken)
    take = _DOORS.get(delivery.handler)
    if take is None:
        refuse(run, delivery, "UnknownHandler", f"A run takes no {delivery.handler!r}.")
        return
    try:
        args = read_args(delivery)
    except Unusable as error:
        refuse(run, delivery, "InvalidArguments", str(error))
        return
    if run.view.over:
        _too_late(run, delivery, args)
    else:
        take(run, delivery, args)


def _too_late(run: LiveRun, delivery: Delivery, args: Details) -> None:
    known = answer_of(run.view, delivery.handler, args)
    if known is not None:
        tell(run, delivery.id, delivery.origin, *known)
        return
    refuse(run, delivery, "RunEnded", ended(run.address, run.view.status, delivery.handler))


def _fire(run: LiveRun, delivery: Delivery, args: Details) -> None:
    number = args["op"]
    if args["run"] != run.run:
        return
    if args["what"] == "timeout":
        time_out(run)
        return
    found = run.view.operations.get(number)
    if found is None or found.state != "open":
        return
    if found.type == "timer":
        run.record(e.TIMER_FIRED, number)
    elif found.type in ("wait", "update", "approval"):
        run.record(e.WAIT_EXPIRED, number)
        if found.type == "approval":
            run.draft.withdraw(number)
    elif found.pausing and args.get("attempt") == found.attempt + 1:
        run.record(e.RETRY_FIRED, number, attempt=found.attempt + 1)
    elif found.asked.get("external") and args["what"] == f"attempt {found.attempt}":
        expire(run, found, found.attempt)


def _answer(run: LiveRun, delivery: Delivery, args: Details) -> None:
    found = run.view.operations.get(args["op"])
    if found is None or found.type != "call" or found.asked["id"] != args["id"]:
        return
    outcome = {"result": args.get("body")} if args["status"] == "ok" else {"error": args.get("body") or {}}
    run.record(e.CALL_ANSWERED, args["op"], status=args["status"], **outcome)


def _finished(run: LiveRun, delivery: Delivery, args: Details) -> None:
    found = run.view.operations.get(args["op"])
    if found is None or found.type != "child" or found.asked["id"] != args["id"] or args["run"] != run.run:
        child = args.get("workflow"), args["id"]
        if child in run.view.children.values():
            # Nobody waits for it; it is not to be cancelled any more.
            run.record(e.CHILD_FINISHED, None, workflow=child[0], id=child[1], status=args["status"])
        return
    outcome = {"result": args.get("result")} if args["status"] == "ok" else {"error": args.get("error") or {}}
    run.record(e.CHILD_FINISHED, args["op"], id=args["id"], status=args["status"], **outcome)


def _signal(run: LiveRun, delivery: Delivery, args: Details) -> None:
    name, payload, id = args["name"], args.get("payload"), args.get("id")
    if id is not None and id in run.view.signal_ids:
        reply(run, delivery, False)
        return
    known = {} if id is None else {"id": id}
    waiting = run.view.waits_for(name, "wait")
    misfit = _misfit(run, waiting, payload)
    if misfit is not None:
        run.record(e.SIGNAL_REFUSED, None, name=name, payload=payload, reason=misfit.why, **known)
        text = f"Run {run.key!r} cannot take signal {name!r}: {misfit.told}"
        refuse(run, delivery, misfit.error, text)
        return
    run.record(e.SIGNAL_RECEIVED, None, name=name, payload=payload, **known)
    _in_time(run, waiting)
    reply(run, delivery, True)


def _update(run: LiveRun, delivery: Delivery, args: Details) -> None:
    name, payload, id = args["name"], args.get("payload"), args.get("id")
    waiting = run.view.waits_for(name, "update")
    misfit = _misfit(run, waiting, payload) if id is None or id not in run.view.updates.ids else None
    if misfit is not None:
        refuse_update(run, delivery, name, payload, misfit)
        return
    receive_update(run, delivery, name, payload, id)
    _in_time(run, waiting)


def _misfit(run: LiveRun, waiting: OperationView | None, payload: Any) -> Misfit | None:
    """Return why the code, if it waits for that now, cannot take it."""
    operation = None if waiting is None else run.operations.get(waiting.number)
    return operation.misfit(payload) if isinstance(operation, WaitOperation) else None


def _in_time(run: LiveRun, waiting: OperationView | None) -> None:
    """What was waited for has come: its time-out is not to come any more."""
    if waiting is not None and waiting.due is not None and waiting.state != "open":
        run.draft.cancels.append(run.id_of(waiting.number, "wait"))


def _control(run: LiveRun, delivery: Delivery, args: Details) -> None:
    before = run.view.seq
    why = CONTROLS[delivery.handler](run, args)
    if why is None:
        stand(run, delivery, changed=run.view.seq > before)
    else:
        refuse(run, delivery, "RunRefused", why)


def _go(run: LiveRun, delivery: Delivery, args: Details) -> None:
    """It was let go, and is read again by whoever has this message."""


_DOORS: dict[str, Callable[[LiveRun, Delivery, Details], None]] = {
    "go": _go,
    "fire": _fire,
    "answer": _answer,
    "finished": _finished,
    "signal": _signal,
    "update": _update,
    "decide": decide,
    **dict.fromkeys(CONTROLS, _control),
    "step": take_step,
}
