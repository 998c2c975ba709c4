"""Advancing: takes a run as far as it can go without waiting; whatever it comes to is in its draft."""

from __future__ import annotations

from revenant.codec import as_text
from revenant.errors import RevenantError
from revenant.workflows import events as e
from revenant.workflows.asking import ask
from revenant.workflows.attempts import begin_ready
from revenant.workflows.ending import error_of, fail, finish, give_up_dropped, go_on_closing, not_undone, register
from revenant.workflows.live import LiveRun
from revenant.workflows.updating import refuse_early

_ENDS_IT = {
    e.RUN_CANCELLING: "It is to be cancelled: another `revenant run cancel` ends it as it is",
    e.RUN_FAILING: "It has failed: `revenant run cancel` ends it as it is",
}


def advance(run: LiveRun) -> None:
    """Go on until the run waits for something, or has ended."""
    while not run.view.over and not run.draft.reloads:
        before = run.view.seq
        _once(run)
        if run.view.seq == before or (run.draft.events and run.draft.events[-1].type == e.RUN_CONTINUED):
            return
        if _rests(run):
            return


def _rests(run: LiveRun) -> bool:
    """Whether there is nothing left of what another look would find; what is ready was begun."""
    ended = run.replay is not None and run.replay.end is not None
    left = run.problem is not None or run.unrecorded or run.refused or run.given_up or run.view.closing is not None
    return not (ended or left)


def _once(run: LiveRun) -> None:
    if run.problem is not None:
        problem, run.problem = run.problem, None
        if run.view.closing is None or not_undone(run.view):
            _block(run, problem)
    refused, run.refused = run.refused, []
    for signal, misfit in refused:
        if signal.update is not None:
            refuse_early(run, signal, misfit)
        else:
            told = {"name": signal.name, "payload": signal.payload, "signal": signal.seq}
            run.record(e.SIGNAL_REFUSED, None, **told, reason=misfit.why)
    give_up_dropped(run)
    if run.view.status == "blocked":
        return
    if run.view.closing is not None:
        go_on_closing(run)
    elif run.view.status == "running" and run.replay is not None:
        _ask(run)
        _end_with_the_code(run)
    if run.view.status == "running" and not run.view.over:
        begin_ready(run)


def _block(run: LiveRun, problem: str) -> None:
    if run.view.closing is not None:
        problem = f"{problem} {_ENDS_IT[run.view.closing.type]}, and names what was not undone."
    run.record(e.RUN_BLOCKED, None, reason=as_text(problem))
    if run.draft.starts:
        # Taken over in the same breath: without the code they would fail, so they wait with the run.
        run.draft.starts.clear()
        run.record(e.RUN_RELEASED, None)


def _end_with_the_code(run: LiveRun) -> None:
    replay = run.replay
    if replay is not None and replay.end is not None:
        run.put_aside()
        finish(run, replay.end)


def _ask(run: LiveRun) -> None:
    for number in sorted(run.unrecorded):
        operation = run.unrecorded.get(number)
        if operation is None:
            continue
        try:
            ask(run, number, operation)
        except RevenantError as error:
            register(run)
            run.put_aside()
            fail(run, error_of(error))
            return
