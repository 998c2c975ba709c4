"""Steps: retried, bounded, cancelled at once and undone; whatever a step does, its run comes to an end that says so."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from revenant import Flow, Retry, current_step, workflow
from revenant.config import Settings
from revenant.errors import AttemptEnded, RunCancelled, RunFailed, StepFailed
from tests.flows import history, served, types
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
QUICK = Retry(backoff=0.01)


class Transient(Exception):
    pass


class Fatal(Transient):
    pass


async def test_a_failed_attempt_is_followed_by_others_with_the_same_key(
    database: str, settings: Settings, connection: Connection
) -> None:
    seen: list[tuple[int, str]] = []

    async def charge() -> int:
        step = current_step()
        seen.append((step.attempt, step.idempotency_key))
        if step.attempt < 3:
            raise Transient("not yet")
        return 7

    @workflow
    async def buy(flow: Flow) -> int:
        return await flow.step(charge, retry=QUICK)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        assert await run.result(timeout=20) == 7
    assert [attempt for attempt, _ in seen] == [1, 2, 3]
    assert len({key for _, key in seen}) == 1
    assert await types(connection, "b") == [
        "run.started", "step.scheduled",
        "attempt.started", "attempt.failed", "retry.scheduled", "retry.fired",
        "attempt.started", "attempt.failed", "retry.scheduled", "retry.fired",
        "attempt.started", "step.succeeded", "run.completed",
    ]  # fmt: skip
    assert {data["key"] for type, data in await history(connection, "b") if type == "step.scheduled"} == {seen[0][1]}


async def test_attempts_are_bounded_and_the_last_error_reaches_the_code(database: str, settings: Settings) -> None:
    tries = 0

    async def charge() -> None:
        nonlocal tries
        tries += 1
        raise Transient(f"number {tries}")

    @workflow
    async def buy(flow: Flow) -> str:
        try:
            await flow.step(charge, retry=Retry(attempts=3, backoff=0.01))
        except StepFailed as error:
            return f"{error.type.rpartition('.')[2]}: {error.message} after {error.attempts}"
        return "?"

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        assert await run.result(timeout=20) == "Transient: number 3 after 3"
    assert tries == 3


Case = tuple[type[BaseException], Retry, int]


@pytest.mark.parametrize(
    "case",
    [
        (Transient, Retry(backoff=0.01, attempts=2, on=(Transient,)), 2),
        (ValueError, Retry(backoff=0.01, attempts=2, on=(Transient,)), 1),
        (Fatal, Retry(backoff=0.01, attempts=2, on=(Transient,), never=(Fatal,)), 1),
        (SystemExit, Retry(backoff=0.01, attempts=2), 1),
        (SystemExit, Retry(backoff=0.01, attempts=2, on=(SystemExit,)), 2),
        (KeyboardInterrupt, Retry(backoff=0.01, attempts=2), 1),
        (GeneratorExit, Retry(backoff=0.01, attempts=2), 1),
        (asyncio.CancelledError, Retry(backoff=0.01, attempts=2), 2),
        (StopIteration, Retry(backoff=0.01, attempts=2), 2),
    ],
)
@pytest.mark.parametrize("threaded", [False, True])
async def test_only_errors_that_another_attempt_may_mend_are_tried_again(
    database: str, settings: Settings, case: Case, threaded: bool
) -> None:
    raised, retry, wanted = case
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise raised

    async def fail_async() -> None:
        fail()

    step: Callable[[], Any] = fail if threaded else fail_async

    @workflow
    async def buy(flow: Flow) -> int:
        try:
            await flow.step(step, retry=retry)
        except StepFailed as error:
            return error.attempts
        return 0

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        assert await run.result(timeout=20) == wanted
    assert tries == wanted


async def test_an_attempt_that_takes_too_long_is_cancelled_and_has_failed(
    database: str, settings: Settings, connection: Connection
) -> None:
    cancelled = 0

    async def wait() -> str:
        nonlocal cancelled
        if current_step().attempt == 2:
            return "second"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return "?"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(wait, retry=QUICK, timeout=0.05)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        assert await run.result(timeout=20) == "second"
    assert cancelled == 1
    failed = [data for type, data in await history(connection, "b") if type == "attempt.failed"]
    assert [(one["error"]["type"], one["error"]["message"]) for one in failed] == [
        ("TimeoutError", "the attempt took longer than 0.05 s")
    ]


async def test_what_an_attempt_returns_past_its_time_is_ignored_also_where_it_swallows_its_cancellation(
    database: str, settings: Settings, connection: Connection
) -> None:
    swallowed, go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        if current_step().attempt == 2:
            return "second"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await go.wait()
        return "late"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(stubborn, retry=QUICK, timeout=0.05)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        # It need not end for the next one to begin.
        assert await run.result(timeout=20) == "second"
        assert swallowed.is_set()
        go.set()
    assert "late" not in str(await history(connection, "b"))


async def test_what_an_attempt_returns_in_answer_to_its_cancellation_is_too_late(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def stubborn() -> str:
        if current_step().attempt == 2:
            return "second"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "?"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(stubborn, retry=QUICK, timeout=0.05)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=20) == "second"
    assert "late" not in str(await history(connection, "b"))


async def test_a_thread_that_hangs_is_left_to_itself_and_what_it_returns_is_ignored(
    database: str, settings: Settings, connection: Connection
) -> None:
    go, ended = threading.Event(), threading.Event()
    heard: list[str] = []

    def hang() -> str:
        step = current_step()
        if step.attempt > 2:
            return "third"
        go.wait(60)
        try:
            step.heartbeat()
        except AttemptEnded as error:
            heard.append(str(error))
        ended.set()
        return "late"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(hang, retry=QUICK, timeout=0.05)

    # One thread: those that hang do not take its place.
    async with served(database, settings.model_copy(update={"step_threads": 1}), buy) as app:
        run = await app.start(buy, id="b")
        assert await run.result(timeout=20) == "third"
        go.set()
        assert await asyncio.to_thread(ended.wait, 20)
        await eventually(lambda: heard)
    assert "is not waited for any more" in heard[0]
    assert "late" not in str(await history(connection, "b"))


async def test_a_worker_stops_although_a_thread_hangs(database: str, settings: Settings) -> None:
    go, inside = threading.Event(), threading.Event()
    before = set(threading.enumerate())

    def hang() -> None:
        inside.set()
        go.wait(60)

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.step(hang)

    async with served(database, settings, buy) as app:
        await app.start(buy, id="b")
        assert await asyncio.to_thread(inside.wait, 20)
    left = [thread for thread in set(threading.enumerate()) - before if thread.name == "revenant-step"]
    assert [thread.daemon for thread in left] == [True]
    go.set()


async def test_cancelling_a_run_cancels_its_attempts_at_once(
    database: str, settings: Settings, connection: Connection
) -> None:
    inside, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.step(wait)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        await inside.wait()
        await run.cancel("changed my mind")
        with pytest.raises(RunCancelled, match="changed my mind"):
            await run.result(timeout=20)
        async with asyncio.timeout(20):
            await ended.wait()
    assert (await types(connection, "b"))[-3:] == ["run.cancelling", "step.cancelled", "run.cancelled"]


async def test_a_step_that_swallows_its_cancellation_records_nothing_any_more(
    database: str, settings: Settings, connection: Connection
) -> None:
    inside, swallowed, go = asyncio.Event(), asyncio.Event(), asyncio.Event()
    told: list[BaseException] = []

    async def stubborn() -> str:
        step = current_step()
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await go.wait()
        try:
            step.heartbeat("half")
        except AttemptEnded as error:
            told.append(error)
        return "late"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.step(stubborn)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        await inside.wait()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
        await swallowed.wait()
        before = await history(connection, "b")
        go.set()
        await eventually(lambda: told)
    assert await history(connection, "b") == before
    assert await value(connection, "select count(*) from revenant.run_progress") == 0


class Loud(Exception):
    def __str__(self) -> str:
        raise SystemExit


class Pathless(Exception):
    @property
    def path(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (lambda: ValueError("b\0d \ud800"), r"b\\0d \\ud800"),
        (lambda: ValueError("x" * 5_000_000), "xxx"),
        (Loud, "cannot be read"),
        (Pathless, "Pathless"),
    ],
)
async def test_an_error_of_any_words_ends_its_step(
    database: str, settings: Settings, connection: Connection, raised: Callable[[], Exception], wanted: str
) -> None:
    async def fail() -> None:
        raise raised()

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.step(fail, retry=Retry(attempts=1))

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        with pytest.raises(RunFailed, match=wanted):
            await run.result(timeout=20)
    assert await value(connection, "select max(octet_length(data::text)) from revenant.run_events") < 400_000


@pytest.mark.parametrize(
    ("returned", "path"),
    [({"a": [1, object()]}, "a.1"), ({"a": "n\0"}, "a"), (float("nan"), "it"), ({"a": {"b": "\ud800"}}, "a.b")],
)
async def test_a_result_that_cannot_be_stored_fails_its_step_at_once_and_names_the_path(
    database: str, settings: Settings, connection: Connection, returned: Any, path: str
) -> None:
    tries = 0

    async def give() -> Any:
        nonlocal tries
        tries += 1
        return returned

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.step(give, retry=QUICK)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        with pytest.raises(RunFailed, match=rf"The result of step give cannot be stored: {path} "):
            await run.result(timeout=20)
    assert tries == 1
    (failed,) = [data for type, data in await history(connection, "b") if type == "step.failed"]
    assert failed["error"]["type"] == "revenant.errors.Unstorable"


async def test_the_key_for_the_outside_world_is_given_by_name_or_made_for_the_step(
    database: str, settings: Settings
) -> None:
    def tell() -> str:
        return current_step().idempotency_key

    @workflow
    async def buy(flow: Flow) -> list[str]:
        return [await flow.step(tell), await flow.step(tell), await flow.step(tell, idempotency="order-7")]

    async with served(database, settings, buy) as app:
        first = await (await app.start(buy, id="a")).result(timeout=20)
        second = await (await app.start(buy, id="b")).result(timeout=20)
    assert first[2] == second[2] == "order-7"
    assert len({*first, *second}) == 5


async def test_what_was_registered_is_undone_in_reverse_when_the_run_fails(
    database: str, settings: Settings, connection: Connection
) -> None:
    undone: list[tuple[str, int]] = []

    async def undo(what: str) -> None:
        undone.append((what, current_step().attempt))
        if what == "room" and current_step().attempt == 1:
            raise Transient("busy")
        if what == "flight":
            raise Fatal("no refund")

    async def fail() -> None:
        raise Fatal("no")

    @workflow
    async def travel(flow: Flow) -> None:
        await flow.on_failure(undo, "car", retry=QUICK)
        await flow.on_failure(undo, "flight", retry=Retry(attempts=2, backoff=0.01))
        await flow.on_failure(undo, "room", retry=QUICK)
        await flow.step(fail, retry=Retry(attempts=1))

    async with served(database, settings, travel) as app:
        run = await app.start(travel, id="t")
        with pytest.raises(RunFailed, match="Fatal"):
            await run.result(timeout=20)
    assert undone == [("room", 1), ("room", 2), ("flight", 1), ("flight", 2), ("car", 1)]
    type, last = (await history(connection, "t"))[-1]
    assert type == "run.failed"
    assert [(one["name"], one["error"]["message"]) for one in last["undo_errors"]] == [("undo", "no refund")]


async def test_what_was_registered_is_undone_when_the_run_is_cancelled_and_not_when_it_succeeds(
    database: str, settings: Settings, connection: Connection
) -> None:
    undone: list[str] = []

    def undo(what: str) -> None:
        undone.append(what)

    @workflow
    async def travel(flow: Flow, waits: bool) -> None:
        await flow.on_failure(undo, flow.id)
        if waits:
            await flow.signal("never")

    async with served(database, settings, travel) as app:
        await (await app.start(travel, False, id="good")).result(timeout=20)
        run = await app.start(travel, True, id="bad")
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
    assert undone == ["bad"]
    assert (await types(connection, "bad"))[-1] == "run.cancelled"


async def test_retries_wait_longer_each_time_with_chance_in_it(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def fail() -> None:
        raise Transient

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.step(fail, retry=Retry(attempts=4, backoff=0.02, factor=3, longest=0.1))

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        with pytest.raises(RunFailed):
            await run.result(timeout=20)
    pauses = [data["after"] for type, data in await history(connection, "b") if type == "retry.scheduled"]
    for pause, middle in zip(pauses, (0.02, 0.06, 0.1), strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle


async def test_a_thread_runs_in_the_steps_context_and_beside_the_event_loop(database: str, settings: Settings) -> None:
    def where() -> tuple[int, str]:
        time.sleep(0)
        return threading.get_ident(), current_step().step

    @workflow
    async def buy(flow: Flow) -> tuple[int, str]:
        return await flow.step(where)

    async with served(database, settings, buy) as app:
        ident, name = await (await app.start(buy, id="b")).result(timeout=20)
    assert ident != threading.get_ident()
    assert name == "where"
