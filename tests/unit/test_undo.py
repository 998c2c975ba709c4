"""What is to be undone, driven by hand: registered whatever comes between, with options of its own, by whoever does it."""

from __future__ import annotations

import pytest

from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


async def work(number: int) -> int:
    return number


async def kills(number: int) -> int:
    return number


async def undo(what: str) -> None: ...


@step(external=True)
async def refund(what: str) -> None: ...


@workflow
async def beside_a_killer(flow: Flow) -> None:
    async def one() -> None:
        await flow.step(work, 1)
        await flow.on_failure(undo, "work")
        await flow.signal("never")

    await flow.gather(one(), flow.step(kills, 2, recoveries=2))


@workflow
async def waits(flow: Flow) -> None:
    await flow.on_failure(undo, "first")
    await flow.on_failure(undo, "second", timeout=3, heartbeat=1, recoveries=5)
    await flow.on_failure(refund, "third")
    await flow.signal("never")


def numbers(run: DryRun) -> dict[str, int]:
    return {found.name: number for number, found in run.open().items()}


@pytest.mark.parametrize("parked", [True, False], ids=["parked", "in the same breath"])
def test_a_run_whose_step_kills_undoes_what_was_done_beside_it(parked: bool) -> None:
    run = DryRun(beside_a_killer)
    run.reload()
    attempts.recover(run.live, died=True)
    run.go_on()
    known = numbers(run)
    if parked:
        run.send("park")
        run.succeed(known["work"], 1)
        assert "undo.registered" not in run.types, "the code asks for nothing more while it is parked"
    else:
        attempts.succeeded(run.live, known["work"], 1, 1)
    attempts.died_alone(run.live, known["kills"], 1, "exit code 9")
    run.go_on()
    assert [one.name for one in run.open().values()] == ["undo"]
    run.succeed(numbers(run)["undo"])
    assert run.types[-2:] == [e.STEP_SUCCEEDED, e.RUN_FAILED]
    assert "not_undone" not in run.last().data


def test_undoing_has_the_options_of_a_step_and_keeps_those_that_it_was_registered_with() -> None:
    run = DryRun(waits)
    run.send("cancel")
    (asked,) = run.open().values()
    assert asked.name == "refund"
    (task,) = run.drafts[-1].tasks.values()
    assert (task.name, task.input, run.drafts[-1].starts) == ("refund", '["third"]', []), "somebody outside does it"
    run.send("step", run=run.run, op=asked.number, attempt=1, status="ok", result=None)
    (asked,) = run.open().values()
    assert (asked.asked["input"], asked.asked["timeout"], asked.asked["recoveries"]) == (["second"], 3.0, 5)
    run.succeed(asked.number)
    (asked,) = run.open().values()
    assert asked.asked["input"] == ["first"]
    assert not {"timeout", "recoveries", "external"} & set(asked.asked)
    run.succeed(asked.number)
    assert run.last().type == e.RUN_CANCELLED
