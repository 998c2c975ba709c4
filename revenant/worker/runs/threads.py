"""Threads: where functions run that are not `async def`; one that nobody waits for any more is left to itself.

Invariant: at most so many functions are waited for; a thread that hangs holds up neither the others nor the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Hashable
from typing import Any

from revenant.offspring import end_if_not

log = logging.getLogger("revenant.step")


class _Work:
    """One call, and who waits for what it comes to: a value, or an error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.loop = asyncio.get_running_loop()
        self.came: asyncio.Future[tuple[Any, BaseException | None]] = self.loop.create_future()
        self.ended: asyncio.Future[None] = self.loop.create_future()


class Threads:
    """Daemon threads, made when needed and used again; the standard library's would keep a process from ending."""

    def __init__(self, *, most: int) -> None:
        self._places = asyncio.Semaphore(most)
        self._most = most
        self._idle: list[queue.SimpleQueue[_Work | None]] = []
        self._closed = False
        self._left: dict[Hashable, asyncio.Future[None]] = {}

    def left(self, name: Hashable) -> asyncio.Future[None] | None:
        """Return when the call of that name ends which was left to itself; None: there is none."""
        return self._left.get(name)

    async def run(self, call: Callable[[], Any], *, name: Hashable = None) -> Any:
        """Return what the call returns, in a thread; one that is cancelled goes on, and nobody hears of it."""
        async with self._places:
            work = _Work(call)
            inlet = self._idle.pop() if self._idle else self._make()
            inlet.put(work)
            try:
                value, error = await work.came
            except asyncio.CancelledError:
                log.debug("A thread is left to itself: what it runs cannot be cancelled.")
                self._left[name] = work.ended
                work.ended.add_done_callback(lambda _: self._left.pop(name, None))
                raise
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """End the threads that do nothing; the others end when they are done, or with the process."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _make(self) -> queue.SimpleQueue[_Work | None]:
        inlet: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, args=(inlet,), name="revenant-step", daemon=True).start()
        return inlet

    def _work(self, inlet: queue.SimpleQueue[_Work | None]) -> None:
        home = os.getpid()
        while (work := inlet.get()) is not None:
            value, error = None, None
            try:
                value = work.call()
            except BaseException as raised:  # noqa: BLE001 # whatever it is, it is for whoever waits
                error = raised
            end_if_not(home)
            try:
                work.loop.call_soon_threadsafe(self._done, inlet, work, value, error)
            except RuntimeError:
                return  # the loop has ended, and nobody waits
            del work, value, error

    def _done(
        self, inlet: queue.SimpleQueue[_Work | None], work: _Work, value: Any, error: BaseException | None
    ) -> None:
        if not work.came.done():
            work.came.set_result((value, error))
        work.ended.set_result(None)
        if self._closed or len(self._idle) >= self._most:
            inlet.put(None)
        else:
            self._idle.append(inlet)
