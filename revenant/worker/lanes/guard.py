"""Guard: a handler's time limit, which costs nothing to a handler that never waits."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from collections.abc import Coroutine, MutableMapping
from typing import Any

from revenant import telemetry
from revenant.entities.context import abandon, running
from revenant.entities.failure import Sentence, went_on
from revenant.errors import HandlerTimeout
from revenant.wording import a, raised
from revenant.worker.lanes.observer import begun, given_up, handled, log
from revenant.worker.lanes.rest import OutOfTime, Rest

GRACE_SECONDS = 3.0
"""How long a handler may take to end after it was cancelled. Shorter than its transaction may sit still."""


class Guard:
    """Awaits handlers, each for at most `seconds`; one that goes on after that never runs again: it is `condemned`."""

    def __init__(self, *, seconds: float, condemned: MutableMapping[str, Sentence]) -> None:
        self._seconds = seconds
        self._grace = GRACE_SECONDS
        self._condemned = condemned
        self._own = 0
        """How many times the handler has cancelled the task that it runs in, and that is not its own."""

    async def __call__(self, handler: Coroutine[Any, Any, Any]) -> Any:
        """Return what the handler returns.

        Raises:
            HandlerTimeout: it took longer, and was cancelled.
        """
        began = time.perf_counter()
        if telemetry.handlers and (turn := running.get()) is not None:
            begun(turn, _name_of(handler))
        try:
            result = await self._judge(handler)
        except BaseException as error:
            self._tell(handler, began, error)
            raise
        if telemetry.handlers or log.isEnabledFor(logging.DEBUG):
            self._tell(handler, began, None)
        return result

    def _tell(self, handler: Coroutine[Any, Any, Any], began: float, error: BaseException | None) -> None:
        turn = running.get()
        if turn is not None:
            handled(turn, _name_of(handler), time.perf_counter() - began, error)

    async def _judge(self, handler: Coroutine[Any, Any, Any]) -> Any:
        task = _current()
        known = task.cancelling()
        try:
            result = await self._run(handler, task)
        except BaseException as error:
            # Of a cancellation only what came from elsewhere is the lane's end.
            mine = self._own if isinstance(error, asyncio.CancelledError) else task.cancelling() - known
            if mine > 0:
                await self._forgive(task, mine, known)
            if isinstance(error, Exception | SystemExit | GeneratorExit):
                raise
            if isinstance(error, asyncio.CancelledError) and task.cancelling() > known:
                raise
            raise _failure(error) from error
        if task.cancelling() > known:
            await self._forgive(task, task.cancelling() - known, known)
        return result

    async def _forgive(self, task: asyncio.Task[Any], times: int, known: int) -> None:
        """Take back what the handler, or a task group of its own, did to its task: it is the lane's, which goes on."""
        for _ in range(times):
            task.uncancel()
        if not self._own:
            return
        try:
            # Where that cancellation has not come yet, it comes here.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if task.cancelling() > known:
                raise

    async def _run(self, handler: Coroutine[Any, Any, Any], task: asyncio.Task[Any]) -> Any:
        known = task.cancelling()
        try:
            # Most handlers only change their fields: they end at the first step, and need no timer.
            waits_for = handler.send(None)
        except StopIteration as ended:
            return ended.value
        except GeneratorExit as error:
            raise _failure(error) from error
        finally:
            self._own = task.cancelling() - known
        rest = Rest(handler, waits_for, seconds=self._seconds, grace=self._grace)
        try:
            return await rest
        except OutOfTime as error:
            if rest.given_up:
                raise went_on(self._seconds) from None
            raise HandlerTimeout(
                f"it took longer than {self._seconds:g} s and was cancelled",
                type="HandlerTimeout",
                message=f"longer than {self._seconds:g} s",
            ) from error
        except GeneratorExit as error:
            if rest.closed:
                raise
            raise _failure(error) from error
        finally:
            self._own += rest.own
            if rest.given_up:
                self._part_with(handler)

    def _part_with(self, handler: Coroutine[Any, Any, Any]) -> None:
        """Take the turn away from a handler that nothing resumes any more, and have its message never run again."""
        turn = running.get()
        if turn is not None:
            seconds = self._seconds
            given_up(turn, _name_of(handler), seconds, self._grace)
            self._condemned[turn.message_id] = lambda claimed, delivery: went_on(seconds)
            abandon(turn)
        # A coroutine that is collected is resumed once more, to end, and this one might go on for ever: so it is never
        # collected, not even when the interpreter ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(handler))


def _failure(error: BaseException) -> RuntimeError:
    """Return what the handler's own doing is, such as awaiting a task that it had cancelled: not the lane's end."""
    return RuntimeError(raised(f"{a(type(error).__qualname__)} left the handler", error))


def _current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _name_of(handler: Coroutine[Any, Any, Any]) -> str:
    return str(getattr(handler, "__name__", "?"))
