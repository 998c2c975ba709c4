"""Late: what is said to whoever sends something to a run that has ended, or that there is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from revenant.workflows.address import Address
from revenant.workflows.view import View

_DEEDS = {
    "signal": "the signal",
    "update": "the update",
    "decide": "the decision",
    "cancel": "cancelling it",
    "park": "parking it",
    "resume": "resuming it",
    "requeue": "requeuing it",
    "migrate": "migrating it",
}


def ended(address: Address, status: str, handler: str) -> str:
    """Return why nothing came of a message: its run has ended."""
    return f"Run {address.key!r} of {address.workflow} has ended ({status}); {_deed(handler)} did nothing."


def answer_of(view: View, handler: str, args: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the status and the body that a signal or an update has had that counted before; None: it did not count."""
    id = args.get("id")
    if id is None:
        return None
    if handler == "signal":
        return ("ok", False) if id in view.signal_ids else None
    answer = view.updates.answers.get(view.updates.ids.get(id, "")) if handler == "update" else None
    if answer is None:
        return None
    return answer["status"], answer.get("result") if answer["status"] == "ok" else answer["error"]


def missing(address: Address, handler: str) -> str:
    """Return why nothing came of a message: its run has not been started."""
    return (
        f"There is no run {address.key!r} of {address.workflow}; {_deed(handler)} did nothing. Start it first, or look "
        "at the id."
    )


def _deed(handler: str) -> str:
    return _DEEDS.get(handler, repr(handler))
