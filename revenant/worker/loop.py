"""Loop: what every background loop of a worker is: run once, sleep or be nudged, survive a lost database."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from typing import Any

import psycopg

from revenant.eventloop import end
from revenant.queue.link import Link, brief

log = logging.getLogger("revenant.loop")


class Loop(ABC):
    """A background loop over one shared connection. Invariant: a failure is logged at its edge, and it goes on."""

    name: str

    def __init__(self, *, desk: Link) -> None:
        self._desk = desk
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    async def start(self) -> None:
        """Begin; the first round comes at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name=f"revenant-{self.name}")

    async def stop(self) -> None:
        """End; safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    def nudge(self) -> None:
        """Have the next round come now."""
        self._wake.set()

    @abstractmethod
    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Do one round; return the seconds until the next."""

    async def _forever(self) -> None:
        while True:
            connection = await self._desk.connection()
            # Cleared before looking: what is nudged during a round belongs to the next one.
            self._wake.clear()
            try:
                pause = await self.run_once(connection)
                self._failures = 0
            except (psycopg.Error, OSError) as error:
                if not self._failures:
                    log.warning("%s: a round failed (%s); trying again.", self.name, brief(error))
                self._failures = min(self._failures + 1, 10)
                await self._desk.reset(only=connection)
                pause = random.uniform(0.5, 1) * min(5.0, 0.1 * 2**self._failures)  # noqa: S311 # jitter, not a secret
            except Exception:
                log.exception("%s: a round failed in a way that it should not; going on.", self.name)
                pause = 1.0
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the pause is over
