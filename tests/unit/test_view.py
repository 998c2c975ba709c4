"""The reducer, an event at a time: what each event makes of a run, and what it leaves as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from revenant.workflows import events as e
from revenant.workflows.events import ENDS, Event
from revenant.workflows.view import OperationView, View

START = datetime(2026, 1, 1, tzinfo=UTC)
DUE = START + timedelta(hours=1)
ERROR = {"type": "ValueError", "message": "no"}
Told = tuple[str, int | None, dict[str, Any]]

STARTED: Told = (e.RUN_STARTED, None, {"version": 1, "input": {"id": 7}})
STEP: Told = (e.STEP_SCHEDULED, 1, {"name": "charge", "args": [1]})
BEGUN: Told = (e.ATTEMPT_STARTED, 1, {"attempt": 1})
WAIT: Told = (e.WAIT_STARTED, 1, {"name": "word", "due": DUE.isoformat()})
SIGNAL: Told = (e.SIGNAL_RECEIVED, None, {"name": "word", "payload": 5, "id": "s1"})
UPDATE: Told = (e.UPDATE_RECEIVED, None, {"name": "word", "payload": 5, "message": "m1", "id": "u1", "origin": "c1"})


def reduced(*told: Told, keep: bool = True) -> View:
    """What these events come to, one a second."""
    view = View(keep=keep)
    for seq, (type, op, data) in enumerate(told, 1):
        view.take(Event(seq, type, op, START + timedelta(seconds=seq), data))
    return view


def one(*told: Told) -> OperationView:
    """The operation 1 of these events."""
    return reduced(STARTED, *told).operations[1]


# The run.


def test_a_run_begins_with_its_input_and_version() -> None:
    view = reduced(STARTED)
    assert (view.input, view.version, view.generation, view.status) == ({"id": 7}, 1, 1, "running")
    assert (view.seq, view.now, view.over) == (1, START + timedelta(seconds=1), False)


def test_a_history_that_goes_on_afresh_begins_with_what_nobody_had_taken() -> None:
    view = reduced(
        (
            e.RUN_STARTED,
            None,
            {
                "version": 2,
                "generation": 3,
                "children": [["hops", "c"]],
                "signals": [["word", 5, None], ["word", 6, "m1"]],
                "signal_ids": ["s1"],
                "updates": {"waiting": {"m1": "c1"}, "ids": {"u1": "m1"}, "answers": {"m1": None}},
            },
        )
    )
    assert (view.version, view.generation, view.signal_ids) == (2, 3, {"s1": None})
    assert list(view.children.values()) == [("hops", "c")]
    assert [one.payload for one in view.signals.named("word", updates=False)] == [5]
    assert [one.payload for one in view.signals.named("word", updates=True)] == [6]
    assert view.updates.senders("m1") == [("m1", "c1")]


def test_each_event_moves_the_number_and_the_clock_also_those_that_nothing_is_known_of() -> None:
    view = reduced(STARTED, ("something.newer", 9, {}))
    assert (view.seq, view.now, view.operations) == (2, START + timedelta(seconds=2), {})


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ({"reason": "enough"}, None),
        ({"undo_errors": [{"op": 2, "name": "refund", "error": {"type": "KeyError", "message": "'card'"}}]},
         "It left what was not undone: refund (for operation 2) failed with KeyError: 'card'."),
        ({"undo_errors": [{"op": 2, "name": "refund", "error": {"type": "MemoryError", "message": ""}}], "not_undone": [1]},
         "It left what was not undone: refund (for operation 2) failed with MemoryError; operation 1, for which nothing was "
         "tried."),
        ({"not_undone": list(range(1, 8))}, "for which nothing was tried; and 2 more."),
        ({"note": "its history could not be read"}, "whatever was registered, since its history could not be read."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("type", [e.RUN_FAILED, e.RUN_CANCELLED])
def test_what_a_run_leaves_that_was_not_undone_is_its_problem_after_its_end(type: str, data: Any, left: Any) -> None:
    problem = reduced(STARTED, (type, None, data)).problem
    assert problem is None if left is None else (problem or "").endswith(left)


@pytest.mark.parametrize("type", ENDS)
def test_after_an_end_nothing_is_under_way(type: str) -> None:
    view = reduced(STARTED, STEP, BEGUN, (type, None, {}))
    assert (view.over, view.status, view.problem) == (True, ENDS[type], None)
    assert view.end is not None
    assert view.end.type == type
    assert not view.operations[1].running


def test_a_run_is_parked_and_resumed_with_why() -> None:
    parked = (e.RUN_PARKED, None, {"reason": "lunch"})
    assert (reduced(STARTED, parked).status, reduced(STARTED, parked).problem) == ("parked", "lunch")
    view = reduced(STARTED, parked, (e.RUN_RESUMED, None, {}))
    assert (view.status, view.problem) == ("running", None)


@pytest.mark.parametrize("type", [e.RUN_REQUEUED, e.RUN_MIGRATED])
def test_a_blocked_run_goes_on_and_a_parked_one_stays_parked(type: str) -> None:
    data = {"version": 1}
    blocked = reduced(STARTED, (e.RUN_BLOCKED, None, {"reason": "misfit"}))
    assert (blocked.status, blocked.problem) == ("blocked", "misfit")
    view = reduced(STARTED, (e.RUN_BLOCKED, None, {"reason": "misfit"}), (type, None, data))
    assert (view.status, view.problem) == ("running", None)
    view = reduced(STARTED, (e.RUN_PARKED, None, {"reason": "lunch"}), (type, None, data))
    assert (view.status, view.problem) == ("parked", "lunch")


def test_migrating_moves_the_version_and_keeps_the_deaths_that_requeuing_forgets() -> None:
    died: Told = (e.RUN_RECOVERED, None, {"died": [1]})
    view = reduced(STARTED, STEP, BEGUN, died, died, (e.RUN_MIGRATED, None, {"version": 2}))
    assert (view.version, view.operations[1].deaths, view.recoveries) == (2, 2, 2)
    view = reduced(STARTED, STEP, BEGUN, died, died, (e.RUN_REQUEUED, None, {}))
    assert (view.version, view.operations[1].deaths, view.recoveries) == (1, 0, 2)


@pytest.mark.parametrize("type", [e.RUN_CANCELLING, e.RUN_FAILING])
@pytest.mark.parametrize("before", [e.RUN_PARKED, e.RUN_BLOCKED])
def test_a_run_that_is_about_to_end_is_neither_parked_nor_blocked(type: str, before: str) -> None:
    view = reduced(STARTED, (before, None, {"reason": "x"}), (type, None, {"reason": "enough"}))
    assert (view.status, view.problem, view.over) == ("running", None, False)
    assert view.closing is not None
    assert view.closing.type == type


def test_a_run_that_was_let_go_is_taken_on_by_whoever_begins_recovers_or_takes_it() -> None:
    released: Told = (e.RUN_RELEASED, None, {})
    assert reduced(STARTED, STEP, BEGUN, released).released
    takers: list[Told] = [
        (e.RUN_TAKEN, None, {}), (e.RUN_RECOVERED, None, {"died": []}), (e.ATTEMPT_STARTED, 1, {"attempt": 2}),
    ]  # fmt: skip
    for taker in takers:
        assert not reduced(STARTED, STEP, BEGUN, released, taker).released


def test_a_wish_to_go_on_afresh_is_known_with_its_input() -> None:
    view = reduced(STARTED, (e.RUN_CONTINUED, None, {"input": 8}))
    assert (view.continued, view.continued_now) == (8, True)


# Steps.


def test_a_step_is_open_from_when_it_is_asked_for_and_running_from_its_attempt_on() -> None:
    asked = one(STEP)
    assert (asked.type, asked.name, asked.state, asked.attempt, asked.running) == ("step", "charge", "open", 0, False)
    assert (asked.asked, asked.asked_at) == (STEP[2], START + timedelta(seconds=2))
    begun = one(STEP, BEGUN)
    assert (begun.state, begun.attempt, begun.running) == ("open", 1, True)


def test_a_failed_attempt_pauses_until_its_retry_fires_and_the_next_one_begins_afresh() -> None:
    failed: Told = (e.ATTEMPT_FAILED, 1, {"attempt": 1, "error": ERROR})
    retry: Told = (e.RETRY_SCHEDULED, 1, {"attempt": 2, "due": DUE.isoformat()})
    fired: Told = (e.RETRY_FIRED, 1, {"attempt": 2})
    step = one(STEP, BEGUN, failed)
    assert (step.running, step.error, step.state) == (False, ERROR, "open")
    step = one(STEP, BEGUN, failed, retry)
    assert (step.pausing, step.due, step.attempt) == (True, DUE, 1)
    step = one(STEP, BEGUN, failed, retry, fired)
    assert (step.pausing, step.due, step.running) == (False, None, False)
    died: Told = (e.RUN_RECOVERED, None, {"died": [1]})
    step = one(STEP, BEGUN, died, failed, retry, (e.ATTEMPT_STARTED, 1, {"attempt": 2}))
    assert (step.attempt, step.running, step.pausing, step.due, step.deaths) == (2, True, False, None, 0)


@pytest.mark.parametrize(
    ("ended", "state", "result", "error"),
    [
        ((e.STEP_SUCCEEDED, 1, {"result": 5}), "done", 5, None),
        ((e.STEP_FAILED, 1, {"error": ERROR}), "failed", None, ERROR),
        ((e.STEP_CANCELLED, 1, {}), "cancelled", None, None),
    ],
)
def test_a_step_ends_in_one_of_three_ways(ended: Told, state: str, result: Any, error: Any) -> None:
    step = one(STEP, BEGUN, ended)
    assert (step.state, step.result, step.error, step.running, step.pausing) == (state, result, error, False, False)


def test_what_has_ended_is_dropped_unless_somebody_looks() -> None:
    ended: Told = (e.STEP_SUCCEEDED, 1, {"result": 5})
    view = reduced(STARTED, STEP, BEGUN, ended, keep=False)
    assert (view.operations, view.highest) == ({}, 1)
    # What comes for it afterwards changes nothing.
    for late in (BEGUN, (e.ATTEMPT_FAILED, 1, {"error": ERROR}), (e.RUN_RECOVERED, None, {"died": [1]}), ended):
        assert reduced(STARTED, STEP, BEGUN, ended, late, keep=False).operations == {}


# What is waited for.


@pytest.mark.parametrize(
    ("asked", "ended", "state", "result"),
    [
        ((e.TIMER_SCHEDULED, 1, {"name": "sleep", "due": DUE.isoformat()}), (e.TIMER_FIRED, 1, {}), "done", None),
        ((e.TIMER_SCHEDULED, 1, {"name": "sleep", "due": DUE.isoformat()}), (e.TIMER_CANCELLED, 1, {}), "cancelled", None),
        (WAIT, (e.WAIT_EXPIRED, 1, {}), "failed", None),
        (WAIT, (e.WAIT_CANCELLED, 1, {}), "cancelled", None),
        ((e.CALL_SENT, 1, {"name": "A.f", "id": "m"}), (e.CALL_ANSWERED, 1, {"status": "ok", "result": 3}), "done", 3),
        ((e.CALL_SENT, 1, {"name": "A.f", "id": "m"}), (e.CALL_ANSWERED, 1, {"status": "error", "error": ERROR}), "failed", None),
        ((e.CALL_SENT, 1, {"name": "A.f", "id": "m"}), (e.CALL_ABANDONED, 1, {}), "cancelled", None),
    ],
)  # fmt: skip
def test_what_is_waited_for_comes_fails_or_is_given_up(asked: Told, ended: Told, state: str, result: Any) -> None:
    assert one(asked).state == "open"
    found = one(asked, ended)
    assert (found.state, found.result) == (state, result)


def test_a_time_out_is_known_with_its_moment() -> None:
    assert one(WAIT).due == DUE
    assert one((e.WAIT_STARTED, 1, {"name": "word"})).due is None


@pytest.mark.parametrize(
    "told",
    [(e.CAST_SENT, 1, {"name": "A.f", "id": "m"}), (e.JOB_DEFERRED, 1, {"name": "mail"})],
)
def test_what_nobody_waits_for_is_done_at_once(told: Told) -> None:
    assert one(told).state == "done"


def test_a_child_is_waited_for_or_done_at_once_and_then_closed_with_its_parent_if_it_is_to_be() -> None:
    child = {"name": "hops", "id": "c", "wait": True, "on_close": "cancel"}
    assert reduced(STARTED, (e.CHILD_STARTED, 1, child)).children == {}
    assert one((e.CHILD_STARTED, 1, child)).state == "open"
    assert one((e.CHILD_STARTED, 1, child), (e.CHILD_FINISHED, 1, {"status": "ok", "result": 4})).result == 4
    assert one((e.CHILD_STARTED, 1, child), (e.CHILD_ABANDONED, 1, {})).state == "cancelled"
    failed = one((e.CHILD_STARTED, 1, child), (e.CHILD_FINISHED, 1, {"status": "error", "error": ERROR}))
    assert (failed.state, failed.error) == ("failed", ERROR)
    alone = reduced(STARTED, (e.CHILD_STARTED, 1, {**child, "wait": False}))
    assert (alone.operations[1].state, alone.children) == ("done", {1: ("hops", "c")})
    assert reduced(STARTED, (e.CHILD_STARTED, 1, {**child, "wait": False, "on_close": "abandon"})).children == {}


def test_an_approval_is_open_until_it_is_decided_and_the_decision_is_remembered() -> None:
    asked: Told = (e.APPROVAL_ASKED, 1, {"name": "manager", "assignee": "ann"})
    given: Told = (e.APPROVAL_GIVEN, 1, {"name": "manager", "result": {"approved": True}})
    assert one(asked).state == "open"
    view = reduced(STARTED, asked, given, keep=False)
    assert (view.operations, view.decisions) == ({}, {1: ("manager", {"approved": True})})


# Signals and updates.


def test_an_early_signal_is_kept_until_it_is_taken() -> None:
    view = reduced(STARTED, SIGNAL)
    assert [kept.payload for kept in view.signals.named("word", updates=False)] == [5]
    assert view.signal_ids == {"s1": None}
    view = reduced(STARTED, SIGNAL, (e.SIGNAL_TAKEN, 1, {"name": "word", "signal": 2}))
    assert view.signals.waiting == {}
    assert (view.operations[1].state, view.operations[1].result) == ("done", 5)
    assert view.delivered[3][0] == 1
    view = reduced(STARTED, UPDATE, (e.UPDATE_TAKEN, 1, {"name": "word", "signal": 2}))
    assert (view.signals.waiting, view.operations[1].type, view.operations[1].result) == ({}, "update", 5)


def test_a_signal_goes_to_whoever_has_waited_longest_for_its_name() -> None:
    other: Told = (e.WAIT_STARTED, 1, {"name": "other"})
    first, second = ((e.WAIT_STARTED, number, {"name": "word"}) for number in (2, 3))
    view = reduced(STARTED, other, first, second, SIGNAL)
    assert [view.operations[number].state for number in (1, 2, 3)] == ["open", "done", "open"]
    assert (view.operations[2].result, view.delivered[5][0], view.signals.waiting) == (5, 2, {})
    view = reduced(STARTED, other, first, second, SIGNAL, (e.SIGNAL_RECEIVED, None, {"name": "word", "payload": 6}))
    assert view.operations[3].result == 6, "one that has its signal takes no other"


def test_a_wait_takes_no_update_and_an_update_no_signal() -> None:
    view = reduced(STARTED, WAIT, UPDATE)
    assert view.operations[1].state == "open"
    assert [kept.update for kept in view.signals.named("word", updates=True)] == ["m1"]
    view = reduced(STARTED, (e.UPDATE_AWAITED, 1, {"name": "word"}), SIGNAL)
    assert view.operations[1].state == "open"
    assert [kept.update for kept in view.signals.named("word", updates=False)] == [None]


def test_a_refused_signal_is_kept_no_longer() -> None:
    view = reduced(STARTED, SIGNAL, (e.SIGNAL_REFUSED, None, {"name": "word", "signal": 2, "reason": "misfit"}))
    assert view.signals.waiting == {}
    assert reduced(STARTED, (e.SIGNAL_REFUSED, None, {"name": "word", "reason": "misfit"})).signals.waiting == {}


def test_an_update_is_answered_to_all_who_sent_it_and_its_answer_is_remembered() -> None:
    again: Told = (e.UPDATE_JOINED, None, {"message": "m2", "update": "m1", "origin": "c2"})
    asked: Told = (e.UPDATE_AWAITED, 1, {"name": "word"})
    view = reduced(STARTED, asked, UPDATE, again)
    assert view.operations[1].state == "done"
    assert view.updates.senders("m1") == [("m1", "c1"), ("m2", "c2")]
    answered: Told = (e.UPDATE_ANSWERED, 2, {"name": "word", "message": "m1", "status": "ok", "result": 9})
    view = reduced(STARTED, asked, UPDATE, again, answered)
    assert (view.updates.senders("m1"), view.updates.answers) == ([], {"m1": {"status": "ok", "result": 9}})
    assert view.operations[2].state == "done"


def test_a_refused_update_is_settled_and_kept_no_longer() -> None:
    refused: Told = (
        e.UPDATE_REFUSED,
        None,
        {"name": "word", "signal": 2, "message": "m1", "status": "error", "error": ERROR},
    )
    view = reduced(STARTED, UPDATE, refused)
    assert (view.signals.waiting, view.updates.senders("m1")) == ({}, [])
    assert view.updates.answers == {"m1": {"status": "error", "error": ERROR}}


# What is undone, and small changes of code.


def test_what_is_undone_is_remembered_in_order_and_so_is_what_could_not_be() -> None:
    undos: list[Told] = [(e.UNDO_REGISTERED, number, {"name": f"undo {number}"}) for number in (1, 2)]
    view = reduced(STARTED, *undos)
    assert (view.undos, view.undone) == ([1, 2], set())
    second: Told = (e.STEP_SCHEDULED, 3, {"name": "undo 2", "undoes": 2})
    first: Told = (e.STEP_SCHEDULED, 4, {"name": "undo 1", "undoes": 1})
    view = reduced(
        STARTED, *undos, second, (e.STEP_SUCCEEDED, 3, {"result": None}), first, (e.STEP_FAILED, 4, {"error": ERROR})
    )
    assert view.undone == {1, 2}
    assert view.undo_errors == [{"op": 1, "name": "undo 1", "error": ERROR}]


def test_a_patch_is_known_by_its_name() -> None:
    assert reduced(STARTED, (e.PATCH_RECORDED, None, {"name": "faster"})).patches == {"faster"}


def test_the_highest_number_is_that_of_what_was_asked_for_last() -> None:
    timer: Told = (e.TIMER_SCHEDULED, 7, {"name": "sleep", "due": DUE.isoformat()})
    assert reduced(STARTED, STEP, timer, keep=False).highest == 7
