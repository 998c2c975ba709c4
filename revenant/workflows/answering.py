"""Answering: which event answers which operation, and what the code gets: a value, or an error to be raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from revenant.errors import RunFailed, StepFailed, WaitTimeout
from revenant.queue.failures import error_of
from revenant.wording import raised
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.operation import Operation, WaitOperation, why_not
from revenant.workflows.replay import Answer
from revenant.workflows.view import View

_REFUSED = ("RunExists", "InvalidArguments")
_VALUES = (e.STEP_SUCCEEDED, e.TIMER_FIRED, e.APPROVAL_GIVEN)
_SIGNALS = (e.SIGNAL_RECEIVED, e.UPDATE_RECEIVED, e.SIGNAL_TAKEN, e.UPDATE_TAKEN)
ANSWERS = frozenset((*_VALUES, *_SIGNALS, e.CALL_ANSWERED, e.CHILD_FINISHED, e.STEP_FAILED, e.WAIT_EXPIRED))
"""The events that may answer an operation; no other one does."""


class Unreadable(BaseException):
    """What is recorded does not fit the types of today's code; the run is blocked, and nothing is lost."""


def answer_to(view: View, event: Event, operations: Mapping[int, Operation[Any]]) -> tuple[int, Answer | None]:
    """Return which operation this event answers, and with what; None: none that the code waits for.

    Raises:
        Unreadable: the answer is recorded, and cannot be read.
    """
    number = event.op or 0
    if event.type in _SIGNALS:
        number, signal = view.delivered.pop(event.seq, (0, None))
        operation = operations.get(number)
        if signal is None or not isinstance(operation, WaitOperation):
            return number, None
        return number, Answer(_read(operation, partial(operation.take, signal.payload, signal.update), event))
    operation = operations.get(number)
    if operation is None:
        return number, None
    if event.type in _VALUES:
        return number, Answer(_read(operation, partial(operation.read, event.data.get("result")), event))
    if event.type in (e.CALL_ANSWERED, e.CHILD_FINISHED) and event.data["status"] == "ok":
        return number, Answer(_read(operation, partial(operation.read, event.data.get("result")), event))
    error = _error(event, operation)
    return number, None if error is None else Answer(error=error)


def _read(operation: Operation[Any], read: Callable[[], Any], event: Event) -> Any:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 # a type may refuse what it reads in any way
        why = why_not(error)
        raise Unreadable(
            f"event {event.seq} ({event.type} of {operation!r}) cannot be read as the code's type says: "
            f"{why}. Nothing was changed; give the type a shape that reads it."
        ) from None


def _error(event: Event, operation: Operation[Any]) -> BaseException | None:
    details: dict[str, Any] = event.data.get("error") or {}
    if event.type == e.STEP_FAILED:
        return StepFailed(
            f"Step {operation.name} failed after {event.data.get('attempts', 1)} attempt(s): "
            f"{raised(details.get('type'), details.get('message'))}",
            step=operation.name,
            type=str(details.get("type")),
            message=str(details.get("message")),
            attempts=int(event.data.get("attempts", 1)),
        )
    if event.type == e.WAIT_EXPIRED:
        return WaitTimeout(f"No {operation.name!r} came within the time allowed.", name=operation.name)
    if event.type == e.CALL_ANSWERED:
        return error_of(details)
    if event.type == e.CHILD_FINISHED:
        # A start that was refused names the error alone; what a child raised has its module before it.
        refused = details.get("type") in _REFUSED
        came = "was not started" if refused else f"ended {event.data['status']}"
        return RunFailed(
            f"The child run {event.data.get('id')!r} of {operation.name} {came}: "
            f"{raised(details.get('type'), details.get('message'))}",
            type=str(details.get("type")),
            message=str(details.get("message")),
        )
    return None
