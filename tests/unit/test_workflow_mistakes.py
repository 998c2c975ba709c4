"""What people write into their first workflow by mistake: each ends the run with words that say what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from revenant.app import Revenant
from revenant.client.external import external_steps
from revenant.errors import ConfigurationError, RevenantError, RunFailed
from revenant.testing import memory_app
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.entities import Account


async def charge(order: str) -> str:
    """A step."""
    return order


def wrong(value: object) -> Any:
    """Hide a value's type from whoever checks types."""
    return value


app = memory_app([Account])


async def by_calling_it(flow: Flow) -> None:
    await flow.step(charge("o"))  # type: ignore[call-overload]  # the mistake


async def by_its_name(flow: Flow) -> None:
    await flow.step("charge", "o")  # type: ignore[call-overload]  # the mistake


async def by_calling_the_undo(flow: Flow) -> None:
    await flow.on_failure(charge("o"))  # type: ignore[arg-type]  # the mistake


async def with_a_number_of_retries(flow: Flow) -> None:
    await flow.step(charge, "o", retry=3)  # type: ignore[call-overload]  # the mistake


async def with_another_type(flow: Flow) -> None:
    await flow.step(charge, 5)  # type: ignore[arg-type]  # the mistake


async def to_a_ref(flow: Flow) -> None:
    await flow.call(app.ref(Account, "a"))  # type: ignore[arg-type]  # the mistake


async def by_awaiting_a_message(flow: Flow) -> None:
    await app.ref(Account, "a").deposit(1)


async def by_casting_past_the_flow(flow: Flow) -> None:
    await app.cast(app.ref(Account, "a").deposit(1))


async def with_a_time_out_of_asyncio(flow: Flow) -> None:
    async with asyncio.timeout(0.01):
        await flow.signal("never")


async def with_a_task(flow: Flow) -> None:
    code = note(flow)
    try:
        await asyncio.create_task(code)
    finally:
        code.close()


async def with_a_group_of_tasks(flow: Flow) -> None:
    async with asyncio.TaskGroup():
        await note(flow)


async def by_cancelling_itself(flow: Flow) -> None:
    task = asyncio.current_task()
    raise LookupError(f"my task is {task}")


async def note(flow: Flow) -> None:
    await flow.step(charge, "o")


async def by_waiting_twice(flow: Flow) -> None:
    paid = flow.step(charge, "o")
    await paid
    await paid


async def by_waiting_for_a_loser_again(flow: Flow) -> None:
    deadline = flow.signal("late")
    for _ in range(2):
        await flow.race(flow.step(charge, "o"), deadline)


async def by_mapping_twice(flow: Flow) -> None:
    paid = flow.map(charge, ["o"])
    await flow.gather(paid, paid)


async def with_a_list(flow: Flow) -> None:
    await flow.gather(wrong([]))


async def with_what_cannot_be_awaited(flow: Flow) -> None:
    await flow.race(note(flow), flow.step(charge, "o"), 5)  # type: ignore[arg-type]  # the mistake


async def for_no_time(flow: Flow) -> None:
    await flow.sleep(wrong(None))


async def until_the_end_of_time(flow: Flow) -> None:
    await flow.sleep_until(datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))


async def until_a_day_without_a_zone(flow: Flow) -> None:
    await flow.approval("go", deadline=datetime(2026, 1, 1))  # the mistake


async def with_a_child_s_name(flow: Flow) -> None:
    await flow.child(wrong("checkout"), "o")


async def with_a_function_for_a_child(flow: Flow) -> None:
    await flow.child(wrong(note))


async def with_a_type_s_name(flow: Flow) -> None:
    await flow.signal("go", "str")


async def with_a_value_for_an_update_s_type(flow: Flow) -> None:
    await flow.update("go", wrong(5))


async def with_a_value_for_a_form(flow: Flow) -> None:
    await flow.approval("go", form=wrong({"reason": str}))


async def by_mapping_over_a_number(flow: Flow) -> None:
    await flow.map(charge, wrong(5))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (with_a_child_s_name, r"flow.child\(\) takes a workflow.*got 'checkout'.*flow.child\(checkout, …\)"),
        (with_a_function_for_a_child, r"flow.child\(\) takes.* Mark note with @workflow.*`await note\(flow, …\)`"),
        (
            with_a_type_s_name,
            r"signal 'go' was to be read as a type, and got the value 'str'.*flow.signal\('go', str\)",
        ),
        (with_a_value_for_an_update_s_type, r"update 'go' was to be read as a type, and got the value 5"),
        (with_a_value_for_a_form, r"form of approval 'go' was to be read as a type.*form=Reason"),
        (by_mapping_over_a_number, r"flow.map\(\) takes a step and a list of its inputs, and got 5"),
        (with_a_time_out_of_asyncio, r"asyncio was used in the code of a workflow.*a time-out by flow.race"),
        (with_a_task, r"asyncio was used in the code of a workflow"),
        (with_a_group_of_tasks, r"TaskGroup"),
        (by_cancelling_itself, r"my task is None"),
        (by_waiting_twice, "<step charge> was awaited before, and a second time would do it once more"),
        (by_waiting_for_a_loser_again, "<wait late> was awaited before"),
        (by_mapping_twice, "<map> was awaited before"),
        (with_a_list, r"flow.gather\(\) takes operations.* and got \[\] in place 0.*flow.gather\(\*parts\)"),
        (with_what_cannot_be_awaited, r"flow.race\(\) takes operations.* and got 5 in place 2"),
        (for_no_time, "A duration is seconds, or a timedelta.*got None"),
        (until_the_end_of_time, r"flow.sleep_until\(\) takes a moment between the years 2 and 8999"),
        (until_a_day_without_a_zone, r"deadline=…\) takes a datetime with a time zone"),
        (by_calling_it, r"charge\(…\) was called already, outside the step. Write flow.step\(charge, …\)"),
        (by_its_name, "A step is a function and its arguments, and this is 'charge'"),
        (by_calling_the_undo, r"charge\(…\) was called already"),
        (with_a_number_of_retries, r"retry= takes a Retry, and got 3. Write retry=Retry\(attempts=3\)"),
        (with_another_type, "step charge cannot take what it was given as order: Input should be a valid string"),
        (to_a_ref, r"flow.call\(\) takes a message, .* and got <ref Account\('a'\)>"),
        (by_awaiting_a_message, r"deposit> was sent by the code of a workflow.*Use flow.call\(…\)"),
        (by_casting_past_the_flow, r"deposit> was sent by the code of a workflow"),
    ],
)
async def test_a_mistake_ends_the_run_and_says_what_to_write(code: Any, words: str) -> None:
    made = memory_app([Account], workflows=[workflow(code)])
    run = await made.start(code.__name__, id="r")
    with pytest.raises(RunFailed, match=words):
        await asyncio.wait_for(run.result(), 5)
    assert await app.state(Account, "a") is None, "nothing was sent"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Retry(attempts=wrong("3")), r"Retry\(attempts=…\) takes a whole number, and got '3'"),
        (lambda: Retry(attempts=wrong(2.5)), r"Retry\(attempts=…\) takes a whole number, and got 2.5"),
        (lambda: Retry(backoff=wrong(timedelta(seconds=1))), "takes a number of seconds, and got datetime"),
        (lambda: workflow(name=wrong(5))(by_its_name), "5 is no name of a workflow"),
    ],
)
def test_what_is_declared_by_mistake_is_told_in_words(mistake: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        mistake()


@workflow
async def listens(flow: Flow) -> None:
    """Waits for a word."""
    await flow.signal("go")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda app, run: run.result(timeout="5"), "timeout='5' is no time to wait"),
        (lambda app, run: run.result(timeout=-1), "timeout=-1 is no time to wait"),
        (lambda app, run: run.cancel(5), "'cancel' of a run takes 'reason' as text or nothing, and got 5"),
        (lambda app, run: app.fork("r", id="x"), r"app.fork\(\) takes a run, .* and got 'r'"),
    ],
)
async def test_what_is_done_to_a_run_by_mistake_is_told_in_words(mistake: Any, words: str) -> None:
    made = memory_app(workflows=[listens])
    run = await made.start(listens, id="r")
    with pytest.raises(RevenantError, match=words):
        await mistake(made, run)


@pytest.mark.parametrize("name", [5, "", None])
@pytest.mark.parametrize("where", ["name", "holder"])
async def test_external_steps_are_asked_for_by_a_name(name: object, where: str) -> None:
    if (where, name) == ("holder", None):
        return
    asked = {"name": "label", "holder": "me", where: name}
    with pytest.raises(ConfigurationError, match=r"app.external\(\) takes .*, and got"):
        external_steps(**wrong(asked), seconds=30, poll=1, ask=wrong(None), limit=100)


@workflow
async def asks_for_one_that_is_there(flow: Flow) -> None:
    """Starts what somebody else has started."""
    await flow.child(listens, id="r")


async def test_a_child_whose_id_is_taken_was_not_started_and_has_not_ended() -> None:
    made = memory_app(workflows=[listens, asks_for_one_that_is_there])
    await made.start(listens, id="r")
    run = await made.start(asks_for_one_that_is_there, id="p")
    with pytest.raises(RunFailed, match="The child run 'r' of listens was not started: RunExists: Run 'r' of listens"):
        await run.result()


unopened = Revenant(entities=[Account])


async def sends_by_itself() -> None:
    """A step that sends through its application."""
    await unopened.call(unopened.ref(Account, "a").deposit(1))


@workflow
async def has_a_step_that_sends(flow: Flow) -> None:
    """Sends from its step."""
    await flow.step(sends_by_itself, retry=Retry(attempts=1))


@pytest.mark.parametrize("before", [False, True], ids=["first", "after a test on a database"])
async def test_a_step_that_sends_without_a_worker_is_told_to_be_tested_on_a_database(before: bool) -> None:
    if before:
        await unopened.errands.start("postgresql://nobody/nothing")
        await unopened.errands.stop()
    run = await memory_app([Account], workflows=[has_a_step_that_sends]).start(has_a_step_that_sends, id="r")
    with pytest.raises(
        RunFailed, match=r"sent in a step, .*no worker runs here, as under memory_app.*revenant_app\(app\)"
    ):
        await run.result()
