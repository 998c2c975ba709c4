"""Whatever code a run has and however far it is: newer code that branches by `patched` fits its history, at each replay."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import Workflow
from tests.dry import DryRun
from tests.unit.test_reread_runs import PROGRAMS, Program, carry_out, happenings

CHOICES = st.lists(st.integers(0, 10_000), min_size=10, max_size=30)


def of(program: Program) -> Workflow[Any, Any]:
    async def code(flow: Flow) -> Any:
        return await carry_out(flow, program)

    return Workflow(code, name="any")


def before(program: Program) -> Program:
    """Return what the code was before it was patched: where it asks today, it asked for nothing."""
    what, *rest = program
    if what == "patch":
        return ("show",)
    return (what, *([before(part) for part in one] if isinstance(one, list) else one for one in rest))


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(inner=PROGRAMS, choices=CHOICES, at=st.integers(0, 6))
def test_code_that_branches_by_patched_fits_every_older_history(inner: Program, choices: list[int], at: int) -> None:
    # Twice, as a loop does it.
    program = ("then", [("patch", "a"), ("signal", "b", None), inner, ("patch", "a"), ("signal", "a", None)])
    run = DryRun(of(before(program)))
    for place, choice in enumerate(choices):
        if run.live.view.over:
            break
        if place == at:
            run.reload(of(program)).go_on()
        can = happenings(run)
        can[choice % len(can)]()
        run.go_on()
        if place > at and not run.live.view.over:
            again = run.reread()
            assert again.problem is None
            again.put_aside()
    assert e.RUN_BLOCKED not in run.types
    run.live.put_aside()
