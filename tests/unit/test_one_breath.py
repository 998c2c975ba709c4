"""What comes in one breath with what ends a wait for it: it is kept for whoever asks next, and done to nobody else."""

from __future__ import annotations

import pytest

from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


async def work(number: int) -> int:
    return number


async def undo(what: str) -> None: ...


@workflow
async def rounds(flow: Flow) -> list[object]:
    """Waits for a word, a while at a time."""
    found: list[object] = []
    for number in range(2):
        found.append(await flow.race(flow.sleep(1), flow.signal("word")))
        await flow.step(work, number)
    return found


@workflow
async def answers(flow: Flow) -> object:
    """Answers an update, a while at a time."""
    for _ in range(2):
        place, request = await flow.race(flow.sleep(1), flow.update("ask"))
        if place:
            await request.reply("heard")
            return request.value
        await flow.step(work, 1)
    return None


@workflow
async def asks(flow: Flow) -> object:
    """Asks a person, until somebody else has done it."""
    place, _ = await flow.race(flow.signal("done"), flow.approval("pay"))
    return place


@workflow
async def beside(flow: Flow) -> None:
    async def one() -> None:
        await flow.step(work, 1)
        await flow.on_failure(undo, "one")

    await flow.gather(one(), flow.step(work, 2))


def same_again(run: DryRun) -> None:
    """Read the run from its events at each of them; it must come to the same."""
    before, waits = list(run.types), {number: found.type for number, found in run.open().items()}
    run.reload()
    run.go_on()
    assert run.types == before
    assert {number: found.type for number, found in run.open().items()} == waits


def test_a_signal_that_comes_in_one_breath_with_the_end_of_its_wait_is_there_for_the_next_one() -> None:
    run = DryRun(rounds)
    run.tell("fire", run=run.run, op=1, what="timer")
    run.tell("signal", name="word", payload="late")
    run.go_on()
    assert run.types[3:6] == [e.TIMER_FIRED, e.WAIT_CANCELLED, e.SIGNAL_RECEIVED]
    same_again(run)
    run.succeed(3, 0)
    assert e.SIGNAL_TAKEN in run.types
    same_again(run)
    (again,) = run.open()
    run.succeed(again, 1)
    assert run.last().data["result"] == [[0, None], [1, "late"]]


def test_an_update_that_comes_so_is_answered_by_the_next_one() -> None:
    run = DryRun(answers)
    run.tell("fire", run=run.run, op=1, what="timer")
    run.tell("update", name="ask", payload=7, origin="revenant_reply_x")
    run.go_on()
    same_again(run)
    draft = run.succeed(3, 1)
    assert run.last().data["result"] == 7
    assert [reply.body for reply, _ in draft.replies] == ['"heard"']


def test_a_decision_about_what_is_not_asked_any_more_is_refused() -> None:
    run = DryRun(asks)
    run.tell("signal", name="done")
    run.tell("decide", name="pay", approved=True, by="ann", origin="revenant_reply_x")
    draft = run.go_on()
    assert e.APPROVAL_GIVEN not in run.types
    (reply,) = [reply for reply, _ in draft.replies]
    assert reply.status == "error"
    assert "is not waited for" in reply.body


@pytest.mark.parametrize("died", [False, True])
def test_a_step_that_ends_in_one_breath_with_what_cancels_it_is_cancelled(died: bool) -> None:
    run = DryRun(beside)
    attempts.failed(run.live, 2, 1, {"error": "RunFailed", "type": "X", "message": "no"}, retryable=False)
    if died:
        attempts.died_alone(run.live, 1, 1, "exit code 9")
    else:
        attempts.succeeded(run.live, 1, 1, 1)
    run.go_on()
    assert run.types[-2:] == [e.STEP_CANCELLED, e.RUN_FAILED]
    assert run.last().data["error"]["type"].endswith("StepFailed"), "it fails by what its code raised"


@workflow
async def sells(flow: Flow) -> None:
    await flow.on_failure(undo, "all")
    await flow.step(work, 1)
    await flow.on_failure(undo, "work")


@pytest.mark.parametrize("ends", ["cancel", "time-out"])
def test_what_is_done_after_a_run_was_told_to_end_is_not_recorded_as_done(ends: str) -> None:
    run = DryRun(sells)
    if ends == "cancel":
        run.tell("cancel")
    else:
        run.tell("fire", run=run.run, op=0, what="timeout")
    attempts.succeeded(run.live, 2, 1, 1)
    run.go_on()
    assert e.STEP_SUCCEEDED not in run.types
    assert run.types[4:] == [
        e.RUN_CANCELLING if ends == "cancel" else e.RUN_FAILING, e.STEP_CANCELLED, e.STEP_SCHEDULED, e.ATTEMPT_STARTED,
    ]  # fmt: skip
    assert run.drafts[-1].stops == [2]
