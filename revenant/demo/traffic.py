"""Traffic: every flight sent to its aircraft in the order of the file, casts for most and calls for a sample.

Invariant: what is sent to one aircraft leaves in the order of the file, calls and casts alike.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from revenant.app import Revenant
from revenant.demo.aircraft import Aircraft
from revenant.demo.flight import Flight
from revenant.errors import CallTimeout
from revenant.trial.run import Run

CALL_EVERY = 50
"""One message in so many is a call."""
CALLS_AT_ONCE = 16
"""Calls that may wait for their replies at once: with the casts between them, what is on its way stays bounded."""
CASTS_AT_ONCE = 2000
"""Casts that may wait for their confirmation at once."""
PROBES = 16
"""Aircraft that are asked something right after a kill."""


@dataclass(slots=True)
class Sampled:
    """What the sampled calls showed; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    unknown: int = 0
    """Calls whose reply did not come in time: the comparison tells what became of them."""
    out_of_order: int = 0
    """Replies that say another count of flights than the order of the file does."""


class Traffic:
    """Sends for one run, with bounded messages on their way."""

    def __init__(self, *, app: Revenant, run: Run) -> None:
        self._app = app
        self._run = run
        self._told: dict[str, int] = {}
        self._recent: deque[str] = deque(maxlen=4 * PROBES)
        self._casts: set[asyncio.Task[Any]] = set()
        self._calls: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._room = asyncio.Event()
        self.sent = 0
        self.sampled = Sampled()

    @property
    def on_the_way(self) -> int:
        """Messages whose confirmation or reply somebody waits for."""
        return len(self._casts) + len(self._calls)

    async def send(self, flight: Flight) -> None:
        """Send one flight to its aircraft; waits only while too much is on its way.

        Raises:
            RevenantError: an earlier message could not be sent.
        """
        while len(self._calls) >= CALLS_AT_ONCE or len(self._casts) >= CASTS_AT_ONCE:
            await self._change()
        name = flight.tailnum
        message = self._aircraft(name).log(flight)
        told = self._told[name] = self._told.get(name, 0) + 1
        # A task takes its place in the client's order when it first runs, and tasks first run in the order made.
        if self.sent % CALL_EVERY == CALL_EVERY // 2:
            self._start(self._calls, self._sample(message, told))
        else:
            self._start(self._casts, self._app.cast(message))
        self._recent.append(name)
        self.sent += 1

    async def finish(self) -> None:
        """Wait until every cast is confirmed and every call answered."""
        while self._casts or self._calls:
            await self._change()
        self._check()

    def probes(self) -> list[Coroutine[Any, Any, int]]:
        """Return calls that ask aircraft which were told something lately, not yet sent."""
        names = list(dict.fromkeys(reversed(self._recent)))[:PROBES]
        return [self._app.call(self._aircraft(name).told()) for name in names]

    async def stop(self) -> None:
        """Give up what is on its way; safe after `finish` and twice."""
        tasks = self._casts | self._calls
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _aircraft(self, name: str) -> Aircraft:
        return self._app.ref(Aircraft, self._run.key(name))

    async def _sample(self, message: Any, told: int) -> None:
        began = time.perf_counter()
        try:
            reply = await self._app.call(message)
        except CallTimeout:
            self.sampled.unknown += 1
            return
        self.sampled.latencies.append(time.perf_counter() - began)
        self.sampled.out_of_order += reply != told

    def _start(self, group: set[asyncio.Task[Any]], sending: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(sending)
        group.add(task)

        def ended(done: asyncio.Task[Any]) -> None:
            group.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self._failure = self._failure or done.exception()
            self._room.set()

        task.add_done_callback(ended)

    async def _change(self) -> None:
        self._check()
        self._room.clear()
        await self._room.wait()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
