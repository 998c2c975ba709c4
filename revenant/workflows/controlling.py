"""Controlling: what people do to a run: cancel, park, resume, requeue, migrate. Each is an event, or refused with why.

Invariant: each is idempotent; what would change nothing records nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from revenant.workflows import events as e
from revenant.workflows.ending import call_back, close, register, release
from revenant.workflows.live import LiveRun

Details = dict[str, Any]
Control = Callable[[LiveRun, Details], str | None]
"""Records what it does; returns why it was refused, or None."""


def _cancel(run: LiveRun, args: Details) -> str | None:
    if not _may_cancel(run, args.get("parent")):
        return None
    closing = run.view.closing
    blocked = run.view.status == "blocked"
    if closing is not None and closing.type == e.RUN_FAILING:
        if not blocked:
            return f"Run {run.key!r} has failed already, and undoes what it did."
        close(run, e.RUN_FAILING, **closing.data)
    elif closing is None or blocked:
        # A run whose undoing is blocked is ended by one more: what cannot be undone is named in its last event.
        register(run)
        close(run, e.RUN_CANCELLING, reason=args.get("reason"))
    return None


def _may_cancel(run: LiveRun, parent: Any) -> bool:
    """Whether it is a person who asks, or the run's own parent: one whose child was refused means another run."""
    assert run.view.started is not None
    own = run.view.started.data.get("parent")
    return parent is None or (own is not None and list(own[:2]) == parent)


def _park(run: LiveRun, args: Details) -> str | None:
    if run.view.closing is not None or run.view.status == "blocked":
        return f"Run {run.key!r} is {_where(run)}, and cannot be parked."
    if run.view.status != "parked":
        run.record(e.RUN_PARKED, None, reason=args.get("reason"))
    return None


def _resume(run: LiveRun, args: Details) -> str | None:
    if run.view.status == "blocked":
        return f"Run {run.key!r} is blocked, not parked: {run.view.problem} Requeue it."
    if run.view.closing is not None:
        return f"Run {run.key!r} is {_where(run)}, and not parked any more."
    if run.view.status == "parked":
        run.record(e.RUN_RESUMED, None)
        run.problem = run.problem or run.codeless
    return None


def _requeue(run: LiveRun, args: Details) -> str | None:
    view = run.view
    if view.status == "parked":
        return f"Run {run.key!r} is parked, and nothing of it is tried. Resume it."
    pausing = [found for found in view.operations.values() if found.pausing]
    if view.status != "blocked" and not pausing and not any(found.deaths for found in view.operations.values()):
        return None
    if view.status == "blocked":
        _reload(run)
    run.record(e.RUN_REQUEUED, None)
    for found in pausing:
        run.draft.cancels.append(run.id_of(found.number, f"retry {found.attempt + 1}"))
        run.record(e.RETRY_FIRED, found.number, attempt=found.attempt + 1)
    return None


def _migrate(run: LiveRun, args: Details) -> str | None:
    view, version = run.view, args["version"]
    if view.version == version:
        if view.status != "blocked":
            return None
        return f"Run {run.key!r} is of version {version} already, and blocked: {view.problem} Requeue it."
    # Whoever has that code goes on with what is under way.
    release(run)
    run.record(e.RUN_MIGRATED, None, version=version, since=view.version)
    _reload(run)
    run.put_aside()
    return None


def _reload(run: LiveRun) -> None:
    """Have it read again before it goes on; the code that does so may be another worker's."""
    run.draft.reloads = True
    call_back(run)


def _where(run: LiveRun) -> str:
    return run.view.status if run.view.closing is None or run.view.status == "blocked" else "about to end"


CONTROLS: dict[str, Control] = {
    "cancel": _cancel,
    "park": _park,
    "resume": _resume,
    "requeue": _requeue,
    "migrate": _migrate,
}
"""By the names of the messages that ask for them."""
