"""Deciding: a view is reduced from events, a loop without an end is seen, and snapshots have the shape they say."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from revenant.errors import ConfigurationError
from revenant.workflows import (
    Command,
    Complete,
    Decider,
    DecisionView,
    Outcome,
    RunMany,
    RunStep,
    Sleep,
    StartChild,
    Wait,
)
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.advancing import advance
from revenant.workflows.attempts import succeeded
from revenant.workflows.decider import as_workflow
from revenant.workflows.events import Event
from revenant.workflows.flow import Flow
from revenant.workflows.live import LiveRun
from revenant.workflows.pending import Updates
from revenant.workflows.replay import Answer, Replay
from revenant.workflows.sequence import sequence
from revenant.workflows.signals import Signals
from revenant.workflows.snapshot import FORMAT, LEAST_EVENTS, Snapshot, is_due, read_snapshot, shape_of
from revenant.workflows.view import OperationView, Signal, View
from revenant.workflows.workflow import Workflow, workflow
from tests.dry import DryRun

PARTS = (Snapshot, View, OperationView, Event, Signal, Signals, Updates, Outcome)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = "019a0000-0000-7000-8000-000000000007"


async def add(n: int) -> int:
    return n + 1


@workflow
async def other(flow: Flow) -> None: ...


class Counting(Decider[int, int]):
    steps = (add,)

    def decide(self, view: DecisionView[int]) -> Command:
        if len(view.results) < view.input:
            return RunStep(add, len(view.results))
        return Complete(len(view.results))


class Spinning(Decider[None, None]):
    def decide(self, view: DecisionView[None]) -> Command:
        return StartChild(other, wait=False)


def begun(found: Workflow[Any, Any], given: Any = None) -> LiveRun:
    live = LiveRun(
        address=Address(7, found.kind, "k"), run=RUN, workflow=found, now=NOW, chance=lambda: 0.5, limit=10**6
    )
    live.record(e.RUN_STARTED, None, workflow=found.name, version=1, input=given)
    advance(live)
    return live


def go_on(live: LiveRun) -> None:
    """Have each attempt that is under way succeed with one more than it got."""
    for found in [one for one in live.view.operations.values() if one.running]:
        succeeded(live, found.number, found.attempt, found.asked["input"][0] + 1)
    advance(live)


def test_reducer_records_step_results_and_workflow_result() -> None:
    live = begun(Counting.workflow, 2)
    while not live.view.over:
        go_on(live)
    assert live.decisions is not None
    assert live.decisions.results == [
        Outcome(4, 1, "step", "add", "done", 1, None, 1),
        Outcome(7, 2, "step", "add", "done", 2, None, 1),
    ]
    assert live.view.end is not None
    assert live.view.end.data["result"] == 2


def test_a_view_is_what_the_events_say_whoever_reads_them() -> None:
    live = begun(Counting.workflow, 5)
    for _ in range(3):
        go_on(live)
    again = LiveRun(address=live.address, run=RUN, workflow=live.workflow, now=NOW, chance=lambda: 0.5, limit=10**6)
    again.load(live.draft.events)
    assert again.decisions == live.decisions
    assert again.view == live.view
    assert again.problem is None


def test_a_loop_that_waits_for_nothing_fails_the_run() -> None:
    live = begun(Spinning.workflow)
    assert live.view.status == "failed"
    assert live.view.end is not None
    assert live.view.end.data["error"]["type"] == "InvalidCommand"
    assert "nothing has to be waited for" in live.view.end.data["error"]["message"]


def test_snapshot_schema_contract_pins_revision_to_state_shape() -> None:
    @dataclasses.dataclass
    class Grown(View):
        more: int = 0

    Grown.__annotations__ = {**View.__annotations__, **Grown.__annotations__}
    Grown.__name__ = "View"
    assert shape_of(View) == shape_of(View) != shape_of(Grown)
    for told in PARTS:
        assert shape_of(*(one for one in PARTS if one is not told)) != FORMAT
    assert shape_of(*PARTS) == FORMAT


def test_a_snapshot_is_read_as_it_was_written() -> None:
    live = begun(Counting.workflow, 5000)
    while live.draft.snapshot is None:
        go_on(live)
    seq, text = live.draft.snapshot
    assert seq >= LEAST_EVENTS
    stood = read_snapshot(text)
    assert stood.view.seq == seq
    assert Snapshot(stood.view, stood.outcomes, stood.signals, stood.count).write() == text
    whole, short = (
        LiveRun(address=live.address, run=RUN, workflow=live.workflow, now=NOW, chance=lambda: 0.5, limit=10**6)
        for _ in range(2)
    )
    for _ in range(3):
        go_on(live)
    whole.load(live.draft.events)
    short.load([event for event in live.draft.events if event.seq > seq], text)
    assert short.view == whole.view
    assert short.decisions == whole.decisions
    assert short.problem is None
    for one in (whole, short):
        go_on(one)
    assert short.draft.events == whole.draft.events
    assert short.draft.starts == whole.draft.starts


class Mixed(Decider[int, int]):
    """Has one operation outstanding, or two, or one of several."""

    steps = (add,)

    def decide(self, view: DecisionView[int]) -> Command:
        match len(view.outcomes) % 6:
            case 0:
                return RunMany([RunStep(add, len(view.outcomes)), RunStep(add, 7)])
            case 2:
                return Wait({"a": int, "b": int}, timeout=60)
            case 3:
                return RunMany([StartChild(other), Sleep(5)])
            case 5:
                return RunStep(add, 1) if len(view.outcomes) < view.input else Complete(len(view.outcomes))
        raise AssertionError(view.outcomes)


def test_a_snapshot_is_taken_only_where_nothing_outstanding_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever one is taken, the run that is read from it goes on as the one that was not."""
    monkeypatch.setattr("revenant.workflows.live.is_due", lambda seq, last: True)
    live, taken = begun(Mixed.workflow, 30), dict[int, str]()
    while not live.view.over:
        for found in list(live.view.operations.values())[:1]:
            if found.running:
                succeeded(live, found.number, found.attempt, found.asked["input"][0] + 1)
            elif found.type == "wait":
                live.record(e.SIGNAL_RECEIVED, None, name="b", payload=1)
            elif found.type == "timer":
                live.record(e.TIMER_FIRED, found.number)
            else:
                live.record(e.CHILD_FINISHED, found.number, id="x", status="ok", result=None)
        advance(live)
        if live.draft.snapshot is not None:
            taken.update([live.draft.snapshot])
    assert len(taken) > 10
    for seq, text in taken.items():
        again = LiveRun(address=live.address, run=RUN, workflow=live.workflow, now=NOW, chance=lambda: 0.5, limit=10**6)
        again.load([event for event in live.draft.events if event.seq > seq], text)
        assert (again.problem, again.view) == (None, live.view), seq
        assert again.decisions is not None
        assert live.decisions is not None
        assert again.decisions.outcomes == live.decisions.outcomes, seq
        assert again.decisions.signals == live.decisions.signals, seq


def test_every_field_of_a_view_is_in_a_snapshot_or_empty_where_one_is_taken() -> None:
    """A snapshot holds the view as a whole, so nothing that a later feature adds to it can be forgotten."""
    assert {field.name for field in dataclasses.fields(Snapshot)} >= {"view"}
    view = View(
        version=3,
        seq=9,
        signal_ids={"b": None, "a": None},
        updates=Updates({"m": None}),
        recoveries=2,
        now=NOW,
        generation=4,
    )
    view.started = Event(1, e.RUN_STARTED, None, NOW, {"input": {"a": [1]}})
    view.take(Event(10, e.SIGNAL_RECEIVED, None, NOW, {"name": "s", "payload": {"x": 1}, "id": "c"}))
    text = Snapshot(view, [], [], 4).write()
    assert read_snapshot(text).view == view


def test_snapshots_are_as_far_apart_as_the_stream_is_long() -> None:
    assert not is_due(499, 0)
    assert is_due(500, 0)
    assert not is_due(10_000, 7_501)
    assert is_due(10_000, 7_500)


def test_a_race_takes_one_signal_and_leaves_the_others() -> None:
    @workflow
    async def racing(flow: Flow) -> list[Any]:
        first = await flow.race(flow.signal("a"), flow.signal("b"))
        return [first, await flow.signal("b")]

    live = LiveRun(
        address=Address(7, "run:racing", "k"), run=RUN, workflow=racing, now=NOW, chance=lambda: 0.5, limit=10**6
    )
    live.record(e.RUN_STARTED, None, workflow="racing", version=1, input=None, signals=[["a", 1, None], ["b", 2, None]])
    advance(live)
    assert live.view.end is not None
    assert live.view.end.data["result"] == [[0, 1], 2]
    assert [event.type for event in live.draft.events] == [
        e.RUN_STARTED, e.SIGNAL_TAKEN, e.SIGNAL_TAKEN, e.RUN_COMPLETED,
    ]  # fmt: skip


def test_fired_timer_id_reuse_fails_terminally() -> None:
    class Again(Decider[None, None]):
        def decide(self, view: DecisionView[None]) -> Command:
            return Sleep(1, id="deadline")

    live = begun(Again.workflow)
    live.record(e.TIMER_FIRED, 1)
    advance(live)
    assert live.view.end is not None
    error = live.view.end.data["error"]
    assert (error["type"], "deadline" in error["message"]) == ("InvalidCommand", True)


def test_signals_that_were_there_have_one_outcome_each() -> None:
    class Both(Decider[None, list[Any]]):
        def decide(self, view: DecisionView[None]) -> Command:
            if not view.waits:
                return RunMany([Wait("a"), Wait("b"), Wait("c")])
            return Complete([[one.name, one.value, one.seq] for one in view.waits])

    live = LiveRun(
        address=Address(7, "run:Both", "k"), run=RUN, workflow=Both.workflow, now=NOW, chance=lambda: 0.5, limit=10**6
    )
    live.record(e.RUN_STARTED, None, workflow="Both", version=1, input=None, signals=[["a", 1, None], ["b", 2, None]])
    advance(live)
    live.record(e.SIGNAL_RECEIVED, None, name="c", payload=3)
    advance(live)
    assert live.view.end is not None
    assert live.view.end.data["result"] == [["a", 1, -1], ["b", 2, -2], ["c", 3, 5]]


def test_a_sequence_is_typed_by_its_first_and_last_step() -> None:
    async def words(text: str) -> list[str]:
        return text.split()

    def count(words: list[str]) -> int:
        return len(words)

    found = sequence("count", words, count, version=2)
    assert (found.name, found.version, found.takes_input) == ("count", 2, True)
    assert found.write_input("a b", limit=100) == "a b"
    assert found.result.annotation is int
    with pytest.raises(ConfigurationError, match="takes 2 arguments"):
        sequence("pair", words, max_of)
    with pytest.raises(ConfigurationError, match="no steps"):
        sequence("none")


async def max_of(a: int, b: int) -> int:
    return max(a, b)


def test_a_decider_is_declared_with_what_it_takes() -> None:
    assert as_workflow(Counting) is Counting.workflow
    assert (Counting.workflow.name, Counting.workflow.takes_input) == ("Counting", True)
    assert not Spinning.workflow.takes_input

    class Loose(Decider, name="loose", version=3):  # type: ignore[type-arg]  # whoever does not check types may leave them
        def decide(self, view: DecisionView[Any]) -> Command:
            return Wait("x")

    assert (Loose.workflow.name, Loose.workflow.version, Loose.workflow.takes_input) == ("loose", 3, True)

    class Empty(Decider[int, int]): ...

    with pytest.raises(ConfigurationError, match="no `decide`"):
        as_workflow(Empty)
    assert as_workflow(int) is None


def test_a_view_can_be_built_to_test_a_decider_by_itself() -> None:
    view = DecisionView(input=2)
    assert Counting().decide(view) == RunStep(add, 0)
    view.add(Outcome(4, 1, "step", "add", "done", 1))
    view.add(Outcome(7, 2, "step", "add", "done", 2))
    assert Counting().decide(view) == Complete(2)
    assert view.result(add) == 2
    failed = Outcome(5, 3, "step", "add", "failed", error={"type": "ValueError", "message": "no"})
    assert DecisionView(input=2, outcomes=[*view.outcomes, failed]).failure is failed
    assert RunMany([Wait("a")]) == RunMany([Wait("a")])


def test_ten_thousand_finished_operations_leave_nothing_in_a_replay() -> None:
    @workflow
    async def mapping(flow: Flow, items: int) -> int:
        return len(await flow.map(add, range(items), limit=50))

    live = begun(mapping, 10_000)
    most = 0
    while not live.view.over:
        most = max(most, len(live.view.operations), len(live.operations), len(live.unrecorded))
        go_on(live)
        live.take_draft()
    assert most == 50
    assert live.view.operations == {}
    assert live.view.end is not None
    assert live.view.end.data["result"] == 10_000


def test_a_replay_says_how_much_was_asked_for() -> None:
    async def code() -> None: ...

    replay = Replay(asks=lambda number, operation: Answer())
    replay.begin(code(), count=7)
    assert replay.count == 7


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Wait(["go", "stop"]), "it waits for a signal by its name, or for some by name and type"),  # type: ignore[arg-type]  # the mistake
        (Wait({}), "it waits for a signal by its name"),
        (StartChild("shipping"), r"flow.child() takes a workflow, as @workflow marks one"),
    ],
)
def test_a_command_that_is_built_by_mistake_is_told_in_words(command: Command, words: str) -> None:
    class Mistaken(Decider[None, None]):
        def decide(self, view: DecisionView[None]) -> Command:
            return command

    error = DryRun(Mistaken.workflow).last().data["error"]
    assert error["type"] == "InvalidCommand"
    assert words in error["message"]


def test_a_decider_does_not_wait() -> None:
    with pytest.raises(ConfigurationError, match="`decide` of Waits is `async def`"):

        class Waits(Decider[None, None]):
            async def decide(self, view: DecisionView[None]) -> Command:  # type: ignore[override]  # the mistake
                return Complete(None)
