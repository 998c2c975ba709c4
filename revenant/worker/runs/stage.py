"""Stage: the runs that one runner has in memory. Those with attempts under way stay; the others are a cache."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from revenant.queue.runs import Known
from revenant.worker.agenda import Key
from revenant.workflows.advancing import advance
from revenant.workflows.live import LiveRun
from revenant.workflows.view import View

MOST_IDLE = 1_000
"""Runs without attempts under way that are kept in memory, the latest used ones."""
MOST_WAITS = 100
"""Of what a run waits for, so many are told in its row."""


@dataclass(slots=True, eq=False)
class Staged:
    """One run in memory, and what is known of its row."""

    live: LiveRun
    stream: str | None
    """The stream that its row names; None: it has no row yet."""
    seq: int
    """Events that are committed."""
    fence: int
    owned: bool
    digest: bytes
    origin: str | None
    parent: str | None = None
    waits: str | None = None
    tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """Attempts that run in this process, by their operations."""
    unreadable: bool = False
    """Whether it is here only to be blocked: what is in memory is not what it is."""
    progress: dict[int, Any] = field(default_factory=dict)
    """What steps have said of themselves, by operation; there may be a row of each."""
    held: tuple[int, int] | None = None
    """The operation, and its attempt, that commits by itself now; until that has ended, nothing else is appended."""

    @property
    def key(self) -> Key:
        """What it is known by in this process."""
        return self.live.address.kind, self.live.address.key

    @property
    def known(self) -> Known:
        """What a visit need not read again."""
        return Known(self.stream, self.seq, self.fence, self.owned)

    @property
    def busy(self) -> bool:
        """Whether this process has to do something about it: attempts, or a fresh history that is still to begin."""
        view = self.live.view
        if view.continued_now and view.status != "blocked":
            # Should this process die before it begins, others find the run by its owner.
            return True
        if not view.released:
            for one in view.operations.values():
                if one.running and not one.asked.get("external"):
                    return True
        return False

    def waits_now(self) -> str | None:
        """Return what it waits for as JSON; None: as when it was asked last."""
        text = waits_of(self.live.view)
        if text == self.waits:
            return None
        self.waits = text
        return text


def waits_of(view: View) -> str:
    """Return what a run waits for, as its row tells it."""
    waits: list[dict[str, Any]] = []
    if view.over:
        return "[]"
    for found in view.operations.values():
        if found.running and not found.asked.get("external"):
            continue
        told = {"op": found.number, "type": "retry" if found.pausing else found.type, "name": found.name}
        told["since"] = found.asked_at.isoformat()
        if found.due is not None:
            told["due"] = found.due.isoformat()
        waits.append(told)
        if len(waits) == MOST_WAITS:
            break
    return to_json(waits).decode() if waits else "[]"


class Stage:
    """Runs by their addresses; to keep one, or to forget the longest unused, costs the same however many there are."""

    def __init__(self) -> None:
        self._runs: dict[Key, Staged] = {}
        self._idle: OrderedDict[Key, Staged] = OrderedDict()
        """Those that nothing was under way of when they were used last, the longest unused first."""
        self.current: Key | None = None
        """The run that was looked at last: while its runner has the event loop, its code does."""

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Staged]:
        return iter(list(self._runs.values()))

    def find(self, key: Key) -> Staged | None:
        """Return the run of that address, if it is here."""
        return self._runs.get(key)

    def add(self, staged: Staged) -> None:
        """Keep a run."""
        self._runs[staged.key] = staged
        self.used(staged)

    def used(self, staged: Staged) -> None:
        """Note that something was done about it now."""
        if self._runs.get(staged.key) is not staged:
            return
        self._idle.pop(staged.key, None)
        if not staged.owned:
            self._idle[staged.key] = staged

    def drop(self, staged: Staged) -> None:
        """Forget a run; its code unwinds, and its attempts end."""
        if self._runs.get(staged.key) is staged:
            del self._runs[staged.key]
            self._idle.pop(staged.key, None)
        for task in staged.tasks.values():
            task.cancel()
        staged.tasks.clear()
        staged.live.put_aside()

    def advance(self, staged: Staged) -> None:
        """Take a run as far as it goes."""
        self.current = staged.key
        advance(staged.live)

    def forget(self) -> None:
        """Forget all runs that nothing is under way of: what is stored may be another thing than what they are."""
        for staged in list(self._idle.values()):
            if not staged.owned and staged.live.draft.empty:
                self.drop(staged)

    def tidy(self) -> None:
        """Forget the longest unused of the runs that nothing is under way of."""
        for _ in range(len(self._idle) - MOST_IDLE):
            key, staged = self._idle.popitem(last=False)
            if staged.owned:
                # It has got attempts since; it is idle again when they have ended.
                continue
            if staged.live.draft.empty:
                self.drop(staged)
            else:
                self._idle[key] = staged
