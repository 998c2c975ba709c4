"""Holding: runs that are left aside: an attempt of theirs commits its own SQL, or their append is to be tried again.

Invariant: nothing is appended to a run that is held but what it is held for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from revenant.queue.records import Hint
from revenant.worker.docket import Docket
from revenant.worker.runs.appending import Append, part_of_event
from revenant.worker.runs.came import Came
from revenant.worker.runs.stage import Stage, Staged
from revenant.workflows.attempts import is_current

_SLACK = 0.01
"""Seconds by which a timer may be early."""
POSTPONED = (0, 0)
"""No operation: what is to be written is there, and was refused."""


class Asked(NamedTuple):
    """An attempt is about to commit; it is answered with what it is to append, or None: nobody waits for it."""

    staged: Staged
    op: int
    attempt: int
    result: Any
    """As what JSON holds."""
    answer: asyncio.Future[Append | None]


class Holds(Protocol):
    """What an attempt needs of whoever holds its run."""

    async def hold(self, staged: Staged, op: int, attempt: int, result: Any) -> Append | None:
        """Return what the attempt is to append, once nothing else is on its way; None: nobody waits for it."""


class Holding:
    """The runs of one runner that are held, for one attempt or append each, and what comes for them meanwhile."""

    def __init__(self, *, stage: Stage, docket: Docket, came: deque[Came]) -> None:
        self._stage = stage
        self._docket = docket
        self._came = came
        self._asked: deque[Asked] = deque()
        self._behind: dict[Staged, list[Came | Hint | Asked]] = {}
        self._postponed: dict[Staged, tuple[float, Append]] = {}
        """What is to be appended, and when (monotonic seconds)."""

    async def hold(self, staged: Staged, op: int, attempt: int, result: Any) -> Append | None:
        """Return what the attempt is to append, once nothing else is on its way; None: nobody waits for it."""
        asked = Asked(staged, op, attempt, result, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._docket.wake()
        return await asked.answer

    @property
    def waits(self) -> bool:
        """Whether an attempt waits to be let through."""
        return bool(self._asked)

    def let_through(self, now: Callable[[], datetime], *, stopped: bool) -> None:
        """Hold the runs of the attempts that wait; nothing of theirs may be on its way."""
        self._forget()
        for _ in range(len(self._asked)):
            asked = self._asked.popleft()
            staged = asked.staged
            if asked.answer.done():
                continue
            here = self._stage.find(staged.key) is staged
            if stopped or not here or is_current(staged.live, asked.op, asked.attempt) is None:
                asked.answer.set_result(None)
            elif staged in self._behind:
                self._behind[staged].append(asked)
            elif not staged.live.draft.empty:
                self._asked.append(asked)
            else:
                self._behind[staged] = []
                staged.held = asked.op, asked.attempt
                staged.live.now = now()
                asked.answer.set_result(part_of_event(staged, asked.op, asked.attempt, asked.result))

    def postpone(self, part: Append, seconds: float) -> None:
        """Hold a run whose append was refused, with its attempts under way, until that is tried again."""
        staged = part.staged
        staged.held = POSTPONED
        self._behind.setdefault(staged, [])
        self._postponed[staged] = time.monotonic() + seconds, part
        asyncio.get_running_loop().call_later(seconds, self._docket.wake)

    def take_postponed(self, *, last: bool) -> list[Append]:
        """Return what is to be tried again now; `last`: all of it."""
        if not self._postponed:
            return []
        now = time.monotonic() + _SLACK
        due = [staged for staged, (at, _) in self._postponed.items() if last or at <= now]
        parts = [self._postponed.pop(staged)[1] for staged in due]
        return [part for part in parts if self._stage.find(part.staged.key) is part.staged]

    def written(self, staged: Staged) -> None:
        """What was postponed is in the database: what has come for the run meanwhile is gone on with."""
        if staged.held == POSTPONED:
            staged.held = None
            self._release(staged)

    def put_off(self, hints: Iterable[Hint], *, draining: bool = False) -> list[Hint]:
        """Return the hints to runs that are not held; the others come again when their runs are free.

        `draining`: only those to runs that nobody else can go on with yet are returned; others hear of the rest.
        """
        free: list[Hint] = []
        for hint in hints:
            staged = self._stage.find((hint.kind, hint.key))
            if draining and (staged is None or not staged.owned):
                continue
            if staged is None or staged.held is None:
                free.append(hint)
            else:
                self._behind[staged].append(hint)
        return free

    def take(self, came: Came) -> bool:
        """Return whether this can be taken in now: its run is free, or it is what the run was held for."""
        staged = came.staged
        if staged.held is None:
            return True
        if staged.held != (came.op, came.attempt):
            self._behind[staged].append(came)
            return False
        staged.held = None
        self._release(staged)
        return True

    def _release(self, staged: Staged) -> None:
        for one in self._behind.pop(staged, ()):
            match one:
                case Came():
                    self._came.append(one)
                case Asked():
                    self._asked.append(one)
                case _:
                    self._docket.add([one])

    def _forget(self) -> None:
        """Drop what was held and is not here any more."""
        for staged in [staged for staged in self._behind if self._stage.find(staged.key) is not staged]:
            self._release(staged)
