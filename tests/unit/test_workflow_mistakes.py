"""What people write into their first workflow by mistake: each ends the run with words that say what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("code", "words"),
    [
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
