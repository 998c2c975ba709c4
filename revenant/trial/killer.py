"""Killer: kills workers with SIGKILL in the middle of the traffic, and measures how soon the others reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from revenant.trial.crew import Crew, Killed


class Recovery(NamedTuple):
    """Seconds from a SIGKILL to the first and to the last reply of the calls that were made right after it."""

    first: float
    last: float


class Killer:
    """Kills a worker at a time; whoever sends goes on while a recovery is measured."""

    def __init__(self, *, crew: Crew, say: Callable[[str], None]) -> None:
        self._crew = crew
        self._say = say
        self._recovering: list[asyncio.Task[None]] = []
        self.recoveries: list[Recovery] = []
        """Those that are measured, in the order in which they ended."""

    def kill(self, calls: Callable[[Killed], Iterable[Coroutine[Any, Any, object]]], *, pid: int | None = None) -> None:
        """Kill the worker of that process id, or the oldest; then make the calls, which the others must answer."""
        killed = self._crew.kill(pid)
        started = [asyncio.create_task(call) for call in calls(killed)]
        self._recovering.append(asyncio.create_task(self._recover(killed, started)))

    async def finish(self) -> None:
        """Wait until the recoveries are measured."""
        await asyncio.gather(*self._recovering)

    async def stop(self) -> None:
        """Give up measuring; safe after `finish` and twice."""
        for task in self._recovering:
            task.cancel()
        await asyncio.gather(*self._recovering, return_exceptions=True)

    async def _recover(self, killed: Killed, calls: list[asyncio.Task[object]]) -> None:
        first: float | None = None
        try:
            for call in asyncio.as_completed(calls):
                await call
                first = first or time.perf_counter() - killed.at
        finally:
            for task in calls:
                task.cancel()
        last = time.perf_counter() - killed.at
        await self._crew.bury(killed)
        recovery = Recovery(first or last, last)
        self.recoveries.append(recovery)
        self._say(
            f"Killed worker {killed.pid} with SIGKILL; the next reply came after {recovery.first * 1000:.0f} ms, the "
            f"last of {len(calls)} after {recovery.last * 1000:.0f} ms."
        )
