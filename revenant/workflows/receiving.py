"""Receiving: what a message that reaches a run becomes: an event, and an answer to whoever waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import to_json

from revenant.queue.records import Delivery, Reply
from revenant.workflows import events as e
from revenant.workflows.arguments import Unusable, read_args
from revenant.workflows.ending import fail
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import WaitOperation

Details = dict[str, Any]


def receive(run: LiveRun, delivery: Delivery) -> None:
    """Take one message in; it leaves the mailbox with the commit of what it led to."""
    run.draft.consumed.append((delivery.tid, delivery.seq))
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
        _too_late(run, delivery)
    else:
        take(run, delivery, args)


def reply(run: LiveRun, delivery: Delivery, value: Any) -> None:
    """Answer whoever waits for that."""
    if delivery.origin is not None:
        body = to_json(value).decode()
        run.draft.replies.append((Reply(delivery.id, "ok", run.view.seq, body), delivery.origin))


def refuse(run: LiveRun, delivery: Delivery, error: str, message: str) -> None:
    """Tell whoever waits for an answer why nothing was done."""
    if delivery.origin is not None:
        body = to_json({"error": error, "type": error, "message": message}).decode()
        run.draft.replies.append((Reply(delivery.id, "error", run.view.seq, body), delivery.origin))


def _too_late(run: LiveRun, delivery: Delivery) -> None:
    refuse(
        run,
        delivery,
        "RunEnded",
        f"Run {run.key!r} of {run.address.workflow} has ended ({run.view.status}); {delivery.handler!r} did nothing.",
    )


def _fire(run: LiveRun, delivery: Delivery, args: Details) -> None:
    number = args["op"]
    if args["run"] != run.run:
        return
    if args["what"] == "timeout":
        if run.view.closing is not None:
            return
        message = f"it took longer than {run.workflow.timeout or 0:g} s"
        fail(run, {"error": "RunFailed", "type": "RunTimeout", "message": message})
        return
    found = run.view.operations.get(number)
    if found is None or found.state != "open":
        return
    if found.type == "timer":
        run.record(e.TIMER_FIRED, number)
    elif found.type in ("wait", "approval"):
        run.record(e.WAIT_EXPIRED, number)
    elif found.pausing and args.get("attempt") == found.attempt + 1:
        run.record(e.RETRY_FIRED, number, attempt=found.attempt + 1)


def _answer(run: LiveRun, delivery: Delivery, args: Details) -> None:
    found = run.view.operations.get(args["op"])
    if found is None or found.type != "call" or found.asked["id"] != args["id"]:
        return
    outcome = {"result": args.get("body")} if args["status"] == "ok" else {"error": args.get("body") or {}}
    run.record(e.CALL_ANSWERED, args["op"], status=args["status"], **outcome)


def _finished(run: LiveRun, delivery: Delivery, args: Details) -> None:
    found = run.view.operations.get(args["op"])
    if found is None or found.type != "child" or found.asked["id"] != args["id"] or args["run"] != run.run:
        return
    outcome = {"result": args.get("result")} if args["status"] == "ok" else {"error": args.get("error") or {}}
    run.record(e.CHILD_FINISHED, args["op"], id=args["id"], status=args["status"], **outcome)


def _signal(run: LiveRun, delivery: Delivery, args: Details) -> None:
    name, payload, id = args["name"], args.get("payload"), args.get("id")
    if id is not None and id in run.view.signal_ids:
        reply(run, delivery, False)
        return
    known = {} if id is None else {"id": id}
    why = _misfit(run, name, payload)
    if why is not None:
        run.record(e.SIGNAL_REFUSED, None, name=name, payload=payload, reason=why, **known)
        refuse(run, delivery, "InvalidArguments", f"Run {run.key!r} cannot take signal {name!r}: {why}")
        return
    if delivery.handler == "update":
        run.record(
            e.UPDATE_RECEIVED, None, name=name, payload=payload, message=delivery.id, origin=delivery.origin, **known
        )
        return
    run.record(e.SIGNAL_RECEIVED, None, name=name, payload=payload, **known)
    reply(run, delivery, True)


def _misfit(run: LiveRun, name: str, payload: Any) -> str | None:
    """Return why the code, if it waits for that signal now, cannot take it."""
    waiting = sorted(
        number for number, one in run.operations.items() if isinstance(one, WaitOperation) and one.name == name
    )
    if not waiting:
        return None
    try:
        run.operations[waiting[0]].read(payload)
    except Exception as error:  # noqa: BLE001 # a type may refuse what it reads in any way
        return " ".join(str(error).split())[:500]
    return None


def _cancel(run: LiveRun, delivery: Delivery, args: Details) -> None:
    if run.view.closing is None:
        run.record(e.RUN_CANCELLING, None, reason=args.get("reason"))
    elif run.view.closing.type == e.RUN_FAILING:
        refuse(run, delivery, "RunEnded", f"Run {run.key!r} has failed already, and undoes what it did.")
        return
    reply(run, delivery, True)


def _park(run: LiveRun, delivery: Delivery, args: Details) -> None:
    if run.view.closing is not None or run.view.status == "blocked":
        refuse(run, delivery, "RunEnded", f"Run {run.key!r} is {_where(run)}, and cannot be parked.")
        return
    if run.view.status != "parked":
        run.record(e.RUN_PARKED, None, reason=args.get("reason"))
    reply(run, delivery, True)


def _resume(run: LiveRun, delivery: Delivery, args: Details) -> None:
    if run.view.status == "blocked":
        refuse(run, delivery, "RunEnded", f"Run {run.key!r} is blocked, not parked: {run.view.problem} Requeue it.")
        return
    if run.view.status == "parked":
        run.record(e.RUN_RESUMED, None)
    reply(run, delivery, True)


def _requeue(run: LiveRun, delivery: Delivery, args: Details) -> None:
    run.record(e.RUN_REQUEUED, None)
    for found in list(run.view.operations.values()):
        if found.pausing:
            run.draft.cancels.append(run.id_of(found.number, f"retry {found.attempt + 1}"))
            run.record(e.RETRY_FIRED, found.number, attempt=found.attempt + 1)
    reply(run, delivery, True)


def _where(run: LiveRun) -> str:
    return "about to end" if run.view.closing is not None else run.view.status


def _go(run: LiveRun, delivery: Delivery, args: Details) -> None:
    """It was let go, and is read again by whoever has this message."""


_DOORS: dict[str, Callable[[LiveRun, Delivery, Details], None]] = {
    "go": _go,
    "fire": _fire,
    "answer": _answer,
    "finished": _finished,
    "signal": _signal,
    "update": _signal,
    "cancel": _cancel,
    "park": _park,
    "resume": _resume,
    "requeue": _requeue,
}
