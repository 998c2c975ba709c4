"""Runs in memory, driven by hand: what messages and attempts' ends make of them, and what is read again."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pydantic import BaseModel, field_validator
from pydantic_core import from_json

from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.replay import in_code
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.dry import DryRun, told


class Word(BaseModel):
    """What a signal may be asked to be; it refuses some words in a way that pydantic does not expect."""

    text: str

    @field_validator("text")
    @classmethod
    def refuse(cls, text: str) -> str:
        if text == "odd":
            raise RuntimeError("a validator of the user's")
        if text == "exit":
            sys.exit("a validator that gives up its process")
        return text


async def work(number: int) -> int:
    return number


async def undo(what: str) -> None: ...


@workflow
async def asks_after_a_timer(flow: Flow) -> Any:
    await flow.sleep(1)
    return await flow.signal("word")


@workflow
async def asks_for_a_word(flow: Flow) -> str:
    word = await flow.signal("word", Word)
    return word.text


@workflow
async def asks_for_a_word_after_a_timer(flow: Flow) -> str:
    await flow.sleep(1)
    return (await flow.signal("word", Word)).text


@workflow
async def works(flow: Flow) -> int:
    return await flow.step(work, 1, retry=Retry(attempts=2, backoff=1.0))


@workflow(name="works")
async def works_otherwise(flow: Flow) -> int:
    await flow.sleep(1)
    return 2


@workflow(timeout=60)
async def undoes(flow: Flow) -> None:
    await flow.on_failure(undo, "first")
    await flow.on_failure(undo, "second")
    await flow.signal("never")


# Signals.


def test_a_signal_that_comes_in_one_breath_with_what_makes_the_code_wait_for_it_is_taken() -> None:
    run = DryRun(asks_after_a_timer)
    run.tell("fire", run=run.run, op=1, what="timer")
    run.signal("word", "yes")
    assert run.last().type == e.RUN_COMPLETED
    assert run.last().data == {"result": "yes"}
    assert told(run.reread()) == told(run.reload().live)


def test_a_signal_that_comes_with_the_start_itself_is_taken() -> None:
    run = DryRun(asks_for_a_word, begin=False)
    run.signal("word", {"text": "yes"})
    assert run.last().data == {"result": "yes"}


def test_a_signal_that_comes_while_a_run_is_parked_is_taken_when_it_is_resumed() -> None:
    run = DryRun(asks_after_a_timer)
    run.send("park")
    run.fire(1)
    run.signal("word", "yes")
    assert run.live.view.status == "parked"
    assert told(run.reread()) == told(run.live)
    run.reload().send("resume")
    assert run.last().type == e.RUN_COMPLETED
    assert run.last().data == {"result": "yes"}


def test_an_early_signal_waits_for_the_code() -> None:
    run = DryRun(asks_after_a_timer)
    run.signal("word", "early")
    run.signal("word", "later")
    run.fire(1)
    assert run.last().data == {"result": "early"}
    assert e.SIGNAL_TAKEN in run.types


def test_a_signal_of_an_id_that_was_there_is_not_taken_again() -> None:
    run = DryRun(asks_after_a_timer)
    run.signal("word", 1, id="one", origin="revenant_reply_x")
    again = run.signal("word", 2, id="one", origin="revenant_reply_x")
    assert run.types.count(e.SIGNAL_RECEIVED) == 1
    assert again.replies[0][0].body == "false"


@pytest.mark.parametrize("wrong", [{"text": 5}, {"text": "odd"}, {"text": "exit"}, None])
def test_a_signal_of_the_wrong_shape_is_recorded_as_refused_and_the_run_waits_on(wrong: Any) -> None:
    run = DryRun(asks_for_a_word)
    draft = run.signal("word", wrong, origin="revenant_reply_x")
    assert run.last().type == e.SIGNAL_REFUSED
    assert from_json(draft.replies[0][0].body)["error"] == "InvalidArguments"
    run.signal("word", {"text": "good"})
    assert run.last().data == {"result": "good"}


@pytest.mark.parametrize("wrong", [{"text": 5}, {"text": "odd"}, {"text": "exit"}])
def test_an_early_signal_of_the_wrong_shape_is_refused_when_the_code_comes_to_it_and_once_only(wrong: Any) -> None:
    run = DryRun(asks_for_a_word_after_a_timer)
    run.signal("word", wrong)
    run.fire(1)
    assert run.types[-2:] == [e.SIGNAL_REFUSED, e.WAIT_STARTED]
    assert told(run.reread()) == told(run.live)
    run.reload().go_on()
    assert run.types.count(e.SIGNAL_REFUSED) == 1
    run.signal("word", {"text": "good"})
    assert run.last().data == {"result": "good"}


def test_a_race_that_one_buffered_signal_decides_leaves_the_other_one_alone() -> None:
    @workflow
    async def chooses(flow: Flow) -> Any:
        await flow.sleep(1)
        first = await flow.race(flow.signal("a"), flow.signal("b"))
        return [first, await flow.signal("b")]

    run = DryRun(chooses)
    run.signal("b", "B")
    run.signal("a", "A")
    run.fire(1)
    assert run.last().type == e.RUN_COMPLETED
    assert run.last().data == {"result": [[0, "A"], "B"]}


# What cannot be used.


@pytest.mark.parametrize(
    ("handler", "args"),
    [
        ("fire", {}),
        ("fire", {"run": "x", "op": [1], "what": "timer"}),
        ("answer", {"op": {}, "id": "x", "status": "ok"}),
        ("finished", {"status": "ok"}),
        ("finished", {"run": "x", "op": 1, "id": "x", "status": "failed", "error": "no"}),
        ("step", {}),
        ("step", {"run": "x", "op": 1, "attempt": "1", "status": "ok", "result": 1}),
        ("step", {"run": "x", "op": 1, "attempt": 1, "status": "error", "error": "no", "retryable": True}),
        ("signal", {}),
        ("signal", {"name": "word", "id": ["a"]}),
        ("signal", {"name": "word", "payload": "a\0b"}),
        ("update", {"name": None}),
        ("frobnicate", {}),
    ],
)
def test_a_message_that_no_run_can_use_is_refused_and_changes_nothing(handler: str, args: dict[str, Any]) -> None:
    run = DryRun(asks_for_a_word)
    before = list(run.types)
    draft = run.send(handler, origin="revenant_reply_x", **args)
    assert run.types == before
    assert len(draft.consumed) == 1
    assert draft.replies[0][0].status == "error"


# Blocked runs.


def test_code_that_asks_for_something_else_is_blocked_with_both_in_the_message() -> None:
    run = DryRun(works).reload(works_otherwise)
    draft = run.go_on()
    assert run.live.view.status == "blocked"
    assert "step 'work'" in str(run.live.view.problem)
    assert "timer 'sleep'" in str(run.live.view.problem)
    assert not draft.starts
    run.go_on()
    assert run.types.count(e.RUN_BLOCKED) == 1


def test_a_blocked_run_goes_on_with_the_same_attempt_when_its_code_is_back() -> None:
    run = DryRun(works).reload(works_otherwise)
    attempts.recover(run.live, died=True)
    draft = run.go_on()
    assert not draft.starts, "an attempt that nobody has the code of is not begun"
    assert run.live.view.status == "blocked"
    assert run.live.view.released, "nobody owns a run that is blocked"
    run.send("requeue")
    run.reload(works)
    attempts.recover(run.live, died=False)
    draft = run.go_on()
    assert [(one.op, one.attempt) for one in draft.starts] == [(1, 1)]
    run.succeed(1, 7)
    assert run.last().data == {"result": 7}


@workflow(name="turns")
async def turns(flow: Flow) -> str:
    while True:
        place, _ = await flow.race(flow.sleep(60), flow.signal("leave"), flow.signal("turn"))
        if place == 1:
            return "left"


@workflow(name="turns")
async def turns_otherwise(flow: Flow) -> None:
    await flow.sleep(1)
    await flow.signal("leave")


def test_what_is_decided_while_a_run_is_blocked_gives_the_others_up_when_its_code_is_back() -> None:
    run = DryRun(turns).reload(turns_otherwise)
    run.signal("turn")
    assert run.live.view.status == "blocked"
    run.workflow = turns
    run.reload(turns).send("requeue")
    run.reload(turns).go_on()
    assert sorted(run.open()) == [4, 5, 6], "what nobody waits for any more is recorded as given up"
    run.signal("leave")
    assert run.last().data == {"result": "left"}


@workflow
async def counts(flow: Flow) -> int:
    return 1


@workflow
async def works_beside_a_child(flow: Flow) -> Any:
    return await flow.gather(flow.step(work, 1), flow.child(counts))


def test_an_attempt_that_is_taken_over_with_what_blocks_its_run_waits_for_the_code() -> None:
    run = DryRun(works_beside_a_child).reload()
    attempts.recover(run.live, died=True)
    draft = run.send("finished", run=run.run, op=2, id="r/2", status="ok", result="many")
    assert run.live.view.status == "blocked"
    assert not draft.starts, "its function is not known any more: it would fail for good"
    assert run.live.view.released, "nobody owns a run that is blocked"
    assert run.open()[1].running


def test_an_attempt_that_is_taken_over_with_its_cancellation_does_not_begin() -> None:
    run = DryRun(works).reload()
    attempts.recover(run.live, died=True)
    draft = run.send("cancel")
    assert run.last().type == e.RUN_CANCELLED
    assert not draft.starts


def test_a_run_ends_at_the_third_death_under_one_attempt_and_only_if_nothing_else_ran_there() -> None:
    run = DryRun(works)
    for deaths in (1, 2, 2, 2):
        run.reload()
        attempts.recover(run.live, died=True)
        assert [one.attempt for one in run.go_on().starts] == [1], "whoever dies with it, it goes on"
        assert run.open()[1].deaths == deaths
        assert attempts.is_suspect(run.open()[1]) == (deaths == 2), "and is alone from now on: it is not to blame"
    attempts.died_alone(run.live, 1, 1, "exit code 9")
    run.go_on()
    assert run.last().type == e.RUN_FAILED
    assert run.last().data["error"]["type"] == "recovery_budget_exceeded"
    assert "exit code 9" in run.last().data["error"]["message"]
    assert run.reload().live.view.recoveries == 5


def test_an_undo_that_kills_its_process_is_told_of_and_the_others_are_done() -> None:
    run = DryRun(undoes)
    run.send("cancel")
    (first,) = run.open()
    for _ in range(2):
        run.reload()
        attempts.recover(run.live, died=True)
        run.go_on()
    attempts.died_alone(run.live, first, 1, "exit code 9")
    run.go_on()
    (second,) = run.open()
    run.succeed(second)
    assert run.last().type == e.RUN_CANCELLED, "as it was to end"
    (told_of,) = run.last().data["undo_errors"]
    assert told_of["error"]["type"] == "recovery_budget_exceeded"


def test_a_death_of_what_is_not_under_way_any_more_is_nothing() -> None:
    run = DryRun(works)
    attempts.died_alone(run.live, 1, 2, "exit code 9")
    assert not run.live.draft.events


def test_a_release_is_no_death() -> None:
    run = DryRun(works)
    for _ in range(5):
        run.live.record(e.RUN_RELEASED)
        run.go_on()
        run.reload()
        attempts.recover(run.live, died=False)
        assert [one.attempt for one in run.go_on().starts] == [1]
    assert run.live.view.recoveries == 0


def test_an_attempt_that_begins_after_a_release_is_owned() -> None:
    run = DryRun(undoes)
    run.live.record(e.RUN_RELEASED)
    run.send("cancel")
    assert run.last().type == e.ATTEMPT_STARTED
    assert not run.live.view.released


# Ends.


def test_what_is_to_be_undone_is_undone_from_the_last_to_the_first() -> None:
    run = DryRun(undoes)
    run.send("cancel", reason="enough")
    (first,) = run.open().values()
    assert first.asked["input"] == ["second"]
    run.succeed(first.number)
    (second,) = run.open().values()
    assert second.asked["input"] == ["first"]
    assert told(run.reread()) == told(run.live)
    run.succeed(second.number)
    assert run.last().type == e.RUN_CANCELLED
    assert run.last().data == {"reason": "enough", "undone": [1, 2]}


def test_a_run_that_is_being_cancelled_is_not_failed_by_its_time_out() -> None:
    run = DryRun(undoes)
    run.send("cancel")
    run.fire(0, "timeout")
    assert e.RUN_FAILING not in run.types
    for _ in range(2):
        (undoing,) = run.open()
        run.succeed(undoing)
    assert run.last().type == e.RUN_CANCELLED


@pytest.mark.parametrize("late", ["signal", "cancel", "park", "resume", "requeue", "update"])
def test_a_run_that_has_ended_takes_nothing_more(late: str) -> None:
    run = DryRun(works)
    run.succeed(1, 1)
    assert run.types.count(e.RUN_COMPLETED) == 1
    draft = run.send(late, origin="revenant_reply_x", name="word")
    assert from_json(draft.replies[0][0].body)["error"] == "RunEnded"
    assert run.last().type == e.RUN_COMPLETED


@pytest.mark.parametrize("door", ["patched", "show"])
def test_code_that_unwinds_adds_nothing_to_a_history_that_has_ended(door: str) -> None:
    @workflow(timeout=1)
    async def stubborn(flow: Flow) -> None:
        try:
            await flow.signal("never")
        finally:
            getattr(flow, door)("late")

    run = DryRun(stubborn)
    draft = run.fire(0, "timeout")
    assert run.last().type == e.RUN_FAILED
    assert e.PATCH_RECORDED not in run.types
    assert draft.view is None


# Patches.


@workflow(name="patches")
async def without_patch(flow: Flow) -> Any:
    return await flow.gather(flow.step(work, 1), flow.step(work, 2))


async def _newer(flow: Flow) -> Any:
    first = await flow.step(work, 1)
    if flow.patched("newer"):
        await flow.sleep(1)
    return first


@workflow(name="patches")
async def with_patch(flow: Flow) -> Any:
    return await flow.gather(_newer(flow), flow.step(work, 2))


def test_a_patch_that_is_met_at_the_end_of_a_history_is_recorded_after_all_of_it() -> None:
    run = DryRun(without_patch)
    run.succeed(1, 1)
    run.live.record(e.RUN_RELEASED)
    run.go_on()
    run.reload(with_patch).go_on()
    assert run.types[-3:] == [e.RUN_RELEASED, e.PATCH_RECORDED, e.TIMER_SCHEDULED]
    assert [one.seq for one in run.events] == list(range(1, len(run.events) + 1))
    assert told(run.reread()) == told(run.live)


@workflow(name="rounds")
async def rounds(flow: Flow) -> None:
    for _ in range(4):
        await flow.signal("go")
        await flow.step(work, 1)


@workflow(name="rounds")
async def patched_rounds(flow: Flow) -> None:
    for _ in range(4):
        await flow.signal("go")
        if flow.patched("later"):
            await flow.sleep(1)
        await flow.step(work, 1)


def _round(run: DryRun) -> None:
    run.signal("go")
    if run.open()[max(run.open())].type == "timer":
        run.fire(max(run.open()))
    run.succeed(max(run.open()), 1)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_the_first_answer_about_a_patch_is_that_of_all_rounds_of_a_loop(before: int) -> None:
    run = DryRun(rounds)
    for _ in range(before):
        _round(run)
    run.reload(patched_rounds).go_on()
    for _ in range(before, 4):
        _round(run)
        assert run.live.problem is None
        assert run.reread().problem is None
    assert run.types[-1] == e.RUN_COMPLETED
    assert run.types.count(e.TIMER_FIRED) == (0 if before else 4)


@workflow(name="first")
async def takes_the_first(flow: Flow) -> None:
    await flow.race(flow.step(work, 1), flow.step(work, 2))


@workflow(name="first")
async def takes_both(flow: Flow) -> None:
    await flow.gather(flow.step(work, 1), flow.step(work, 2))


def test_code_that_waits_for_what_was_given_up_is_blocked_and_does_not_wait_for_ever() -> None:
    run = DryRun(takes_the_first)
    run.send("park")
    run.succeed(2, 2)
    assert run.types[-1] == e.STEP_CANCELLED
    run.reload(takes_both)
    run.send("resume")
    assert run.types[-1] == e.RUN_BLOCKED
    told = run.last().data["reason"]
    assert "event 8 (step.cancelled), that nobody waits for operation 1" in told
    assert "version 1 of the code of 'first' waits there for step 'work'" in told


def test_code_that_unwinds_is_code_of_a_workflow_still() -> None:
    where = []

    @workflow
    async def cleans_up(flow: Flow) -> None:
        try:
            await flow.signal("never")
        finally:
            where.append(in_code.get())

    DryRun(cleans_up).live.put_aside()
    assert where == [True]
