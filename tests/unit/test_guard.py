"""The handler's time limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from revenant.errors import HandlerTimeout
from revenant.worker.guard import Guard


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
    assert await Guard(seconds=5)(handler()) == 7


async def test_a_handlers_own_errors_pass() -> None:
    async def raises(wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)
        raise TimeoutError("its own")

    for wait in (False, True):
        with pytest.raises(TimeoutError, match="its own"):
            await Guard(seconds=5)(raises(wait))


async def test_a_late_handler_is_cancelled_where_it_waits() -> None:
    cleaned: list[str] = []

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("cleaned")

    with pytest.raises(HandlerTimeout, match="longer than"):
        await Guard(seconds=0.01)(late())
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

    task = asyncio.create_task(Guard(seconds=5)(waits()))
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]
