"""Steps that are run at most once: an attempt whose worker has ended is not run again, and says that it is unknown."""

from __future__ import annotations

import pytest

from revenant.errors import ConfigurationError, StepFailed, StepInterrupted
from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


@step(at_most_once=True)
async def pay(order: str) -> str:
    return f"paid {order}"


async def look(order: str) -> str:
    return f"found {order}"


@workflow
async def pays(flow: Flow) -> str:
    try:
        return await flow.step(pay, "o")
    except StepFailed as error:
        return f"{error.type} after {error.attempts}"


@workflow
async def pays_again(flow: Flow) -> str:
    return await flow.step(pay, "o", retry=Retry(attempts=2, backoff=1.0, on=(StepInterrupted,)))


@workflow
async def pays_patiently(flow: Flow) -> str:
    return await flow.step(pay, "o", retry=Retry(attempts=2))


@workflow
async def pays_beside(flow: Flow) -> list[str]:
    async def paying() -> str:
        try:
            return await flow.step(pay, "o")
        except StepFailed:
            return "unknown"

    return list(await flow.gather(paying(), flow.step(look, "o")))


@workflow
async def pays_in_a_transaction(flow: Flow) -> str:
    return await flow.transaction(step(at_most_once=True)(take))


@workflow
async def takes_it_back(flow: Flow) -> None:
    await flow.on_failure(pay, "back")
    await flow.signal("never")


async def take(connection: object) -> str:
    return "taken"


@pytest.mark.parametrize("died", [True, False], ids=["its worker died", "its worker stopped"])
def test_an_attempt_that_was_under_way_has_failed_and_is_not_run_again(died: bool) -> None:
    run = DryRun(pays).reload()
    attempts.recover(run.live, died=died)
    draft = run.go_on()
    assert not draft.starts
    assert run.types[-3:] == [e.ATTEMPT_FAILED, e.STEP_FAILED, e.RUN_COMPLETED]
    assert run.last().data == {"result": "revenant.errors.StepInterrupted after 1"}
    message = run.events[-2].data["error"]["message"]
    assert message.startswith("Attempt 1 of step pay was under way when its worker ended")
    assert "unknown" in message


def test_another_attempt_follows_where_the_retry_names_that_error() -> None:
    run = DryRun(pays_again).reload()
    attempts.recover(run.live, died=True)
    assert not run.go_on().starts
    assert run.last().type == e.RETRY_SCHEDULED
    draft = run.fire(1, "retry 2", attempt=2)
    assert [(one.op, one.attempt) for one in draft.starts] == [(1, 2)]
    run.reload()
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.last().type == e.RUN_FAILED, "the attempts are counted as after any failure"


def test_a_retry_on_any_exception_is_not_one_on_this() -> None:
    run = DryRun(pays_patiently).reload()
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.last().type == e.RUN_FAILED


def test_a_failure_that_is_known_is_followed_by_another_attempt_only_where_that_was_asked_for() -> None:
    run = DryRun(pays)
    run.fail(1)
    assert run.types[-2:] == [e.STEP_FAILED, e.RUN_COMPLETED]
    run = DryRun(pays_patiently)
    run.fail(1)
    assert run.last().type == e.RETRY_SCHEDULED


def test_the_steps_beside_it_are_run_again() -> None:
    run = DryRun(pays_beside).reload()
    attempts.recover(run.live, died=True)
    assert [(one.op, one.attempt) for one in run.go_on().starts] == [(2, 1)]
    run.succeed(2, "found o")
    assert run.last().data == {"result": ["unknown", "found o"]}


def test_the_mark_is_kept_with_the_step_whatever_is_deployed_later() -> None:
    run = DryRun(pays)
    assert run.open()[1].asked["at_most_once"] is True
    pays_otherwise = workflow(name="pays")(pays_often)
    run.reload(pays_otherwise)
    attempts.recover(run.live, died=True)
    assert not run.go_on().starts


async def pays_often(flow: Flow) -> str:
    return await flow.step(step(name="pay")(look), "o")


def test_an_attempt_of_a_blocked_run_waits_for_its_code_first() -> None:
    @workflow(name="pays")
    async def other(flow: Flow) -> None:
        await flow.sleep(1)

    run = DryRun(pays).reload(other)
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.live.view.status == "blocked"
    assert run.open()[1].running
    run.send("requeue")
    run.reload(pays)
    attempts.recover(run.live, died=False)
    run.go_on()
    assert run.last().data == {"result": "revenant.errors.StepInterrupted after 1"}


def test_an_undo_that_is_run_at_most_once_is_named_as_failed() -> None:
    run = DryRun(takes_it_back)
    run.send("cancel")
    run.reload()
    attempts.recover(run.live, died=True)
    run.go_on()
    assert run.last().type == e.RUN_CANCELLED
    assert [one["error"]["error"] for one in run.last().data["undo_errors"]] == ["StepInterrupted"]


def test_a_transaction_is_run_again_since_nothing_of_it_was_committed() -> None:
    run = DryRun(pays_in_a_transaction).reload()
    attempts.recover(run.live, died=True)
    assert [(one.op, one.attempt) for one in run.go_on().starts] == [(1, 1)]


def test_an_external_step_cannot_be_run_at_most_once() -> None:
    with pytest.raises(ConfigurationError, match="cannot be external and at_most_once"):
        step(external=True, at_most_once=True)
