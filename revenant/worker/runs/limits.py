"""Limits: how long one attempt may take, and how long it may say nothing; past one of them, it has failed.

Invariant: an attempt that is past a limit is told of as failed once, and within a second, whatever it does then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from revenant.errors import HeartbeatTimeout

GRACE_SECONDS = 1.0
"""What a cancelled attempt gets to clean up before the next one may begin beside it."""


class Limits:
    """The limits of the attempt that runs in the current task."""

    def __init__(self, *, timeout: float | None, heartbeat: float | None, overrun: Callable[[Exception], None]) -> None:
        self.passed: Exception | None = None
        """Which limit has passed, as the attempt's error."""
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._overrun = overrun
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._beaten = time.monotonic()
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self) -> None:
        """Count from now."""
        self.beat()
        if self._timeout is not None:
            error = TimeoutError(f"the attempt took longer than {self._timeout:g} s")
            self._timers.append(self._loop.call_later(self._timeout, self._pass, error))
        if self._heartbeat is not None:
            self._listen(self._heartbeat)

    def beat(self) -> None:
        """The attempt lives. For any thread."""
        self._beaten = time.monotonic()

    def end(self) -> None:
        """The attempt has ended, or cannot be stopped any more. Safe twice."""
        while self._timers:
            self._timers.pop().cancel()

    def _listen(self, silence: float) -> None:
        self._timers.append(self._loop.call_later(silence, self._hear))

    def _hear(self) -> None:
        assert self._heartbeat is not None
        del self._timers[-1:]
        left = self._beaten + self._heartbeat - time.monotonic()
        if left > 0:
            self._listen(left)
        else:
            self._pass(HeartbeatTimeout(f"the attempt sent no heartbeat for {self._heartbeat:g} s"))

    def _pass(self, error: Exception) -> None:
        self.end()
        self.passed = error
        if self._task is not None:
            self._task.cancel()
        self._timers.append(self._loop.call_later(GRACE_SECONDS, self._overrun, error))
