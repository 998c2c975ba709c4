"""Cases: a run started for every late flight, with bounded runs under way, and each result compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from revenant.app import Revenant
from revenant.demo.flight import Flight
from revenant.demo.ops.application import compensate
from revenant.demo.ops.claim import Claim
from revenant.errors import CallTimeout, RunFailed
from revenant.trial.run import Run

AT_ONCE = 64
"""Runs that may be under way at once."""
RESULT_TIMEOUT = 60.0


@dataclass(slots=True)
class Outcomes:
    """What became of the runs; times in seconds from a run's start to its result."""

    latencies: list[float] = field(default_factory=list)
    unknown: int = 0
    """Runs without a result in time: the comparison tells what became of them."""
    failed: int = 0
    wrong: int = 0
    """Results that are not what the file says."""
    differences: list[str] = field(default_factory=list)


class Cases:
    """Starts runs, and takes in their results."""

    def __init__(self, *, app: Revenant, run: Run, desk: str) -> None:
        self._app = app
        self._run = run
        self._desk = desk
        self._open: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.sent = 0
        self.outcomes = Outcomes()

    @property
    def on_the_way(self) -> int:
        """Runs that have no result yet."""
        return len(self._open)

    async def send(self, flight: Flight, expected: tuple[int, int, str]) -> None:
        """Start a run for one flight; waits only while too many are under way.

        Raises:
            RevenantError: an earlier one could not be started.
        """
        while len(self._open) >= AT_ONCE:
            await self._change()
        self.sent += 1
        id = self._run.key(f"{self.sent:06}-{flight.day}-{flight.carrier}{flight.number}")
        task = asyncio.create_task(self._follow(id, Claim(flight, self._desk), expected))
        self._open.add(task)
        task.add_done_callback(self._ended)
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Wait until every run has its result."""
        while self._open:
            await self._change()
        self._check()

    def probes(self) -> list[Coroutine[Any, Any, Any]]:
        """Return waits for the ends of the runs that are under way now."""
        return [asyncio.wait({task}) for task in self._open]

    async def stop(self) -> None:
        """Give up waiting; safe after `finish` and twice."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, id: str, claim: Claim, expected: tuple[int, int, str]) -> None:
        began, outcomes = time.perf_counter(), self.outcomes
        try:
            handle = await self._app.start(compensate, claim, id=id)
            receipt = await handle.result(timeout=RESULT_TIMEOUT)
        except CallTimeout:
            outcomes.unknown += 1
        except RunFailed as error:
            outcomes.failed += 1
            outcomes.differences.append(f"{id}: {error}")
        else:
            outcomes.latencies.append(time.perf_counter() - began)
            found = (receipt.owed, receipt.paid, receipt.decision)
            if found != expected:
                outcomes.wrong += 1
                outcomes.differences.append(f"{id}: the receipt says {found}, and should say {expected}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    async def _change(self) -> None:
        self._check()
        await asyncio.wait(list(self._open), return_when=asyncio.FIRST_COMPLETED)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
