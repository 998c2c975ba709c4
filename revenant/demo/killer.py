"""Killer: kills workers with SIGKILL in the middle of the traffic, and measures how soon the others reply."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from revenant.demo.screen import Screen
from revenant.demo.traffic import Traffic
from revenant.trial.crew import Crew, Killed
from revenant.trial.latency import milliseconds

FROM, WITHIN = 0.4, 0.3
"""The first worker is killed when this share of the file is sent, the others spread over the next share."""


class Killer:
    """Kills when its plan says so; sending goes on while a recovery is measured."""

    def __init__(self, *, crew: Crew, traffic: Traffic, screen: Screen) -> None:
        self._crew = crew
        self._traffic = traffic
        self._screen = screen
        self._due: deque[int] = deque()
        self._recovering: list[asyncio.Task[None]] = []
        self._first: list[float] = []
        self._last: list[float] = []
        self._on_the_way: list[int] = []

    def plan(self, rows: int, kills: int) -> None:
        """Spread so many kills over a file of so many rows."""
        self._due.extend(max(1, int(rows * (FROM + WITHIN * number / kills))) for number in range(kills))

    def look(self) -> None:
        """Kill, if enough has been sent."""
        while self._due and self._traffic.sent >= self._due[0]:
            self._due.popleft()
            self._kill()

    def catch_up(self) -> None:
        """Kill what is still planned: rows that were passed over made the file shorter. Nothing sent, nobody killed."""
        while self._due and self._traffic.sent:
            self._due.popleft()
            self._kill()

    async def finish(self) -> None:
        """Wait until the recoveries are measured."""
        await asyncio.gather(*self._recovering)

    async def stop(self) -> None:
        """Give up measuring; safe after `finish` and twice."""
        for task in self._recovering:
            task.cancel()
        await asyncio.gather(*self._recovering, return_exceptions=True)

    def figures(self) -> dict[str, Any]:
        """Return the fields of `Result` that are about kills."""
        return {
            "killed": len(self._on_the_way),
            "recovery_ms": milliseconds(max(self._first, default=None)),
            "recovery_all_ms": milliseconds(max(self._last, default=None)),
            "on_the_way_at_kill": min(self._on_the_way, default=0),
        }

    def _kill(self) -> None:
        self._on_the_way.append(self._traffic.on_the_way)
        killed = self._crew.kill()
        self._recovering.append(asyncio.create_task(self._recover(killed)))

    async def _recover(self, killed: Killed) -> None:
        first, last = await self._traffic.recovery(killed.at)
        self._first.append(first)
        self._last.append(last)
        self._screen.say(f"Killed worker {killed.pid} with SIGKILL; the next reply came after {first * 1000:.0f} ms.")
