"""Patience: how long a caller waits for a future; a timer and no more, since every call has one."""

from __future__ import annotations

import asyncio
from typing import Any


def give_up_after(seconds: float, future: asyncio.Future[Any]) -> asyncio.TimerHandle:
    """Have a future that is not done by then raise TimeoutError("after … s"); cancel the timer when nobody waits.

    The future is to have one waiter only. `asyncio.timeout` would do, at four times the price.
    """
    return asyncio.get_running_loop().call_later(seconds, _give_up, seconds, future)


def _give_up(seconds: float, future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError(f"after {seconds:g} s"))
