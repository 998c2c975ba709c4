"""Attempts: each is recorded before it begins; a failed one and what is decided about it are recorded together."""

from __future__ import annotations

from typing import Any

from revenant.errors import StepInterrupted
from revenant.workflows import events as e
from revenant.workflows.draft import Start
from revenant.workflows.ending import close, register
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import StepOperation, UndoOperation
from revenant.workflows.retry import Retry
from revenant.workflows.seen import OperationView
from revenant.workflows.step import RECOVERIES, StepOptions
from revenant.workflows.tasks import hand_out

BUDGET_EXCEEDED = "recovery_budget_exceeded"
_BUDGET_EXCEEDED = {"error": "RunFailed", "type": BUDGET_EXCEEDED}


def budget_of(found: OperationView) -> int:
    """Return how many processes may die under one attempt; at the last one of them nothing else ran beside it.

    As the step was scheduled with. Two at least: the first death is nobody's, since others may have run there.
    """
    budget: int = found.asked.get("recoveries", RECOVERIES)
    return max(2, budget)


def is_suspect(found: OperationView) -> bool:
    """Whether an attempt has one chance left: it is run in a cell, where nobody dies with it."""
    return found.deaths >= budget_of(found) - 1


def begin_ready(run: LiveRun) -> bool:
    """Begin the attempts of all steps that wait for nothing; return whether there were any."""
    ready = [
        one
        for one in run.view.operations.values()
        if one.type == "step" and one.state == "open" and not one.running and not one.pausing
    ]
    for found in ready:
        run.record(e.ATTEMPT_STARTED, found.number, attempt=found.attempt + 1, **_changed(run, found))
        if found.asked.get("external"):
            hand_out(run, found)
        else:
            run.draft.starts.append(Start(found.number, found.attempt))
    return bool(ready)


def _changed(run: LiveRun, found: OperationView) -> dict[str, Any]:
    """Return the version of a step's code where it is not the one that it was scheduled with."""
    operation = function_of(run, found.number)
    version = found.asked["version"] if operation is None else operation.step.version
    return {} if version == found.asked["version"] else {"version": version}


def function_of(run: LiveRun, number: int) -> StepOperation[Any] | UndoOperation | None:
    """Return what the code says of a step: its function and options; None if it says nothing."""
    found = run.view.operations[number]
    if "undoes" in found.asked:
        return run.undos.get(found.asked["undoes"])
    operation = run.operations.get(number)
    return operation if isinstance(operation, StepOperation) else None


def is_current(run: LiveRun, number: int, attempt: int) -> OperationView | None:
    """Return the operation if that attempt of it is the one under way, and waited for."""
    found = None if number in run.given_up else run.view.operations.get(number)
    return found if found is not None and found.running and found.attempt == attempt else None


def succeeded(run: LiveRun, number: int, attempt: int, result: Any) -> None:
    """An attempt has returned, and this is its result as what JSON holds."""
    if is_current(run, number, attempt) is not None:
        run.record(e.STEP_SUCCEEDED, number, attempt=attempt, result=result)


def failed(run: LiveRun, number: int, attempt: int, error: dict[str, Any], *, retryable: bool) -> None:
    """An attempt has failed: record that, and what is decided, at once."""
    found = is_current(run, number, attempt)
    if found is None:
        return
    retry = _retry(run, found)
    run.record(e.ATTEMPT_FAILED, number, attempt=attempt, error=error)
    if not retryable or attempt >= retry.attempts:
        run.record(e.STEP_FAILED, number, attempts=attempt, error=error)
        return
    pause = retry.pause(attempt, run.chance())
    run.record(e.RETRY_SCHEDULED, number, attempt=attempt + 1, due=run.moment(pause), after=round(pause, 6))
    run.come_back(number, f"retry {attempt + 1}", after=pause, attempt=attempt + 1)


def _retry(run: LiveRun, found: OperationView) -> Retry:
    operation = function_of(run, found.number)
    options = operation.options if operation is not None else StepOptions()
    return options.retry.as_recorded(found.asked["retry"])


def recover(run: LiveRun, *, died: bool) -> None:
    """Go on with the attempts that were under way when this run's owner left it, or died; the same ones again."""
    open_ = [one for one in run.view.operations.values() if one.running and not one.asked.get("external")]
    if not open_:
        return
    if run.problem is not None or run.view.status == "blocked":
        # Nobody has the code of these attempts: they wait with the run, and nobody owns it meanwhile.
        if not run.view.released:
            run.record(e.RUN_RELEASED, None)
        return
    if run.view.released:
        run.record(e.RUN_TAKEN, None)
    if died:
        # What ran in a cell died with its worker, and not the other way round.
        beside = [one for one in open_ if not is_suspect(one)]
        told = {"died": [one.number for one in beside], "attempts": [one.attempt for one in beside]}
        run.record(e.RUN_RECOVERED, None, **told)
    for one in open_:
        _again(run, one)


def _again(run: LiveRun, found: OperationView) -> None:
    """Have the attempt that was under way run again, if it may be."""
    if found.asked.get("at_most_once"):
        _interrupt(run, found)
    else:
        run.draft.starts.append(Start(found.number, found.attempt))


def _interrupt(run: LiveRun, found: OperationView) -> None:
    """An attempt that is run at most once was under way: nobody knows what it came to, and it is not run again."""
    retry = _retry(run, found)
    error = {
        "error": "StepInterrupted",
        "type": f"{StepInterrupted.__module__}.{StepInterrupted.__qualname__}",
        "message": f"Attempt {found.attempt} of step {found.name} was under way when its worker ended, and is run at "
        "most once: whether its effect is there is unknown. Look for it where the step has it.",
    }
    # Not by what it inherits: who wants it run again has said so by its name.
    failed(run, found.number, found.attempt, error, retryable=StepInterrupted in retry.on)


def died_alone(run: LiveRun, number: int, attempt: int, fate: str) -> None:
    """An attempt has ended the process in which nothing else ran: it is to blame, and its run fails.

    Unless its deaths were forgotten while it ran there: then this is the first of its whole budget.
    """
    found = is_current(run, number, attempt)
    if found is None:
        return
    run.record(e.RUN_RECOVERED, None, died=[number], attempts=[attempt], alone=True)
    if found.deaths < budget_of(found):
        _again(run, found)
        return
    error = {
        **_BUDGET_EXCEEDED,
        "message": f"{found.deaths} processes died, one after another, while attempt {attempt} of step {found.name} "
        f"was under way; in the last one nothing else ran ({fate}). Mend the step, or what follows it; then `revenant "
        "run fork` goes on from there.",
    }
    run.record(e.STEP_FAILED, number, attempts=attempt, error=error)
    if run.view.closing is None:
        register(run)
        close(run, e.RUN_FAILING, error=error)


def code_killed(run: LiveRun, fate: str) -> None:
    """The code of a run has ended the process in which it was probed: it fails, without that, and undoes nothing."""
    if run.view.closing is None:
        error = {
            **_BUDGET_EXCEEDED,
            "message": f"The code of workflow {run.workflow.name!r} has ended the processes that ran it, the last of "
            f"them one in which nothing else ran ({fate}). Mend it; then `revenant run fork` goes on from a step that "
            "the run had come to; one that had come to none is started anew, under another id.",
        }
        close(run, e.RUN_FAILING, error=error)
    run.problem = None
