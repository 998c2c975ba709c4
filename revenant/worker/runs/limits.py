"""Limits: how long one attempt may take, and how long it may say nothing; past one of them, it has failed.

Invariant: an attempt that is past a limit is told of as failed once, and within a second, whatever it does then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from revenant.errors import HeartbeatTimeout

GRACE_SECONDS = 1.0
"""What a cancelled attempt gets to clean up before the next one may begin beside it."""


class Limits:
    """The limits of one attempt."""

    def __init__(self, *, timeout: float | None, heartbeat: float | None, overrun: Callable[[Exception], None]) -> None:
        self.passed: Exception | None = None
        """Which limit has passed, as the attempt's error."""
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._overrun = overrun
        self._task: asyncio.Task[Any] | None = None
        self._beaten = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Count from now; `task` is the one that is cancelled."""
        self._task = task
        self.beat()
        if self._timeout is not None:
            error = TimeoutError(f"the attempt took longer than {self._timeout:g} s")
            self._time(self._timeout, self._pass, error)
        if self._heartbeat is not None:
            self._time(self._heartbeat, self._hear)

    def beat(self) -> None:
        """The attempt lives. For any thread."""
        self._beaten = time.monotonic()

    def end(self) -> None:
        """The attempt has ended, or cannot be stopped any more. Safe twice."""
        self._stop()
        # Whoever is told has these limits: without that, both go as soon as nobody needs them.
        self._overrun = _nobody

    def _stop(self) -> None:
        while self._timers:
            self._timers.pop().cancel()

    def _time(self, seconds: float, then: Callable[..., None], *args: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, then, *args))

    def _hear(self) -> None:
        assert self._heartbeat is not None
        del self._timers[-1:]
        left = self._beaten + self._heartbeat - time.monotonic()
        if left > 0:
            self._time(left, self._hear)
        else:
            self._pass(HeartbeatTimeout(f"the attempt sent no heartbeat for {self._heartbeat:g} s"))

    def _pass(self, error: Exception) -> None:
        self._stop()
        self.passed = error
        if self._task is not None:
            self._task.cancel()
        self._time(GRACE_SECONDS, self._overrun, error)


def _nobody(error: Exception) -> None:
    """Nobody is told any more."""
