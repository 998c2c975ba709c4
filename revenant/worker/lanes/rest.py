"""Rest: what is left of a handler that waits. It is cancelled when its time is over, and given up when it goes on.

Invariant: a handler that was given up is never resumed, whatever it waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class OutOfTime(BaseException):
    """The handler had to be stopped."""


class Rest:
    """Awaits a coroutine that has made its first step, and waits for `waits_for`.

    It may take `seconds`, and then `grace` (seconds) to end after its cancellation. Cancellations by others pass.

    Raises:
        OutOfTime: it was cancelled, and ended by that, or was `given_up`.
    """

    def __init__(self, handler: Coroutine[Any, Any, Any], waits_for: Any, *, seconds: float, grace: float) -> None:
        self.given_up = False
        self.own = 0
        """How many times the handler has cancelled the task by itself, and not taken it back."""
        self.closed = False
        """Whether whoever awaits it was closed, and it with that: a GeneratorExit is then not its own."""
        self._handler = handler
        self._waits_for = waits_for
        self._seconds = seconds
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelled = 0
        """How many times the task was cancelled from here."""
        self._gate: _Gate | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        before = self._task.cancelling()
        self._timer = self._loop.call_later(self._seconds, self._cancel)
        try:
            return (yield from self._drive())
        except asyncio.CancelledError as error:
            if self._cancelled and self._task.cancelling() - self._cancelled - self.own <= before:
                raise OutOfTime from error
            raise
        finally:
            self._timer.cancel()
            for _ in range(self._cancelled):
                self._task.uncancel()

    def _drive(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    value = yield from self._wait_for(waits_for)
                except BaseException as error:  # a cancellation, too, goes to the handler
                    if self.given_up:
                        raise
                    self.closed = isinstance(error, GeneratorExit)
                    waits_for = self._step(self._handler.throw, error)
                else:
                    waits_for = self._step(self._handler.send, value)
            except StopIteration as ended:
                return ended.value

    def _step(self, resume: Callable[[Any], Any], value: Any) -> Any:
        known = self._task.cancelling()
        try:
            return resume(value)
        finally:
            # Nobody else runs meanwhile. A handler may take back what it did, as time limits do.
            self.own = max(0, self.own + self._task.cancelling() - known)

    def _wait_for(self, waits_for: Any) -> Generator[Any, Any, Any]:
        # A plain future ends when it is cancelled. A task, or what gathers several, may refuse to.
        if type(waits_for) is asyncio.Future or not getattr(waits_for, "_asyncio_future_blocking", False):
            return (yield waits_for)
        waits_for._asyncio_future_blocking = False
        self._gate = _Gate(waits_for)
        try:
            return (yield from self._gate)
        finally:
            self._gate = None

    def _cancel(self) -> None:
        self._timer = self._loop.call_later(self._grace, self._give_up)
        self._cancelled += 1
        self._task.cancel()

    def _give_up(self) -> None:
        self.given_up = True
        if self._gate is not None:
            self._gate.force()
        self._cancelled += 1
        self._task.cancel()


class _Gate(asyncio.Future[None]):
    """Opens when another future is done, and can be forced where that one refuses to be cancelled."""

    def __init__(self, inner: asyncio.Future[Any]) -> None:
        super().__init__(loop=inner.get_loop())
        self._inner = inner
        inner.add_done_callback(self._open)

    def cancel(self, msg: Any | None = None) -> bool:
        """Pass it on: who waits for a task is woken when the task has ended."""
        return self._inner.cancel(msg)

    def force(self) -> None:
        """Wake whoever waits, by a cancellation."""
        self._inner.remove_done_callback(self._open)
        super().cancel()

    def _open(self, _: asyncio.Future[Any]) -> None:
        if not self.done():
            self.set_result(None)
