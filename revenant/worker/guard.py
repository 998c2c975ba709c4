"""Guard: a handler's time limit, which costs nothing to a handler that never waits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Generator
from typing import Any

from revenant import telemetry
from revenant.entities.context import running
from revenant.errors import HandlerTimeout
from revenant.worker.observer import begun, handled, log


class Guard:
    """Awaits handlers, each for at most `seconds`."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds

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
        try:
            return await self._run(handler)
        except (Exception, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            # The handler's own doing, such as awaiting a task that it had cancelled: its failure, not the lane's end.
            raise RuntimeError(f"a {type(error).__qualname__} left the handler: {error}") from error

    async def _run(self, handler: Coroutine[Any, Any, Any]) -> Any:
        try:
            # Most handlers only change their fields: they end at the first step, and need no timer.
            waits_for = handler.send(None)
        except StopIteration as ended:
            return ended.value
        try:
            async with asyncio.timeout(self._seconds) as limit:
                return await _Rest(handler, waits_for)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise HandlerTimeout(
                f"it took longer than {self._seconds:g} s and was cancelled",
                type="HandlerTimeout",
                message=f"longer than {self._seconds:g} s",
            ) from error


class _Rest:
    """The rest of a coroutine that has made its first step and waits for something."""

    def __init__(self, handler: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._handler = handler
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    value = yield waits_for
                except BaseException as error:  # noqa: BLE001 # a cancellation, too, goes to the handler
                    waits_for = self._handler.throw(error)
                else:
                    waits_for = self._handler.send(value)
            except StopIteration as ended:
                return ended.value


def _name_of(handler: Coroutine[Any, Any, Any]) -> str:
    return str(getattr(handler, "__name__", "?"))
