"""The time of runs, driven by hand: messages about another history do nothing, and a run ends by one cause."""

from __future__ import annotations

from revenant.codec import new_id
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


async def undo() -> None: ...


@workflow(timeout=60)
async def undoes(flow: Flow) -> None:
    await flow.on_failure(undo)
    await flow.sleep(10)


def test_a_timer_of_a_history_that_has_been_left_does_nothing() -> None:
    run = DryRun(undoes)
    count = len(run.events)
    for what in ("timer", "timeout"):
        run.send("fire", run=new_id(run.address.bucket), op=2, what=what)
    assert len(run.events) == count
    run.fire(2)
    assert e.TIMER_FIRED in run.types


def test_a_timer_that_fires_twice_fires_once() -> None:
    run = DryRun(undoes)
    run.tell("fire", run=run.run, op=2, what="timer")
    run.tell("fire", run=run.run, op=2, what="timer")
    run.go_on()
    assert run.types.count(e.TIMER_FIRED) == 1
    assert run.last().type == e.RUN_COMPLETED


def test_a_run_that_is_cancelled_is_not_failed_by_its_time_out() -> None:
    run = DryRun(undoes)
    run.send("cancel", reason="enough")
    run.fire(0, "timeout")
    assert e.RUN_FAILING not in run.types
    run.succeed(3)
    assert run.last().type == e.RUN_CANCELLED


def test_a_run_that_takes_too_long_undoes_and_then_fails() -> None:
    run = DryRun(undoes)
    draft = run.fire(0, "timeout")
    assert draft.events[0].type == e.RUN_FAILING
    assert run.live.id_of(2, "timer") in draft.cancels
    run.succeed(3)
    assert run.last().data["error"]["type"] == "RunTimeout"
