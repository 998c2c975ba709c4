"""Tasks of external steps: handed out with the attempt's record, and withdrawn when nobody waits for them any more."""

from __future__ import annotations

from revenant.workflows.asking import task_of
from revenant.workflows.live import LiveRun
from revenant.workflows.seen import OperationView


def hand_out(run: LiveRun, found: OperationView) -> None:
    """Have somebody outside take this attempt."""
    run.draft.hand_out(task_of(run, found.number))
    timeout = found.asked.get("timeout")
    if timeout is not None:
        run.come_back(found.number, f"attempt {found.attempt}", after=timeout, attempt=found.attempt)


def withdraw(run: LiveRun, found: OperationView) -> None:
    """Nobody outside has to do this attempt any more."""
    run.draft.withdraw(found.number)
    if found.running and found.asked.get("timeout") is not None:
        run.draft.cancels.append(run.id_of(found.number, f"attempt {found.attempt}"))
