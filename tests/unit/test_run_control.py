"""What people do to a run, driven by hand: each is an event, done once, or refused with why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.live import LiveRun
from revenant.workflows.retry import Retry
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow
from tests.dry import DryRun, stored, told

ASKS = "revenant_reply_x"


async def work(number: int) -> int:
    return number


@step(name="work", version=2)
async def better_work(number: int) -> int:
    return number * 2


async def undo(what: str) -> None: ...


@workflow
async def works(flow: Flow) -> int:
    return await flow.step(work, 1, retry=Retry(attempts=3, backoff=60.0))


@workflow(name="works", version=2)
async def works_better(flow: Flow) -> int:
    return await flow.step(better_work, 7, retry=Retry(attempts=3, backoff=60.0))


@workflow(name="works", version=3)
async def works_otherwise(flow: Flow) -> int:
    await flow.sleep(1)
    return 3


@workflow
async def undoes(flow: Flow) -> int:
    await flow.on_failure(undo, "first")
    await flow.step(work, 1)
    return await flow.step(work, 2)


@workflow(name="undoes", version=2)
async def undoes_otherwise(flow: Flow) -> int:
    await flow.sleep(1)
    return 2


@workflow
async def undoes_behind(flow: Flow) -> None:
    """Registers what undoes a step when that is done, and goes on to the next one."""
    for number in (1, 2):
        await flow.step(work, number)
        await flow.on_failure(undo, f"step {number}")


@workflow
async def waits(flow: Flow) -> Any:
    return await flow.signal("go")


def asked(run: DryRun, handler: str, **args: Any) -> Any:
    """Return what whoever asks for it is told."""
    draft = run.send(handler, origin=ASKS, **args)
    (reply, _), *others = draft.replies
    assert others == []
    return json.loads(reply.body)


def refused(run: DryRun, handler: str, **args: Any) -> str:
    """Return why it is refused; nothing is recorded of it."""
    before = len(run.events)
    answer = asked(run, handler, **args)
    assert answer["error"] == ("RunEnded" if run.live.view.over else "RunRefused")
    assert len(run.events) == before
    return str(answer["message"])


def codeless(run: DryRun) -> LiveRun:
    """Return the run as a worker reads it that has not its code."""
    live = LiveRun(
        address=run.address, run=run.run, workflow=run.workflow, now=run.now, chance=lambda: 0.5, limit=10**6,
        codeless="No live worker has it.",
    )  # fmt: skip
    live.load([stored(one) for one in run.events])
    live.now = run.now
    return live


def blocked(run: DryRun, code: Any) -> DryRun:
    """Have the run read by code that does not fit, and blocked."""
    run.workflow = code
    run.reload().go_on()
    assert run.live.view.status == "blocked"
    return run


@pytest.mark.parametrize(
    ("control", "times"), [("cancel", e.RUN_CANCELLING), ("park", e.RUN_PARKED), ("resume", e.RUN_RESUMED)]
)
def test_a_control_that_comes_again_is_done_once(control: str, times: str) -> None:
    run = DryRun(undoes)
    if control == "resume":
        asked(run, "park")
    run.tell(control, origin=ASKS)
    run.tell(control, origin=ASKS)
    draft = run.go_on()
    told = [json.loads(reply.body) for reply, _ in draft.replies]
    assert [one["changed"] for one in told] == [True, False]
    assert {one["status"] for one in told} == {{"cancel": "cancelling", "park": "parked", "resume": "running"}[control]}
    assert run.types.count(times) == 1


def test_a_parked_run_begins_nothing_and_records_what_ends_meanwhile() -> None:
    run = DryRun(undoes)
    asked(run, "park", reason="an audit")
    assert run.live.view.problem == "an audit"
    run.succeed(2, 1)
    assert run.types[-2:] == [e.RUN_PARKED, e.STEP_SUCCEEDED]
    assert told(run.reread()) == told(run.live)
    run.reload().send("resume")
    assert run.types[-3:] == [e.RUN_RESUMED, e.STEP_SCHEDULED, e.ATTEMPT_STARTED]


def test_what_makes_no_sense_is_refused_with_why() -> None:
    run = DryRun(undoes)
    asked(run, "park")
    assert "Resume it" in refused(run, "requeue")
    stuck = blocked(DryRun(works), works_otherwise)
    assert "cannot be parked" in refused(stuck, "park")
    assert "Requeue it" in refused(stuck, "resume")
    asked(run, "cancel")
    assert run.live.view.status == "running"
    assert "about to end" in refused(run, "park")
    assert "about to end" in refused(run, "resume")
    failing = DryRun(undoes)
    failing.fail(2, retryable=False)
    assert "failed already" in refused(failing, "cancel")


def test_a_requeue_makes_a_failed_attempt_be_tried_at_once_and_changes_nothing_where_none_waits() -> None:
    run = DryRun(works)
    assert asked(run, "requeue") == {"changed": False, "status": "running", "problem": None, "version": 1}
    assert e.RUN_REQUEUED not in run.types
    run.fail(1)
    draft = run.send("requeue", origin=ASKS)
    assert json.loads(draft.replies[0][0].body)["changed"]
    assert run.types[-3:] == [e.RUN_REQUEUED, e.RETRY_FIRED, e.ATTEMPT_STARTED]
    assert draft.cancels == [run.live.id_of(1, "retry 2")]
    # What was scheduled comes nevertheless: it may have left the schedule already.
    run.fire(1, "retry", attempt=2)
    assert run.types.count(e.ATTEMPT_STARTED) == 2


def test_a_requeue_forgets_the_workers_that_died() -> None:
    run = DryRun(works)
    for _ in range(2):
        run.reload()
        attempts.recover(run.live, died=True)
        run.go_on()
    assert run.open()[1].deaths == 2
    asked(run, "requeue")
    assert run.open()[1].deaths == 0
    assert told(run.reread()) == told(run.live)


def test_who_parks_a_parked_run_hears_of_the_reason_that_stands() -> None:
    run = DryRun(works)
    assert asked(run, "park", reason="an audit")["problem"] == "an audit"
    again = asked(run, "park", reason="another one")
    assert (again["changed"], again["status"], again["problem"]) == (False, "parked", "an audit")


def test_a_run_with_nothing_to_undo_is_told_to_have_ended_and_one_with_some_to_be_cancelled() -> None:
    assert asked(DryRun(waits), "cancel")["status"] == "cancelled"
    assert asked(DryRun(undoes), "cancel")["status"] == "cancelling"


# Versions.


def test_a_run_goes_on_with_another_version_when_it_is_moved_and_not_before_it_is_read_again() -> None:
    run = DryRun(works)
    draft = run.send("migrate", origin=ASKS, version=2)
    assert run.types[-2:] == [e.RUN_RELEASED, e.RUN_MIGRATED]
    assert [one.handler for one in draft.sends] == ["go"]
    assert run.drafts[-1].reloads
    assert run.live.view.version == 2
    run.reload(works_better)
    attempts.recover(run.live, died=False)
    run.go_on()
    assert run.types[-1] == e.RUN_TAKEN
    assert run.drafts[-1].starts == [(1, 1)]
    # What was recorded is what it is given: the code of today asks with another number.
    assert run.open()[1].asked["input"] == [1]
    run.succeed(1, 2)
    assert run.last().data == {"result": 2}


def test_a_step_that_is_tried_again_by_newer_code_says_so() -> None:
    run = DryRun(works)
    run.fail(1)
    run.send("migrate", version=2)
    run.reload(works_better).fire(1, "retry", attempt=2)
    assert run.last().type == e.ATTEMPT_STARTED
    assert run.last().data == {"attempt": 2, "version": 2}


def test_finished_steps_never_block() -> None:
    run = DryRun(undoes)
    run.succeed(2, 1)
    run.events = [
        one._replace(data={**one.data, "version": 9}) if one.type == e.STEP_SCHEDULED else one for one in run.events
    ]
    run.reload().go_on()
    assert run.live.view.status == "running"


def test_a_migration_to_the_version_that_it_has_changes_nothing() -> None:
    run = DryRun(works)
    assert asked(run, "migrate", version=1) == {"changed": False, "status": "running", "problem": None, "version": 1}
    assert e.RUN_MIGRATED not in run.types
    assert "Requeue it" in refused(blocked(run, works_otherwise), "migrate", version=1)


def test_a_parked_run_is_moved_and_stays_parked() -> None:
    run = DryRun(works)
    asked(run, "park", reason="an audit")
    asked(run, "migrate", version=2)
    assert (run.live.view.status, run.live.view.problem, run.live.view.version) == ("parked", "an audit", 2)
    assert told(run.reread())["view"]["status"] == "parked"


def test_code_that_does_not_fit_blocks_a_run_that_was_moved_and_another_migration_frees_it() -> None:
    run = DryRun(works)
    asked(run, "migrate", version=3)
    run.reload(works_otherwise)
    attempts.recover(run.live, died=False)
    run.go_on()
    assert run.types[-1] == e.RUN_BLOCKED
    assert "'work'" in str(run.live.view.problem)
    assert "'sleep'" in str(run.live.view.problem)
    asked(run, "migrate", version=1)
    run.reload(works)
    attempts.recover(run.live, died=False)
    run.go_on()
    run.succeed(1, 1)
    assert run.last().type == e.RUN_COMPLETED


def test_what_comes_in_one_breath_with_a_migration_waits_for_the_new_code() -> None:
    run = DryRun(waits)
    run.tell("migrate", version=2)
    run.tell("signal", name="go", payload=1)
    run.go_on()
    assert run.types[-2:] == [e.RUN_MIGRATED, e.SIGNAL_RECEIVED]
    run.reload().go_on()
    assert run.last().data == {"result": 1}


def test_a_parked_run_whose_code_is_nowhere_is_blocked_when_it_is_resumed() -> None:
    run = DryRun(works)
    asked(run, "park")
    run.live = codeless(run)
    run.send("resume", origin=ASKS)
    assert run.types[-2:] == [e.RUN_RESUMED, e.RUN_BLOCKED]


def called_back(run: DryRun) -> list[str]:
    """What the run's last commit sends to the run itself."""
    return [sent.handler for sent in run.drafts[-1].sends if (sent.kind, sent.key) == (run.address.kind, "r")]


def test_what_is_to_be_read_again_is_found_by_others_should_this_process_die_before() -> None:
    run = DryRun(works).reload(works_otherwise)
    attempts.recover(run.live, died=False)
    run.go_on()
    assert run.live.view.status == "blocked"
    asked(run, "requeue")
    assert called_back(run) == ["go"]
    waiting = DryRun(waits)
    asked(waiting, "migrate", version=2)
    assert called_back(waiting) == ["go"]
    owned = DryRun(works)
    asked(owned, "migrate", version=2)
    assert called_back(owned) == ["go"]


# The end.


def test_what_is_to_be_undone_by_code_that_is_not_here_blocks_the_end() -> None:
    run = DryRun(undoes)
    asked(run, "cancel")
    assert run.last().type == e.ATTEMPT_STARTED
    run.live = codeless(run)
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.last().type == e.RUN_BLOCKED
    assert told(run.reread())["view"]["status"] == "blocked"
    asked(run, "requeue")
    assert run.drafts[-1].reloads
    run.reload()
    attempts.recover(run.live, died=False)
    run.go_on()
    run.succeed(run.live.view.highest)
    assert run.last().type == e.RUN_CANCELLED
    assert "not_undone" not in run.last().data


def test_a_second_cancellation_ends_a_run_whose_undoing_is_blocked_and_says_what_was_not_undone() -> None:
    run = DryRun(undoes)
    run.live = codeless(run)
    stood = asked(run, "cancel", reason="enough")
    assert run.types[-2:] == [e.RUN_CANCELLING, e.RUN_BLOCKED]
    assert (stood["changed"], stood["status"]) == (True, "blocked")
    assert "another `revenant run cancel` ends it as it is" in stood["problem"]
    stood = asked(run, "cancel", reason="give up")
    assert (stood["changed"], stood["status"]) == (True, "cancelled")
    assert run.last().type == e.RUN_CANCELLED
    assert run.last().data == {"reason": "give up", "not_undone": [1]}


def test_a_blocked_run_is_not_ended_by_one_cancellation_while_it_has_something_to_undo() -> None:
    run = blocked(DryRun(undoes), undoes_otherwise)
    asked(run, "cancel", reason="enough")
    assert run.types[-2:] == [e.RUN_CANCELLING, e.RUN_BLOCKED]
    assert "'undo'" in str(run.live.view.problem), "it says why, as before"
    asked(run, "requeue")
    run.reload(undoes)
    attempts.recover(run.live, died=False)
    run.go_on()
    run.succeed(run.live.view.highest)
    assert run.last().type == e.RUN_CANCELLED
    assert run.last().data == {"reason": "enough", "undone": [1]}
    hopeless = blocked(DryRun(undoes), undoes_otherwise)
    asked(hopeless, "cancel")
    asked(hopeless, "cancel")
    assert hopeless.last().type == e.RUN_CANCELLED
    assert hopeless.last().data["not_undone"] == [1]


def test_the_time_out_of_a_blocked_run_waits_for_the_code_that_undoes() -> None:
    run = blocked(DryRun(undoes), undoes_otherwise)
    run.fire(0, "timeout")
    assert run.types[-2:] == [e.RUN_FAILING, e.RUN_BLOCKED]
    assert "'undo'" in str(run.live.view.problem), "it says why, as before"
    assert "It has failed: `revenant run cancel` ends it as it is" in str(run.live.view.problem)
    asked(run, "requeue")
    run.reload(undoes)
    attempts.recover(run.live, died=False)
    run.go_on()
    run.succeed(run.live.view.highest)
    assert run.last().type == e.RUN_FAILED
    assert run.last().data["error"]["type"] == "RunTimeout"
    assert "not_undone" not in run.last().data


def test_a_run_that_has_failed_and_is_blocked_while_it_undoes_is_ended_by_a_cancellation_as_it_is() -> None:
    run = blocked(DryRun(undoes), undoes_otherwise)
    run.fire(0, "timeout")
    stood = asked(run, "cancel", reason="give up")
    assert (stood["changed"], stood["status"]) == (True, "failed")
    assert run.last().type == e.RUN_FAILED
    assert run.last().data["not_undone"] == [1]
    assert run.last().data["error"]["type"] == "RunTimeout"


def test_a_run_with_nothing_to_undo_ends_without_its_code() -> None:
    run = DryRun(works)
    run.live = codeless(run)
    run.tell("cancel")
    run.go_on()
    assert run.types[-1] == e.RUN_CANCELLED
    assert e.RUN_BLOCKED not in run.types


@pytest.mark.parametrize("again", [False, True], ids=["here", "read again"])
def test_a_run_that_is_cancelled_while_it_is_parked_undoes_what_its_code_has_come_to(again: bool) -> None:
    run = DryRun(undoes_behind)
    asked(run, "park")
    run.succeed(1, 1)
    if again:
        run.reload()
    asked(run, "cancel", reason="enough")
    assert run.types[-4:] == [e.UNDO_REGISTERED, e.RUN_CANCELLING, e.STEP_SCHEDULED, e.ATTEMPT_STARTED]
    assert run.events[-2].data["input"] == ["step 1"]
    run.reload()
    assert run.live.problem is None
    attempts.recover(run.live, died=True)
    run.go_on()
    run.succeed(run.live.view.highest)
    assert run.last().type == e.RUN_CANCELLED
    assert "not_undone" not in run.last().data


def test_a_run_that_ends_in_the_breath_in_which_a_step_is_done_undoes_that_step() -> None:
    run = DryRun(undoes_behind)
    attempts.succeeded(run.live, 1, 1, 1)
    asked(run, "cancel")
    assert e.UNDO_REGISTERED in run.types
    late = DryRun(undoes_behind)
    attempts.succeeded(late.live, 1, 1, 1)
    late.fire(0, "timeout")
    assert late.types[-4:] == [e.UNDO_REGISTERED, e.RUN_FAILING, e.STEP_SCHEDULED, e.ATTEMPT_STARTED]
