"""A run tried again from one of its steps on: what of its history the other one begins with."""

from __future__ import annotations

from typing import Any

import pytest

from revenant.errors import ConfigurationError
from revenant.workflows import events as e
from revenant.workflows.events import Event
from revenant.workflows.flow import Flow
from revenant.workflows.forking import begins_with, cut, step_of
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


ORIGIN = {"id": "r", "run": "stream", "op": 5}


def forked(run: DryRun, number: int) -> DryRun:
    """Return a run with that history, read and gone on with."""
    fork = DryRun(run.workflow, begin=False)
    fork.live.put_aside()
    told = [[one.type, one.op, one.at.isoformat(), one.data] for one in cut(run.events, number, origin=ORIGIN)]
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
    assert fork.events[0].data["forked_from"] == ORIGIN
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
