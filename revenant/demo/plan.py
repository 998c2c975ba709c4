"""Plan: at which rows of the file workers are killed, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from revenant.trial.killer import Killer
from revenant.trial.latency import milliseconds

FROM, WITHIN = 0.4, 0.3
"""The first worker is killed when this share of the file is sent, the others spread over the next share."""


class Traffic(Protocol):
    """What is sent while workers are killed."""

    @property
    def sent(self) -> int:
        """How much was sent."""

    @property
    def on_the_way(self) -> int:
        """How much of it has no answer yet."""

    def probes(self) -> Sequence[Coroutine[Any, Any, object]]:
        """Return what is to be waited for after a kill."""
        ...


class Plan:
    """So many kills, spread over a file of so many rows; sending goes on while a recovery is measured."""

    def __init__(self, *, rows: int, kills: int, killer: Killer, traffic: Traffic) -> None:
        self._killer = killer
        self._traffic = traffic
        self._due = deque(max(1, int(rows * (FROM + WITHIN * number / kills))) for number in range(kills))
        self._on_the_way: list[int] = []

    def look(self) -> None:
        """Kill, if enough has been sent."""
        while self._due and self._traffic.sent >= self._due[0]:
            self._kill()

    def catch_up(self) -> None:
        """Kill what is still planned: rows that were passed over made the file shorter. Nothing sent, nobody killed."""
        while self._due and self._traffic.sent:
            self._kill()

    def figures(self) -> dict[str, Any]:
        """Return the fields of `Result` that are about kills, when the killer has finished."""
        recoveries = self._killer.recoveries
        return {
            "killed": len(self._on_the_way),
            "recovery_ms": milliseconds(max((recovery.first for recovery in recoveries), default=None)),
            "recovery_all_ms": milliseconds(max((recovery.last for recovery in recoveries), default=None)),
            "on_the_way_at_kill": min(self._on_the_way, default=0),
        }

    def _kill(self) -> None:
        self._due.popleft()
        self._on_the_way.append(self._traffic.on_the_way)
        self._killer.kill(lambda _: self._traffic.probes())
