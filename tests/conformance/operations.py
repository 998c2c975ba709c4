"""What the cases of the groups step, wait, callback and child start."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import PlainSerializer
from typing_extensions import TypedDict

from revenant import Flow, Retry, RunFailed, StepFailed, current_step, step
from revenant.errors import WaitTimeout
from tests.conformance.contexts import context_code, in_context
from tests.conformance.registry import case

log = logging.getLogger("conformance")
ONCE = Retry(attempts=1)


class TransientError(Exception):
    """What may be tried again."""


async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def echo(value: Any) -> Any:
    return value


async def fail() -> None:
    raise ValueError("as it is to")


async def fail_first(times: int, value: Any) -> Any:
    if current_step().attempt <= times:
        raise TransientError("not yet")
    return value


async def fail_for_a_while() -> None:
    raise TransientError("not yet")


async def shout(value: str) -> Annotated[str, PlainSerializer(str.upper)]:
    return value


# Steps.


@case("1-1")
async def step_basic(flow: Flow, name: str) -> str:
    return await flow.step(greet, name)


@case("1-2")
async def step_with_name(flow: Flow, name: str) -> str:
    return await flow.step(step(name="custom_step_name")(greet), name)


async def first() -> str:
    return "first"


async def second(before: str) -> str:
    return f"{before}_second"


@case("1-3")
async def sequential_steps(flow: Flow, given: Any) -> str:
    return await flow.step(second, await flow.step(first))


async def nested(user: dict[str, Any]) -> dict[str, Any]:
    return {"user": user, "count": len(user["tags"])}


@case("1-4")
async def complex_object(flow: Flow, user: dict[str, Any]) -> Any:
    return await flow.step(nested, user)


@case("1-5")
async def null_result(flow: Flow, given: Any) -> Any:
    return await flow.step(echo, None)


@case("1-6")
async def step_with_serializer(flow: Flow, value: str) -> str:
    return await flow.step(shout, value)


async def greet_and_log(name: str) -> str:
    log.warning("Greeting step started for: %s", name)
    log.warning("Greeting step completed with: Hello, %s!", name)
    return f"Hello, {name}!"


@case("1-7")
async def step_with_logger(flow: Flow, name: str) -> str:
    return await flow.step(greet_and_log, name)


@case("1-8")
async def step_and_wait(flow: Flow, given: Any) -> Any:
    found = await flow.step(echo, "computed")
    await flow.sleep(2)
    return found


@case("1-9")
async def replay_skips_step(flow: Flow, given: Any) -> Any:
    found = await flow.step(echo, "cached_value")
    await flow.sleep(1)
    return found


@case("1-10")
async def replay_raises_again(flow: Flow, given: Any) -> str:
    caught = ""
    try:
        await flow.step(fail, retry=ONCE)
    except StepFailed as error:
        caught = error.message
    await flow.sleep(1)
    return caught


@case("1-11")
async def retry_and_succeed(flow: Flow, given: Any) -> Any:
    return await flow.step(fail_first, 1, "Operation succeeded", retry=Retry(attempts=3, backoff=1))


@case("1-12")
async def retry_exhausted(flow: Flow, given: Any) -> None:
    await flow.step(fail, retry=Retry(attempts=4, backoff=1, factor=1))


@case("1-13")
async def default_retry(flow: Flow, given: Any) -> Any:
    return await flow.step(fail_first, 2, "done")


@case("1-14")
async def retry_without_chance(flow: Flow, given: Any) -> Any:
    return await flow.step(fail_first, 2, "done", retry=Retry(attempts=5, backoff=2, factor=3, jitter=0))


@case("1-15")
async def retry_of_a_type(flow: Flow, given: Any) -> Any:
    return await flow.step(fail_first, 1, "done", retry=Retry(attempts=3, backoff=1, on=(TransientError,)))


@case("1-16")
async def no_retry_of_a_type(flow: Flow, given: Any) -> None:
    await flow.step(fail_for_a_while, retry=Retry(attempts=3, never=(TransientError,)))


@case("1-19")
async def fails_for_good(flow: Flow, given: Any) -> None:
    await flow.step(fail, retry=ONCE)


@case("1-20")
async def caught(flow: Flow, given: Any) -> Any:
    try:
        return await flow.step(fail, retry=ONCE)
    except StepFailed:
        return await flow.step(echo, "fallback_result")


# Waits.


@case("2-1")
async def wait_basic(flow: Flow, given: Any) -> None:
    await flow.sleep(2)


@case("2-2")
async def wait_with_name(flow: Flow, given: Any) -> None:
    await flow.sleep(2, id="custom_wait_name")


@case("2-3")
async def two_waits(flow: Flow, given: Any) -> dict[str, int]:
    await flow.sleep(2, id="wait-1")
    await flow.sleep(2, id="wait-2")
    return {"completedWaits": 2}


@case("2-4")
async def wait_a_minute(flow: Flow, given: Any) -> None:
    await flow.sleep(timedelta(minutes=1))


@case("2-5")
async def wait_an_hour(flow: Flow, given: Any) -> None:
    await flow.sleep(timedelta(hours=1))


# Callbacks: signals, whose payload says what the other side reports.


class CallbackError(Exception):
    """The other side has reported a failure."""


class Outcome(TypedDict, total=False):
    success: Any
    failure: dict[str, str]


def value_of(outcome: Outcome | BaseException) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    if "failure" in outcome:
        raise CallbackError(outcome["failure"]["ErrorMessage"])
    return outcome["success"]


@case("4-1", "4-6")
async def callback(flow: Flow, name: str) -> Any:
    return value_of(await flow.signal(name, Outcome))


@case("4-2")
async def callback_with_name(flow: Flow, given: Any) -> Any:
    return value_of(await flow.signal("approval", Outcome))


@case("4-3")
async def callback_times_out(flow: Flow, name: str) -> Any:
    return value_of(await flow.signal(name, Outcome, timeout=5))


async def meanwhile(flow: Flow, name: str, other: Any, *, timeout: float | None = None) -> Any:
    """Create the callback, do something else, and only then look at what it came to."""
    outcome, _ = await flow.gather(flow.signal(name, Outcome, timeout=timeout), other, return_exceptions=True)
    return value_of(outcome)


@case("4-7")
async def callback_and_step(flow: Flow, name: str) -> Any:
    return await meanwhile(flow, name, flow.step(echo, 1))


@case("4-8")
async def callback_with_timeout_and_step(flow: Flow, name: str) -> Any:
    return await meanwhile(flow, name, flow.step(echo, 1), timeout=5)


@case("4-9", "4-10")
async def callback_and_wait(flow: Flow, name: str) -> Any:
    return await meanwhile(flow, name, flow.sleep(5))


@case("4-11")
async def callback_with_timeout_and_wait(flow: Flow, name: str) -> Any:
    return await meanwhile(flow, name, flow.sleep(6), timeout=3)


@case("4-12")
async def callback_then_wait(flow: Flow, name: str) -> Any:
    found = value_of(await flow.signal(name, Outcome))
    await flow.sleep(2)
    return found


@case("4-13")
async def failure_then_wait(flow: Flow, name: str) -> str:
    told = ""
    try:
        value_of(await flow.signal(name, Outcome))
    except CallbackError as error:
        told = str(error)
    await flow.sleep(2)
    return told


@case("4-14")
async def timeout_then_wait(flow: Flow, name: str) -> str:
    told = ""
    try:
        await flow.signal(name, Outcome, timeout=3)
    except WaitTimeout as error:
        told = str(error)
    await flow.sleep(2)
    return told


class Dated(TypedDict):
    id: str
    message: str
    timestamp: datetime


class DatedOutcome(TypedDict):
    success: Dated


@case("4-15")
async def typed_callback(flow: Flow, name: str) -> dict[str, Any]:
    found = (await flow.signal(name, DatedOutcome))["success"]
    return {"received": {**found, "timestamp": int(found["timestamp"].timestamp())}}


class Counted(TypedDict):
    success: int


@case("4-16")
async def counted_callback(flow: Flow, name: str) -> dict[str, int]:
    count = (await flow.signal(name, Counted))["success"]
    return {"count": count, "doubled": count * 2}


@case("4-17")
async def callbacks_one_after_another(flow: Flow, names: list[str]) -> list[Any]:
    return [value_of(await flow.signal(name, Outcome)) for name in names]


@case("4-18", "4-19")
async def callbacks_side_by_side(flow: Flow, names: list[str]) -> list[Any]:
    return [value_of(found) for found in await flow.gather(*(flow.signal(name, Outcome) for name in names))]


# Child contexts.


@context_code
async def one_step(flow: Flow, value: Any) -> Any:
    return await flow.step(echo, value)


@context_code
async def two_steps(flow: Flow, value: Any) -> Any:
    return await flow.step(echo, await flow.step(echo, value))


@context_code
async def failing_step(flow: Flow, attempts: int) -> None:
    await flow.step(fail, retry=Retry(attempts=attempts, backoff=1))


@context_code
async def step_around_a_context(flow: Flow, value: Any) -> Any:
    return await in_context(flow, one_step, await flow.step(echo, value))


@context_code
async def step_that_fails_first(flow: Flow, value: Any) -> Any:
    return await flow.step(fail_first, 1, value, retry=Retry(attempts=2, backoff=1))


@context_code
async def step_then_wait(flow: Flow, value: Any) -> Any:
    found = await flow.step(echo, value)
    await flow.sleep(1)
    return found


@context_code
async def only_a_wait(flow: Flow, value: Any) -> Any:
    await flow.sleep(1)
    return value


@context_code
async def raises(flow: Flow) -> None:
    raise ValueError("in the context itself")


@context_code
async def nothing(flow: Flow) -> None: ...


@context_code
async def only_logs(flow: Flow, value: str) -> str:
    log.warning("in the context: %s", value)
    return value


@case("3-1")
async def child_basic(flow: Flow, value: Any) -> Any:
    return await in_context(flow, one_step, value)


@case("3-2")
async def child_with_name(flow: Flow, given: dict[str, Any]) -> Any:
    return await in_context(flow, one_step, given["value"], id=given["name"])


@case("3-3")
async def child_with_two_steps(flow: Flow, value: Any) -> Any:
    return await in_context(flow, two_steps, value)


@case("3-4")
async def child_fails(flow: Flow, given: Any) -> Any:
    return await in_context(flow, failing_step, 1)


@case("3-5")
async def child_fails_and_is_caught(flow: Flow, value: Any) -> Any:
    try:
        return await in_context(flow, failing_step, 1)
    except RunFailed:
        return await flow.step(echo, value)


@case("3-6")
async def children_in_children(flow: Flow, value: Any) -> Any:
    return await in_context(flow, step_around_a_context, value)


@case("3-7")
async def child_with_retry(flow: Flow, value: Any) -> Any:
    return await in_context(flow, step_that_fails_first, value)


@case("3-8")
async def child_with_exhausted_retry(flow: Flow, given: Any) -> Any:
    return await in_context(flow, failing_step, 2)


@case("3-9")
async def child_then_wait(flow: Flow, value: Any) -> Any:
    found = await in_context(flow, one_step, value)
    await flow.sleep(1)
    return found


@case("3-10")
async def child_with_step_and_wait(flow: Flow, value: Any) -> Any:
    return await in_context(flow, step_then_wait, value)


@case("3-13")
async def child_with_wait(flow: Flow, value: Any) -> Any:
    return await flow.step(echo, await in_context(flow, only_a_wait, value))


@case("3-15")
async def child_raises(flow: Flow, given: Any) -> Any:
    return await in_context(flow, raises)


@case("3-16")
async def child_returns_nothing(flow: Flow, given: Any) -> Any:
    return await in_context(flow, nothing)


@case("3-17")
async def child_logs_once(flow: Flow, value: str) -> Any:
    found = await in_context(flow, only_logs, value)
    await flow.sleep(1)
    return found


@case("3-18")
async def child_then_step_and_wait(flow: Flow, value: Any) -> Any:
    found = await flow.step(echo, await in_context(flow, step_then_wait, value))
    await flow.sleep(1)
    return found
