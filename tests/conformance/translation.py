"""Our events in the words of the published histories, by one rule for each type of event, whatever the case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from revenant.workflows.events import Event

IDLE = "idle"
"""Between two events: nothing was under way any more; there, a process of theirs ends."""


DIED = "died"
"""Between two events: the process that ran it was killed; so was theirs."""
_MARKS: dict[str, dict[str, Any]] = {
    IDLE: {},
    DIED: {"Error": {"Payload": {"ErrorType": "Runtime.ExitError", "ErrorMessage": "the process has ended"}}},
}


class Noted(NamedTuple):
    """An event as it was committed, of whichever run; `run` is that run's id."""

    run: str
    event: Event


class Translation:
    """Translates the events of a run and of its children, in the order in which they were committed."""

    def __init__(self, *, root: str) -> None:
        self._root = root
        self._parents: dict[str, str] = {}
        """The context that a child run stands for, by its id."""
        self._asked: dict[tuple[str, int], Event] = {}
        self._failed: dict[tuple[str, int], Event] = {}
        self._end: dict[str, Any] | None = None

    def translate(self, noted: list[Noted | str]) -> list[dict[str, Any]]:
        """Return the history; what begins an execution is its first event, and has the number 1."""
        told: list[dict[str, Any]] = [{"EventType": "ExecutionStarted"}]
        for one in noted:
            if isinstance(one, str):
                told += [{"EventType": "InvocationCompleted", "InvocationCompletedDetails": _MARKS[one]}]
                told += [self._end] if self._end is not None else []
            else:
                told += self._events(one.run, one.event)
        return [{"EventId": number, "EventTimestamp": "", **one} for number, one in enumerate(told, 1)]

    def _events(self, run: str, event: Event) -> Iterator[dict[str, Any]]:
        rule = _RULES.get(event.type)
        if event.op is not None:
            self._asked.setdefault((run, event.op), event)
        if rule is not None:
            found = rule(self, run, event)
            if found is not None:
                yield found

    def _told(self, run: str, op: int, type: str, sub: str, details: dict[str, Any]) -> dict[str, Any]:
        asked = self._asked[run, op].data
        found = {"EventType": type, "SubType": sub, "Id": f"{run}#{op}", "Name": asked.get("id") or asked["name"]}
        if run in self._parents:
            found["ParentId"] = self._parents[run]
        return {**found, f"{type}Details": details}

    def attempt_started(self, run: str, event: Event) -> dict[str, Any]:
        return self._told(run, event.op or 0, "StepStarted", "Step", {})

    def step_succeeded(self, run: str, event: Event) -> dict[str, Any]:
        details = {"Result": _payload(event.data["result"]), "RetryDetails": {"CurrentAttempt": event.data["attempt"]}}
        return self._told(run, event.op or 0, "StepSucceeded", "Step", details)

    def attempt_failed(self, run: str, event: Event) -> None:
        self._failed[run, event.op or 0] = event

    def after_a_failure(self, run: str, event: Event) -> dict[str, Any]:
        failed = self._failed.pop((run, event.op or 0))
        retry = {"CurrentAttempt": failed.data["attempt"]}
        if event.type == "retry.scheduled":
            # Theirs are whole seconds.
            retry["NextAttemptDelaySeconds"] = round(event.data["after"])
        details = {"Error": _error(failed.data["error"]), "RetryDetails": retry}
        return self._told(run, event.op or 0, "StepFailed", "Step", details)

    def timer(self, run: str, event: Event) -> dict[str, Any]:
        asked = self._asked[run, event.op or 0]
        length = datetime.fromisoformat(asked.data["due"]) - asked.at
        type = "WaitStarted" if event is asked else "WaitSucceeded"
        return self._told(run, event.op or 0, type, "Wait", {"Duration": round(length.total_seconds())})

    def wait_started(self, run: str, event: Event) -> dict[str, Any]:
        details: dict[str, Any] = {"CallbackId": f"{run}#{event.op}"}
        if "due" in event.data:
            details["Timeout"] = round((datetime.fromisoformat(event.data["due"]) - event.at).total_seconds())
        return self._told(run, event.op or 0, "CallbackStarted", "Callback", details)

    def signal_received(self, run: str, event: Event) -> dict[str, Any] | None:
        waits = [
            op
            for (of, op), asked in self._asked.items()
            if of == run and asked.type == "wait.started" and asked.data["name"] == event.data["name"]
        ]
        payload = event.data["payload"]
        if "failure" in payload:
            told = {"type": payload["failure"]["ErrorType"], "message": payload["failure"]["ErrorMessage"]}
            return self._told(run, waits[0], "CallbackFailed", "Callback", {"Error": _error(told)})
        return self._told(run, waits[0], "CallbackSucceeded", "Callback", {"Result": _payload(payload["success"])})

    def wait_expired(self, run: str, event: Event) -> dict[str, Any]:
        error = {"type": "Callback.Timeout", "message": ""}
        return self._told(run, event.op or 0, "CallbackTimedOut", "Callback", {"Error": _error(error)})

    def child_started(self, run: str, event: Event) -> dict[str, Any]:
        self._parents[event.data["id"]] = f"{run}#{event.op}"
        return self._told(run, event.op or 0, "ContextStarted", event.data["name"], {})

    def child_finished(self, run: str, event: Event) -> dict[str, Any]:
        sub = self._asked[run, event.op or 0].data["name"]
        if event.data["status"] == "ok":
            details = {"Result": _payload(event.data["result"])}
            return self._told(run, event.op or 0, "ContextSucceeded", sub, details)
        return self._told(run, event.op or 0, "ContextFailed", sub, {"Error": _error(event.data["error"])})

    def run_ended(self, run: str, event: Event) -> None:
        if run != self._root:
            return
        if event.type == "run.completed":
            details = {"Result": _payload(event.data["result"])}
            self._end = {"EventType": "ExecutionSucceeded", "ExecutionSucceededDetails": details}
        else:
            details = {"Error": _error(event.data["error"])}
            self._end = {"EventType": "ExecutionFailed", "ExecutionFailedDetails": details}


_RULES: dict[str, Callable[[Translation, str, Event], dict[str, Any] | None]] = {
    "attempt.started": Translation.attempt_started,
    "attempt.failed": Translation.attempt_failed,
    "retry.scheduled": Translation.after_a_failure,
    "step.failed": Translation.after_a_failure,
    "step.succeeded": Translation.step_succeeded,
    "timer.scheduled": Translation.timer,
    "timer.fired": Translation.timer,
    "wait.started": Translation.wait_started,
    "wait.expired": Translation.wait_expired,
    "signal.received": Translation.signal_received,
    "child.started": Translation.child_started,
    "child.finished": Translation.child_finished,
    "run.completed": Translation.run_ended,
    "run.failed": Translation.run_ended,
}


def _payload(value: Any) -> dict[str, Any]:
    return {"Payload": json.dumps(value), "Truncated": False}


def _error(error: dict[str, Any]) -> dict[str, Any]:
    cause = error.get("cause") or error
    return {"Payload": {"ErrorType": cause["type"], "ErrorMessage": cause["message"]}}
