"""What is said once something was done to a run: what it came to, and that nothing was done where nothing was."""

from __future__ import annotations

from collections.abc import Callable

from revenant.cli.typed import typed
from revenant.workflows.standing import Standing


def cancelled(run: str, id: str, stood: Standing) -> str:
    """Return what came of a `cancel`."""
    shown = typed("revenant run show", id)
    match stood.status:
        case "blocked":
            return f"{run} is to be cancelled, and is blocked: {stood.problem} See `{shown}`."
        case "cancelling":
            already = "is being cancelled" if stood.changed else "was being cancelled already"
            return f"{run} {already}: what it registered is undone first. See `{shown}`."
        case _:
            return f"{run} is cancelled.{_rest(stood)}"


def parked(run: str, id: str, stood: Standing) -> str:
    """Return what came of a `park`."""
    if stood.changed:
        return f"{run} is parked."
    reason = f", with the reason {stood.problem!r}, which stands" if stood.problem else ", without a reason"
    return f"{run} was parked before{reason}; nothing was done."


def resumed(run: str, id: str, stood: Standing) -> str:
    """Return what came of a `resume`."""
    if not stood.changed:
        return f"{run} was not parked; nothing was done."
    return f"{run} is blocked: {stood.problem}" if stood.status == "blocked" else f"{run} goes on."


def requeued(run: str, id: str, stood: Standing) -> str:
    """Return what came of a `requeue`."""
    if stood.changed:
        return f"{run} is tried again."
    return f"{run} is not blocked, and nothing of it waits for another attempt; nothing was done."


def migrated(run: str, id: str, stood: Standing) -> str:
    """Return what came of a `migrate`."""
    to = "" if stood.version is None else f" to version {stood.version}"
    return (
        f"{run} has moved{to}." if stood.changed else f"{run} is of version {stood.version} already; nothing was done."
    )


def _rest(stood: Standing) -> str:
    return f" {stood.problem}" if stood.problem else ""


Told = Callable[[str, str, Standing], str]
"""Makes the words from the run's name, its id, and where it stands."""
