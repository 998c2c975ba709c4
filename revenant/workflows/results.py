"""Results: how a run has ended, as whoever waits for it is told."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from revenant.queue.records import Reply
from revenant.queue.runs import result_id
from revenant.wording import raised
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.view import View


def result_reply(kind: str, key: str, view: View) -> Reply:
    """Return what whoever waits for the result of a run that has ended is told."""
    assert view.end is not None
    status, body = outcome_of(kind, key, view.end)
    return Reply(result_id(kind, key), status, view.end.seq, to_json(body).decode())


def outcome_of(kind: str, key: str, last: Event) -> tuple[str, Any]:
    """Return `ok` and the result, or `error` and its details, by a run's last event."""
    if last.type == e.RUN_COMPLETED:
        return "ok", last.data.get("result")
    workflow = kind.partition(":")[2]
    if last.type == e.RUN_CANCELLED:
        reason = last.data.get("reason") or "no reason was given"
        text = f"Run {key!r} of {workflow} was cancelled: {reason}."
        return "error", {"error": "RunCancelled", "type": "RunCancelled", "message": text, "why": reason}
    error = last.data.get("error") or {}
    why = raised(error.get("type"), error.get("message")).rstrip(".")
    text = f"Run {key!r} of {workflow} failed: {why}. `revenant run show` has its history."
    return "error", {"error": "RunFailed", "type": error.get("type"), "message": text, "why": error.get("message")}
