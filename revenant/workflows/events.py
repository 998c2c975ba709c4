"""Events: what can happen to a run. A run is the stream of them, numbered from 1 without gaps, and nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

RUN_STARTED = "run.started"
RUN_CONTINUED = "run.continued"
RUN_PARKED = "run.parked"
RUN_RESUMED = "run.resumed"
RUN_BLOCKED = "run.blocked"
RUN_REQUEUED = "run.requeued"
RUN_MIGRATED = "run.migrated"
RUN_RECOVERED = "run.recovered"
RUN_RELEASED = "run.released"
RUN_TAKEN = "run.taken"
RUN_CANCELLING = "run.cancelling"
RUN_FAILING = "run.failing"
RUN_COMPLETED = "run.completed"
RUN_FAILED = "run.failed"
RUN_CANCELLED = "run.cancelled"
STEP_SCHEDULED = "step.scheduled"
STEP_SUCCEEDED = "step.succeeded"
STEP_FAILED = "step.failed"
STEP_CANCELLED = "step.cancelled"
ATTEMPT_STARTED = "attempt.started"
ATTEMPT_FAILED = "attempt.failed"
RETRY_SCHEDULED = "retry.scheduled"
RETRY_FIRED = "retry.fired"
TIMER_SCHEDULED = "timer.scheduled"
TIMER_FIRED = "timer.fired"
TIMER_CANCELLED = "timer.cancelled"
WAIT_STARTED = "wait.started"
WAIT_EXPIRED = "wait.expired"
WAIT_CANCELLED = "wait.cancelled"
SIGNAL_RECEIVED = "signal.received"
SIGNAL_TAKEN = "signal.taken"
SIGNAL_REFUSED = "signal.refused"
UPDATE_AWAITED = "update.awaited"
UPDATE_RECEIVED = "update.received"
UPDATE_JOINED = "update.joined"
UPDATE_TAKEN = "update.taken"
UPDATE_REFUSED = "update.refused"
UPDATE_ANSWERED = "update.answered"
CALL_SENT = "call.sent"
CALL_ANSWERED = "call.answered"
CALL_ABANDONED = "call.abandoned"
CAST_SENT = "cast.sent"
JOB_DEFERRED = "job.deferred"
CHILD_STARTED = "child.started"
CHILD_FINISHED = "child.finished"
CHILD_ABANDONED = "child.abandoned"
UNDO_REGISTERED = "undo.registered"
PATCH_RECORDED = "patch.recorded"
APPROVAL_ASKED = "approval.asked"
APPROVAL_GIVEN = "approval.given"

ASKS = {
    STEP_SCHEDULED: "step",
    TIMER_SCHEDULED: "timer",
    WAIT_STARTED: "wait",
    SIGNAL_TAKEN: "wait",
    UPDATE_AWAITED: "update",
    UPDATE_TAKEN: "update",
    UPDATE_ANSWERED: "reply",
    CALL_SENT: "call",
    CAST_SENT: "cast",
    JOB_DEFERRED: "job",
    CHILD_STARTED: "child",
    UNDO_REGISTERED: "undo",
    APPROVAL_ASKED: "approval",
}
"""The events that record what the code asked for, and the types of its operations."""
GIVEN_UP = frozenset((STEP_CANCELLED, TIMER_CANCELLED, WAIT_CANCELLED, CALL_ABANDONED, CHILD_ABANDONED))
"""The events by which nobody waits for an operation any more."""
STEP_ENDS = frozenset((STEP_SUCCEEDED, STEP_FAILED, STEP_CANCELLED))
"""The events after which nothing more happens to a step."""
ENDS = {RUN_COMPLETED: "completed", RUN_FAILED: "failed", RUN_CANCELLED: "cancelled"}
"""The events after which there is none, and the statuses that they give."""
CLOSES = frozenset((RUN_CANCELLING, RUN_FAILING, RUN_CONTINUED, *ENDS))
"""The events after which the code of the run is not run any more."""


class Event(NamedTuple):
    """One thing that happened to a run."""

    seq: int
    type: str
    op: int | None
    """The operation of the run's code that it belongs to; None: the run's own."""
    at: datetime
    """By the database's clock."""
    data: dict[str, Any]
    """What JSON can hold."""

    @property
    def text(self) -> str:
        """The data as JSON."""
        return to_json(self.data).decode()


def event(seq: int, type: str, op: int | None, at: datetime, text: str) -> Event:
    """Return an event as it was read: its data is still JSON text."""
    return Event(seq, type, op, at, from_json(text))


def read_event(told: dict[str, Any]) -> Event:
    """Return an event as it is told of: {"seq", "type", "op", "at", "data"}, the moment as text or not."""
    at = told["at"]
    return Event(
        told["seq"],
        told["type"],
        told["op"],
        at if isinstance(at, datetime) else datetime.fromisoformat(at),
        told["data"],
    )
