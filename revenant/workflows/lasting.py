"""Lasting: how long a run may take in all; past that it fails, and what it registered is undone."""

from __future__ import annotations

from typing import Any

from revenant.workflows.ending import fail
from revenant.workflows.live import LiveRun
from revenant.workflows.workflow import Workflow


def clock_of(workflow: Workflow[Any, Any]) -> dict[str, Any]:
    """Return what a run's first event says of its time; code that says otherwise later does not change it."""
    return {} if workflow.timeout is None else {"timeout": workflow.timeout}


def start_clock(run: LiveRun) -> None:
    """Have the run fail when its time is over, unless it has ended by then."""
    if run.workflow.timeout is not None:
        run.come_back(0, "timeout", after=run.workflow.timeout)


def time_out(run: LiveRun) -> None:
    """The time is over; a run that ends already goes on with that."""
    if run.view.closing is not None:
        return
    assert run.view.started is not None
    seconds = run.view.started.data.get("timeout") or 0
    message = f"it took longer than {seconds:g} s"
    fail(run, {"error": "RunFailed", "type": "RunTimeout", "message": message})
