"""Late: what is said to whoever sends something to a run that has ended, or that there is not."""

from __future__ import annotations

from revenant.workflows.address import Address

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


def missing(address: Address, handler: str) -> str:
    """Return why nothing came of a message: its run has not been started."""
    return (
        f"There is no run {address.key!r} of {address.workflow}; {_deed(handler)} did nothing. Start it first, or look "
        "at the id."
    )


def _deed(handler: str) -> str:
    return _DEEDS.get(handler, repr(handler))
