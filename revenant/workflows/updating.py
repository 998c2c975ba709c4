"""Updating: an update is received, refused, or answered, and its senders are told in the same commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from revenant.queue.records import Delivery
from revenant.workflows import events as e
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import Misfit
from revenant.workflows.replying import details, tell
from revenant.workflows.seen import Signal
from revenant.workflows.update import ReplyOperation


def receive_update(run: LiveRun, delivery: Delivery, name: str, payload: Any, id: str | None) -> None:
    """Record an update; one that was sent before under the same id is that one."""
    first = None if id is None else run.view.updates.ids.get(id)
    if first is not None:
        _join(run, delivery, name, first)
        return
    told: dict[str, Any] = {"name": name, "payload": payload, "message": delivery.id, "origin": delivery.origin}
    if id is not None:
        told["id"] = id
    run.record(e.UPDATE_RECEIVED, None, **told)


def _join(run: LiveRun, delivery: Delivery, name: str, first: str) -> None:
    answered = run.view.updates.answers.get(first)
    if answered is None:
        run.record(e.UPDATE_JOINED, None, name=name, message=delivery.id, origin=delivery.origin, update=first)
    else:
        _tell(run, [(delivery.id, delivery.origin)], answered)


def refuse_update(run: LiveRun, delivery: Delivery, name: str, payload: Any, misfit: Misfit) -> None:
    """Record that an update was not taken, by its shape or by the validator; nobody waits for it any more."""
    run.record(e.UPDATE_REFUSED, None, name=name, payload=payload, message=delivery.id, reason=misfit.why)
    _tell(run, [(delivery.id, delivery.origin)], _refused(run, name, misfit))


def refuse_early(run: LiveRun, signal: Signal, misfit: Misfit) -> None:
    """The same for one that had come before the code asked for it."""
    assert signal.update is not None
    told = {"name": signal.name, "message": signal.update, "signal": signal.seq, "reason": misfit.why}
    senders, outcome = run.view.updates.senders(signal.update), _refused(run, signal.name, misfit)
    run.record(e.UPDATE_REFUSED, None, **told, **outcome)
    _tell(run, senders, outcome)


def answer_update(run: LiveRun, number: int, operation: ReplyOperation) -> None:
    """Record what the code says to an update."""
    outcome: dict[str, Any] = {"status": "ok", "result": operation.value}
    if operation.error is not None:
        outcome = _refused(run, operation.name, Misfit("UpdateRefused", operation.error))
    senders = run.view.updates.senders(operation.message)
    run.record(e.UPDATE_ANSWERED, number, name=operation.name, message=operation.message, **outcome)
    _tell(run, senders, outcome)


def end_updates(run: LiveRun) -> None:
    """The run has ended: whoever still waits is told so."""
    error = details("RunEnded", f"Run {run.key!r} ended before it answered.")
    for message, channel in run.view.updates.waiting.items():
        tell(run, message, channel, "error", error)


def _tell(run: LiveRun, senders: list[tuple[str, str | None]], answer: Mapping[str, Any]) -> None:
    body = answer.get("result") if answer["status"] == "ok" else answer["error"]
    for message, channel in senders:
        tell(run, message, channel, answer["status"], body)


def _refused(run: LiveRun, name: str, misfit: Misfit) -> dict[str, Any]:
    words = f"Run {run.key!r} of {run.address.workflow} refuses update {name!r}: {misfit.told}"
    return {"status": "error", "error": details(misfit.error, words)}
