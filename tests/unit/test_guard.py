"""The handler's time limit."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from revenant.errors import HandlerTimeout
from revenant.worker.lanes import guard
from revenant.worker.lanes.guard import Guard
from tests.tools import eventually


async def at_once() -> int:
    return 7


async def after_a_while() -> int:
    await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return 7


async def with_a_task() -> int:
    return await asyncio.create_task(after_a_while())


async def with_its_own_timeout() -> int:
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        return 7
    return 0


@pytest.mark.parametrize("handler", [at_once, after_a_while, with_a_task, with_its_own_timeout])
async def test_a_handler_in_time_returns_its_value(handler: Any) -> None:
    assert await Guard(seconds=5, condemned={})(handler()) == 7


async def test_a_handlers_own_errors_pass() -> None:
    async def raises(wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)
        raise TimeoutError("its own")

    for wait in (False, True):
        with pytest.raises(TimeoutError, match="its own"):
            await Guard(seconds=5, condemned={})(raises(wait))


async def test_a_late_handler_is_cancelled_where_it_waits() -> None:
    cleaned: list[str] = []

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("cleaned")

    with pytest.raises(HandlerTimeout, match="longer than"):
        await Guard(seconds=0.01, condemned={})(late())
    assert cleaned == ["cleaned"]


async def test_a_cancellation_from_outside_reaches_the_handler() -> None:
    entered = asyncio.Event()
    ended: list[str] = []

    async def waits() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    task = asyncio.create_task(Guard(seconds=5, condemned={})(waits()))
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


class Stubborn:
    """Handlers that go on whatever they are told; `steps` counts what they did."""

    def __init__(self) -> None:
        self.steps = 0
        self.freed = False

    async def for_ever(self) -> None:
        while not self.freed:
            self.steps += 1
            try:
                await asyncio.sleep(0.001)
            except BaseException:  # noqa: BLE001 # what a careless handler does
                pass

    async def without_a_future(self) -> None:
        while not self.freed:
            self.steps += 1
            try:
                await asyncio.sleep(0)
            except BaseException:  # noqa: BLE001 # what a careless handler does
                pass

    async def behind_a_task(self) -> None:
        await asyncio.create_task(self.for_ever())

    async def behind_several(self) -> None:
        await asyncio.gather(self.for_ever(), self.for_ever())

    async def behind_another_thread(self) -> None:
        while not self.freed:
            self.steps += 1
            try:
                await asyncio.shield(asyncio.to_thread(lambda: None))
                await asyncio.Event().wait()
            except BaseException:  # noqa: BLE001 # what a careless handler does
                pass


@pytest.mark.parametrize(
    "how", ["for_ever", "without_a_future", "behind_a_task", "behind_several", "behind_another_thread"]
)
async def test_a_handler_that_swallows_its_cancellation_is_given_up(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.05)
    stubborn = Stubborn()
    running = asyncio.create_task(Guard(seconds=0.01, condemned={})(getattr(stubborn, how)()))
    done, _ = await asyncio.wait({running}, timeout=20)
    stubborn.freed = True
    assert done, "it has its lane for ever"
    with pytest.raises(HandlerTimeout, match="went on: it was given up"):
        await running


async def test_a_handler_that_was_given_up_is_never_resumed_not_even_when_it_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.05)
    steps: list[type[BaseException]] = []

    async def for_ever() -> None:
        while len(steps) < 10:
            try:
                await asyncio.Event().wait()
            except BaseException as error:  # noqa: BLE001 # what a careless handler does
                steps.append(type(error))

    with pytest.raises(HandlerTimeout):
        await Guard(seconds=0.01, condemned={})(for_ever())
    gc.collect()
    assert steps == [asyncio.CancelledError], "it hears of its cancellation, and no more"


async def test_a_handler_that_is_given_up_while_its_lane_stops_lets_it_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.05)
    stubborn = Stubborn()
    running = asyncio.create_task(Guard(seconds=0.05, condemned={})(stubborn.behind_a_task()))
    await eventually(lambda: stubborn.steps)
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=20)
    stubborn.freed = True
    assert done
    assert running.cancelled()


async def test_a_late_handler_may_clean_up_and_still_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GRACE_SECONDS", 20)

    async def late() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return 7

    task = asyncio.create_task(Guard(seconds=0.01, condemned={})(late()))
    assert await task == 7
    assert task.cancelling() == 0, "the lane is as it was"


async def test_what_a_handler_waits_for_comes_through_as_it_is() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("its own")

    async def of_several() -> tuple[object, bool, bool]:
        gathered = await asyncio.gather(after_a_while(), fails(), return_exceptions=True)
        cancelled = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(cancelled.cancel)
        try:
            await cancelled
        except asyncio.CancelledError:
            return gathered[0], isinstance(gathered[1], KeyError), True
        return gathered[0], False, False

    assert await Guard(seconds=5, condemned={})(of_several()) == (7, True, True)

    async def behind_a_task() -> None:
        await asyncio.create_task(fails())

    with pytest.raises(KeyError, match="its own"):
        await Guard(seconds=5, condemned={})(behind_a_task())


@pytest.mark.parametrize("waits", ["never", "before", "after", "both"])
@pytest.mark.parametrize("swallows", [False, True])
async def test_a_handler_that_cancels_its_own_task_fails_and_the_lane_goes_on(waits: str, swallows: bool) -> None:
    async def cancels_itself() -> int:
        if waits in ("before", "both"):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.cancel()
        if waits in ("after", "both"):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if not swallows:
                    raise
        return 7

    judged = Guard(seconds=5, condemned={})(cancels_itself())
    if waits in ("after", "both") and not swallows:
        with pytest.raises(RuntimeError, match="CancelledError left the handler"):
            await judged
    else:
        assert await judged == 7
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_stop_that_comes_while_a_handler_has_cancelled_itself_is_a_stop() -> None:
    entered = asyncio.Event()

    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Guard(seconds=5, condemned={})(cancels_itself()))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_handler_whose_task_group_fails_leaves_the_task_as_it_was() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("its own")

    async def in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(after_a_while())

    async def is_cancelled() -> None:
        raise asyncio.CancelledError

    judge = Guard(seconds=5, condemned={})
    with pytest.raises(ExceptionGroup):
        await judge(in_a_group())
    with pytest.raises(RuntimeError, match="CancelledError left the handler"):
        await judge(is_cancelled())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
