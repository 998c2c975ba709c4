"""A run tried again from one of its steps on: what of its history the other one begins with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import from_json

from revenant.entities.message import Message
from revenant.errors import ConfigurationError
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.flow import Flow
from revenant.workflows.forking import begins_with, check_undone, cut, step_of
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.dry import DryRun, stored


async def one(number: int) -> int:
    return number


async def two(number: int) -> int:
    return number


async def undo() -> None: ...


@workflow(timeout=60)
async def travels(flow: Flow) -> Any:
    await flow.on_failure(undo)
    first = await flow.step(one, 1)
    word = await flow.signal("word")
    left, right = await flow.gather(flow.step(one, 2, retry=Retry(backoff=60)), flow.step(two, 3))
    return [first, word, left, right]


def travelled() -> DryRun:
    run = DryRun(travels)
    run.send("park")
    run.signal("other", "early")
    run.signal("word", "yes")
    run.send("resume")
    run.succeed(2, 1)
    run.fail(4)
    run.fail(5, retryable=False)
    return run


@workflow
async def pays(flow: Flow) -> None:
    await flow.step(one, 0)
    await flow.step(one, 1)
    await flow.on_failure(undo)
    await flow.step(two, 2)
    await flow.step(two, 3)


@workflow
async def pays_carefully(flow: Flow) -> None:
    await flow.on_failure(undo)
    await flow.step(one, 1)


def test_what_a_run_has_undone_is_not_taken_for_done_by_a_fork() -> None:
    run = DryRun(pays)
    run.succeed(1, 0)
    run.succeed(2, 1)
    run.succeed(4, 2)
    check_undone(run.events, 5, what="r")
    run.fail(5, retryable=False)
    with pytest.raises(ConfigurationError, match=r"undone what it did \(undo\).*operation 5 on.*--step 2"):
        check_undone(run.events, 5, what="r")  # it is being undone
    run.succeed(6)
    assert run.last().data["undone"] == [3]
    for number in (3, 4, 5):
        with pytest.raises(ConfigurationError, match="Nothing was forked"):
            check_undone(run.events, number, what="r")
    for number in (1, 2):
        check_undone(run.events, number, what="r")


def test_what_was_registered_before_anything_was_done_is_done_anew_from_there() -> None:
    run = DryRun(pays_carefully)
    run.fail(2, retryable=False)
    run.succeed(3)
    check_undone(run.events, 1, what="r")
    with pytest.raises(ConfigurationError, match="--step 1"):
        check_undone(run.events, 2, what="r")


ORIGIN = {"id": "r", "run": "stream", "op": 5}


def forked(run: DryRun, number: int, id: str = "r", origin: dict[str, Any] = ORIGIN) -> DryRun:
    """Return a run with that history, read and gone on with."""
    fork = DryRun(run.workflow, begin=False, id=id)
    fork.live.put_aside()
    told = [[one.type, one.op, one.at.isoformat(), one.data] for one in cut(run.events, number, origin=origin)]
    fork.events = begins_with(told, run.workflow, 1)
    fork.live = fork._new()
    fork.live.load([stored(one) for one in fork.events])
    fork.go_on()
    return fork


def test_what_was_done_before_is_kept_and_the_rest_is_asked_for_anew() -> None:
    run = travelled()
    assert run.live.view.closing is not None
    fork = forked(run, 5)
    kept = [(one.type, one.op) for one in fork.events]
    assert kept == [
        (e.RUN_STARTED, None),
        (e.UNDO_REGISTERED, 1),
        (e.STEP_SCHEDULED, 2),
        (e.ATTEMPT_STARTED, 2),
        (e.SIGNAL_RECEIVED, None),
        (e.SIGNAL_RECEIVED, None),
        (e.STEP_SUCCEEDED, 2),
        (e.SIGNAL_TAKEN, 3),
        # From here on it is its own.
        (e.STEP_SCHEDULED, 4),
        (e.STEP_SCHEDULED, 5),
        (e.ATTEMPT_STARTED, 4),
        (e.ATTEMPT_STARTED, 5),
    ]
    assert [one.seq for one in fork.events] == list(range(1, len(fork.events) + 1))
    assert fork.events[0].data["forked_from"] == {**ORIGIN, "events": 8}
    assert [one.data["signal"] for one in fork.events if one.type == e.SIGNAL_TAKEN] == [6]
    assert fork.live.view.signals.waiting["other"][0].payload == "early"
    fork.succeed(4, 2)
    fork.succeed(5, 3)
    assert fork.last().type == e.RUN_COMPLETED
    assert fork.last().data == {"result": [1, "yes", 2, 3]}


def test_what_the_first_run_was_to_others_the_second_is_not() -> None:
    run = travelled()
    first = run.events[0]
    told = {
        "parent": ["run:x", "p", 1, True, "s"],
        "continues": "stream",
        "children": [["x", "c"]],
        "updates": {"waiting": {"m": "c"}},
    }
    run.events[0] = first._replace(data={**first.data, **told, "generation": 3, "signals": [["kept", 1, None]]})
    (begin, *_) = cut(run.events, 2, origin=ORIGIN)
    assert not set(told) & set(begin.data)
    assert begin.data["signals"] == [["kept", 1, None]]
    assert "timeout" not in begin.data
    (begin, *_) = begins_with([[begin.type, None, begin.at.isoformat(), begin.data]], travels, 1)
    assert begin.data["timeout"] == 60
    update = Event(2, e.UPDATE_RECEIVED, None, first.at, {"name": "x", "message": "m", "origin": "revenant_reply_x"})
    shifted = [run.events[0], update, *(one._replace(seq=one.seq + 1) for one in run.events[1:])]
    assert cut(shifted, 2, origin=ORIGIN)[1].data["origin"] is None


def test_the_step_is_found_by_name_by_number_or_because_it_failed() -> None:
    history = travelled().events
    assert step_of(history, "two", what="r") == 5
    assert step_of(history, 4, what="r") == 4
    assert step_of(history, None, what="r") == 5
    for step, said in (
        ("one", "2, 4"),
        ("three", "has not asked for 'three'"),
        (9, "no operation 9"),
        ("undo", "undo"),
    ):
        if step == "undo":
            assert step_of(history, step, what="r") == 1, "the registration, not what ran at the end"
            continue
        with pytest.raises(ConfigurationError, match=said):
            step_of(history, step, what="r")
    with pytest.raises(ConfigurationError, match="r has no step that failed"):
        step_of(history[:6], None, what="r")
    with pytest.raises(ConfigurationError, match="r has asked for nothing yet.*Start it anew"):
        step_of(history[:1], None, what="r")


@pytest.mark.parametrize("told", [[], [1], [["run.completed", None, "2026-01-01T00:00:00+00:00", {}]], [["x", 1]]])
def test_what_is_no_history_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match="no history"):
        begins_with(told, travels, 1)


async def _both(flow: Flow) -> Any:
    await flow.step(one, 1)
    return await flow.step(two, 2)


@workflow
async def beside_a_timer(flow: Flow) -> Any:
    return await flow.gather(flow.sleep(60), _both(flow))


def test_what_was_open_beside_the_step_is_done_anew_as_the_other_runs_own() -> None:
    run = DryRun(beside_a_timer)
    run.succeed(2, 1)
    fork = forked(run, 3)
    assert (e.TIMER_SCHEDULED, 1) not in [(one.type, one.op) for one in cut(run.events, 3, origin=ORIGIN)]
    assert [one.id for one in fork.drafts[-1].schedules] == [fork.live.id_of(1, "timer")]
    assert fork.live.id_of(1, "timer") != run.live.id_of(1, "timer")


def message(key: str) -> Message[Any]:
    return Message(kind="Ledger", key=key, handler="book", args="{}", load=from_json, caller=None)


@workflow
async def by_chance_and_by_name(flow: Flow) -> Any:
    drawn = []
    for _ in range(4):
        if flow.random() < 0.5:
            await flow.step(one, 1)
        else:
            await flow.step(two, 1)
        await flow.cast(message(f"of {flow.id}"))
        await flow.signal(f"go {flow.uuid()} on {flow.id}")
        drawn.append(flow.random())
    return drawn


def go_round(run: DryRun) -> None:
    run.succeed(max(run.open()), 1)
    run.signal(run.last().data["name"])


def test_along_what_the_first_run_recorded_a_fork_has_the_chance_and_the_names_of_then() -> None:
    for _ in range(8):
        run = DryRun(by_chance_and_by_name, id="order")
        for _ in range(3):
            go_round(run)
        fork = forked(run, 7, id="again/order", origin={"id": "order", "run": run.run, "op": 7})
        assert fork.live.problem is None
        go_round(fork)
        assert fork.reread().problem is None
        assert "on again/order" in fork.events[-2].data["name"] + fork.events[-3].data["name"]
        third = forked(fork, 10, id="order/3", origin={"id": "again/order", "run": fork.run, "op": 10})
        assert third.live.problem is None, third.events[0].data["forked_from"]
        for each in (fork, third):
            while not each.live.view.over:
                go_round(each)
        drawn = [run.live.view.seq, fork.last().data["result"], third.last().data["result"]]
        assert drawn[1][:2] == drawn[2][:2], "as far as it was recorded"
        assert drawn[1][3] != drawn[2][3], "what comes is its own"


def test_a_fork_is_not_taken_for_the_first_run_where_more_than_its_id_differs() -> None:
    run = DryRun(by_chance_and_by_name, id="order")
    go_round(run)
    told = cut(run.events, max(run.open()), origin={"id": "other", "run": run.run, "op": 4})
    fork = DryRun(by_chance_and_by_name, begin=False, id="again")
    fork.live.put_aside()
    fork.live = fork._new()
    fork.live.load([stored(one) for one in told])
    assert fork.live.problem is not None
    assert "Ledger('of order').book" in fork.live.problem
    assert "Ledger('of again').book" in fork.live.problem
