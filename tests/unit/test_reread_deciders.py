"""Whatever a decider decides and whatever happens to it: a snapshot and the events since are what all events are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic_core import from_json

from revenant.client.reducing import reduced_view
from revenant.entities.message import Message
from revenant.workflows import live as live_module
from revenant.workflows.commands import Call, Command, Complete, Fail, RunMany, RunStep, Sleep, StartChild, Wait
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView
from revenant.workflows.live import LiveRun
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import Workflow
from tests.dry import DryRun, stored, told
from tests.unit.test_reread_runs import happenings

NAMES = st.sampled_from(["a", "b"])
SIMPLE = st.one_of(
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("sleep")),
    st.tuples(st.just("wait"), NAMES, st.sampled_from([None, 5])),
    st.tuples(st.just("number"), NAMES),
    st.tuples(st.just("call")),
    st.tuples(st.just("child"), st.booleans()),
)
COMMANDS = st.one_of(
    SIMPLE,
    st.tuples(st.just("either"), st.sampled_from([None, 5])),
    st.tuples(st.just("many"), st.lists(SIMPLE, max_size=3)),
)


async def work(number: int) -> int:
    return number


async def _nothing(flow: Any) -> None: ...


CHILD: Workflow[None, None] = Workflow(_nothing, name="child")


def command(told: Any) -> Command:
    what, *rest = told
    match what:
        case "step":
            return RunStep(work, 1, retry=Retry(attempts=rest[0]))
        case "sleep":
            return Sleep(3)
        case "wait":
            return Wait(rest[0], timeout=rest[1])
        case "number":
            return Wait({rest[0]: int})
        case "call":
            return Call(Message(kind="A", key="a", handler="read", args="{}", load=from_json, caller=None))
        case "child":
            return StartChild(CHILD, wait=rest[0])
        case "either":
            return Wait({"a": int, "b": str}, timeout=rest[0])
        case _:
            return RunMany([command(one) for one in rest[0]])


def decider(program: list[Any], *, fails: bool) -> Workflow[Any, Any]:
    """Goes along its program by what its view says: how much has come of the commands before, and what came at all."""

    class Along(Decider[None, Any]):
        steps = (work,)

        def decide(self, view: DecisionView[None]) -> Command:
            place = len(view.outcomes) + len(view.signals)
            if view.failure is not None and fails:
                return Fail("gave up", str(view.failure.name))
            if place >= 3 * len(program):
                return Complete([[one.seq, one.op, one.type, one.state, one.value] for one in view.outcomes])
            return command(program[place % len(program)])

    return Along.workflow


def knows(live: LiveRun) -> dict[str, Any]:
    """Return all that a run of a decider knows and asks, comparable."""
    decisions = live.decisions
    assert decisions is not None
    seen = {name: getattr(decisions, name) for name in ("outcomes", "results", "timers", "waits", "calls", "children")}
    seen |= {"signals": decisions.signals, "failure": decisions.failure, "open": decisions._open, "seq": decisions.seq}
    count = None if live.replay is None else live.replay.count
    return {**told(live), **seen, "latest": decisions._latest, "now": decisions.now, "count": count}


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take snapshots wherever one may be taken."""
    monkeypatch.setattr(live_module, "is_due", lambda seq, last: True)


@hypothesis_settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    program=st.lists(COMMANDS, min_size=1, max_size=6),
    fails=st.booleans(),
    choices=st.lists(st.integers(0, 10_000), min_size=10, max_size=40),
)
def test_a_snapshot_and_the_events_since_are_what_all_events_are(
    often: None, program: list[Any], fails: bool, choices: list[int]
) -> None:
    run = DryRun(decider(program, fails=fails))
    for choice in choices:
        if run.live.view.over or run.live.view.status == "blocked":
            break
        can: list[Callable[[], object]] = happenings(run)
        can[choice % len(can)]()
        if run.live.draft.consumed and choice % 2:
            continue
        run.go_on()
        if choice % 3 == 0 and not run.live.view.over:
            run.live.put_aside()
            run.live = from_snapshot(run) if choice % 2 else run.reread()
            run.live.now = run.now
        compare(run)
    run.live.put_aside()


def snapshots(run: DryRun) -> list[tuple[int, str]]:
    return [draft.snapshot for draft in run.drafts if draft.snapshot is not None]


def from_snapshot(run: DryRun) -> LiveRun:
    """Return the run as it is read from its last snapshot, if there is one."""
    found = snapshots(run)
    if not found:
        return run.reread()
    seq, text = found[-1]
    live = run._new()
    live.load([stored(one) for one in run.events if one.seq > seq], text)
    return live


def compare(run: DryRun) -> None:
    assert run.live.problem is None, run.live.problem
    if run.live.view.over:
        return
    whole, short = run.reread(), from_snapshot(run)
    assert short.problem is None
    assert knows(short) == knows(whole) == knows(run.live)
    # Without its code nobody knows of what that has asked for and taken while the run is parked.
    if whole.decisions is not None and not run.live.unrecorded and not run.live.refused:
        seen = reduced_view([stored(one) for one in run.events], "r", run.workflow)  # type: ignore[arg-type]  # it is a decider's
        assert seen.outcomes == whole.decisions.outcomes
        assert seen.signals == whole.decisions.signals
    for one in (whole, short):
        one.put_aside()
