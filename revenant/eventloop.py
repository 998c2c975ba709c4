"""The event loop that our processes and threads run on (uvloop where it is installed), and how its tasks end."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop, _set_running_loop
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from revenant.errors import ConfigurationError

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


class NoLoop:
    """What asyncio finds in its loop's place while there is none to be used: whatever it is asked for, it raises."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise ConfigurationError(
            "asyncio was used in the code of a workflow: what it waits for would not be the same when the code runs "
            "again. Put what waits for the outside into a step, and await flow.step(…); sleep by flow.sleep(…), wait "
            "side by side by flow.gather(…), and with a time-out by flow.race(…)."
        )


_NO_LOOP: Any = NoLoop()
_set_aside: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = {}
"""Of each loop the task that runs unlooped now."""


def running_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[Any] | None:
    """Return the task that a loop runs now, also while asyncio finds none; for any thread."""
    return asyncio.current_task(loop) or _set_aside.get(loop)


class Unlooped:
    """While this is entered, asyncio finds neither a loop nor a task.

    `asyncio.timeout` or a `TaskGroup` in the code of a workflow would cancel the task that runs it: a worker's own.
    """

    __slots__ = ("_loop", "_task")

    def __enter__(self) -> None:
        self._loop = _get_running_loop()
        self._task = None if self._loop is None else asyncio.current_task(self._loop)
        if self._task is not None:
            _set_aside[self._task.get_loop()] = self._task
            _leave_task(self._task.get_loop(), self._task)
        _set_running_loop(_NO_LOOP)

    def __exit__(self, *_: object) -> None:
        _set_running_loop(self._loop)
        if self._task is not None:
            _enter_task(self._task.get_loop(), self._task)
            del _set_aside[self._task.get_loop()]
