"""The event loop that our own processes and threads run on: uvloop where it is installed, else asyncio's."""

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


def run(main: Coroutine[Any, Any, R]) -> R:
    """Run a program's main coroutine to its end, and return what it returns."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
