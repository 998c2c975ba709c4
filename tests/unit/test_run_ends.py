"""What whoever waits for a run's end is told: the text for people, and the type and the message of what ended it."""

from __future__ import annotations

from datetime import UTC, datetime

from revenant.errors import RunCancelled, RunFailed
from revenant.queue.failures import error_of
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.results import outcome_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_failed_run_s_error_has_the_type_and_the_message_of_what_ended_it() -> None:
    data = {"error": {"error": "RunFailed", "type": "LookupError", "message": "no car is left"}}
    status, details = outcome_of("run:travel", "rome", Event(9, e.RUN_FAILED, None, NOW, data))
    error = error_of(details)
    assert (status, type(error)) == ("error", RunFailed)
    assert isinstance(error, RunFailed)
    assert (error.type, error.message) == ("LookupError", "no car is left")
    assert str(error).startswith("Run 'rome' of travel failed: LookupError: no car is left. ")


def test_a_cancelled_run_s_error_has_the_reason_that_was_given() -> None:
    last = Event(9, e.RUN_CANCELLED, None, NOW, {"reason": "too hot"})
    error = error_of(outcome_of("run:travel", "rome", last)[1])
    assert isinstance(error, RunCancelled)
    assert (error.message, str(error)) == ("too hot", "Run 'rome' of travel was cancelled: too hot.")
