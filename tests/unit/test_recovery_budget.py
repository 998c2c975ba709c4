"""The recovery budget of a step: how many processes may die under one attempt, and who sets it."""

from __future__ import annotations

from typing import Any

import pytest

from revenant.cli.timeline import print_timeline
from revenant.errors import ConfigurationError
from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.commands import Command, RunMany, RunStep
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView
from revenant.workflows.description import describe
from revenant.workflows.flow import Flow
from revenant.workflows.sequence import sequence
from revenant.workflows.step import step
from revenant.workflows.workflow import Workflow, workflow
from tests.dry import DryRun


async def work(number: int) -> int:
    return number


def works_within(recoveries: int | None) -> Workflow[Any, Any]:
    """Return a workflow whose step has that recovery budget; None: it says nothing of one."""

    @workflow(name="budgeted")
    async def works(flow: Flow) -> int:
        return await flow.step(work, 1, recoveries=recoveries)

    return works


def deaths_until_suspect(run: DryRun, number: int = 1) -> int:
    """Have workers die under a run until its attempt is run in a cell; return how many did."""
    deaths = 0
    while not attempts.is_suspect(run.open()[number]):
        run.reload()
        attempts.recover(run.live, died=True)
        run.go_on()
        deaths += 1
    return deaths


@pytest.mark.parametrize(("budget", "together"), [(1, 1), (2, 1), (None, 2), (3, 2), (5, 4), (50, 49)])
def test_the_last_chance_of_a_budget_is_taken_alone(budget: int | None, together: int) -> None:
    run = DryRun(works_within(budget))
    assert deaths_until_suspect(run) == together
    run.reload()
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.open()[1].deaths == together, "what ran in a cell died with its worker: that counts against nobody"
    attempts.died_alone(run.live, 1, 1, "exit code 9")
    run.go_on()
    assert run.last().type == e.RUN_FAILED
    assert f"{together + 1} processes died" in run.last().data["error"]["message"]


def test_deaths_that_were_forgotten_while_an_attempt_was_in_a_cell_do_not_fail_its_run() -> None:
    run = DryRun(works_within(3))
    assert deaths_until_suspect(run) == 2
    run.send("requeue")
    attempts.died_alone(run.live, 1, 1, "exit code 9")
    draft = run.go_on()
    assert [(one.op, one.attempt) for one in draft.starts] == [(1, 1)], "the same attempt is run again"
    assert run.open()[1].deaths == 1
    assert deaths_until_suspect(run) == 1, "its budget is whole: that was the first of two"
    attempts.died_alone(run.live, 1, 1, "exit code 9")
    run.go_on()
    assert run.last().type == e.RUN_FAILED


@pytest.mark.parametrize("usual", [None, 3])
def test_a_usual_budget_is_not_recorded_so_that_old_histories_read_the_same(usual: int | None) -> None:
    (asked,) = [one for one in DryRun(works_within(usual)).events if one.type == e.STEP_SCHEDULED]
    assert "recoveries" not in asked.data


def test_a_budget_counts_as_it_was_scheduled_whatever_code_comes_later() -> None:
    run = DryRun(works_within(5))
    run.reload(workflow=works_within(2))
    assert run.live.problem is None, "another budget is no other step"
    run.workflow = works_within(2)
    assert deaths_until_suspect(run) == 4


def test_each_attempt_has_its_whole_budget() -> None:
    run = DryRun(works_within(4))
    assert deaths_until_suspect(run) == 3
    run.fail(1, "Broken")
    run.fire(1, "retry", attempt=2)
    assert (run.open()[1].attempt, run.open()[1].deaths) == (2, 0)
    assert deaths_until_suspect(run) == 3


@step(recoveries=6)
async def undo_slowly(what: str) -> None: ...


@workflow
async def undoes_within(flow: Flow) -> None:
    await flow.on_failure(undo_slowly, "by its mark")
    await flow.on_failure(undo_slowly, "by its use", recoveries=4)
    await flow.signal("never")


def test_what_undoes_has_a_budget_too() -> None:
    run = DryRun(undoes_within)
    run.send("cancel")
    for recoveries in (4, 6):
        (number,) = run.open()
        assert deaths_until_suspect(run, number) == recoveries - 1
        run.succeed(number)
    assert run.last().type == e.RUN_CANCELLED


@step(recoveries=6)
async def count_slowly(number: int) -> int:
    return number


async def book(connection: Any, number: int) -> int:
    return number


@workflow
async def asks_in_all_ways(flow: Flow) -> None:
    await flow.gather(
        flow.step(count_slowly, 1),
        flow.step(count_slowly, 1, recoveries=3),
        flow.transaction(book, 1, recoveries=7),
        flow.map(work, [1, 2], recoveries=8),
    )


class DecidesWithin(Decider[None, None]):
    steps = (count_slowly,)

    def decide(self, view: DecisionView[None]) -> Command:
        return RunMany([RunStep(count_slowly, 1), RunStep(count_slowly, 2, recoveries=9)])


@pytest.mark.parametrize(
    ("flow", "budgets"),
    [
        (asks_in_all_ways, [6, 3, 7, 8, 8]),
        (sequence("in_a_row_within", count_slowly), [6]),
        (DecidesWithin.workflow, [6, 9]),
    ],
)
def test_a_budget_is_taken_wherever_a_step_is_asked_for(flow: Any, budgets: list[int]) -> None:
    run = DryRun(flow, 1 if budgets == [6] else None)
    assert [attempts.budget_of(one) for one in run.open().values()] == budgets


@pytest.mark.parametrize("given", [0, -1, True, 2.0, "3"])
def test_what_is_no_budget_is_refused_where_it_is_said(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"recoveries= takes a whole number from 1 on, and got .*Leave it out"):
        step(recoveries=given)


def test_who_looks_at_a_run_sees_how_much_of_its_budget_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    run = DryRun(works_within(3))
    for note in ("after 1 of 3 deaths", "in a cell, after 2 of 3 deaths"):
        run.reload()
        attempts.recover(run.live, died=True)
        run.go_on()
        first, last = run.events[0].at, run.events[-1].at
        row = {
            "run": run.run, "version": 1, "status": "running", "seq": len(run.events), "fence": 1, "recoveries": 1,
            "view": None, "problem": None, "started_at": first, "updated_at": last, "ended_at": None,
            "expires_at": None, "owner": None, "host": None, "pid": None, "alive": False, "messages": 0, "resolved": None,
        }  # fmt: skip
        found = describe(run.workflow.kind, "r", row, run.events, earlier=[])
        print_timeline(found)
        assert capsys.readouterr().out.rstrip().endswith(f" 1         {note}")
