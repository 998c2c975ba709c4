"""Whatever code a run had and whatever happened to it: `replay` with the same code says that it fits, and how it ended."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic_core import to_json

from revenant.testing import replay
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import Workflow
from tests.dry import DryRun, stored
from tests.unit.test_reread_deciders import COMMANDS, decider
from tests.unit.test_reread_runs import PROGRAMS, Program, carry_out, happenings

CHOICES = st.lists(st.integers(0, 10_000), min_size=10, max_size=40)


def happened(workflow: Workflow[Any, Any], choices: list[int]) -> DryRun:
    run = DryRun(workflow)
    for choice in choices:
        if run.live.view.over:
            break
        can = happenings(run)
        can[choice % len(can)]()
        if run.live.draft.consumed and choice % 2:
            continue
        run.go_on()
        if choice % 3 == 0:
            run.reload()
    run.go_on()
    return run


def fits(run: DryRun) -> None:
    """At each cut of its history, too: tests have those of runs that are under way."""
    events = [stored(one) for one in run.events]
    for cut in {1, len(events) // 2 or 1, max(1, len(events) - 1), len(events)}:
        judge(run, events[:cut])
    run.live.put_aside()


def judge(run: DryRun, events: list[Event]) -> None:
    came = replay(events, run.workflow, id="r", run=run.run)
    last = events[-1]
    if last.type == e.RUN_COMPLETED:
        assert (came.status, to_json(came.result)) == ("completed", to_json(last.data["result"]))
    elif last.type == e.RUN_FAILED:
        assert came.status == "failed"
    elif last.type != e.RUN_CANCELLED and not any(one.type in (e.RUN_FAILING, e.RUN_CANCELLING) for one in events):
        # At a cut the code may have ended, and that not be recorded yet.
        assert came.status in ("open", "completed", "failed")


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=PROGRAMS, choices=CHOICES)
def test_the_code_of_a_run_fits_its_history(program: Program, choices: list[int]) -> None:
    async def code(flow: Flow) -> Any:
        return await carry_out(flow, program)

    fits(happened(Workflow(code, name="any"), choices))


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=st.lists(COMMANDS, min_size=1, max_size=6), fails=st.booleans(), choices=CHOICES)
def test_a_decider_fits_its_history(program: list[Any], fails: bool, choices: list[int]) -> None:
    fits(happened(decider(program, fails=fails), choices))
