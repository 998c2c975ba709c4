"""The event loop that our processes and threads run on (uvloop where it is installed), and how its tasks end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")
new_event_loop: Callable[[], asyncio.AbstractEventLoop]

try:
    import uvloop
except ImportError:  # not on Windows, nor on PyPy
    new_event_loop = asyncio.new_event_loop
else:
    new_event_loop = uvloop.new_event_loop


AGAIN_SECONDS = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended, whatever they end with.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, by which psycopg waits for its socket, loses a
    cancellation that comes in the moment in which what it waits for does.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()


def run(main: Coroutine[Any, Any, R]) -> R:
    """Run a program's main coroutine to its end, and return what it returns."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
