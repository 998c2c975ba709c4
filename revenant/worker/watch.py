"""Watch: keys that another worker or lane should be handling; looked at until their mailboxes are empty.

It is what makes a peer's death cost tens of milliseconds: nobody waits for a lease.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import psycopg

from revenant import telemetry
from revenant.queue.claim import peek
from revenant.queue.link import Link
from revenant.queue.records import RELEASED, Hint
from revenant.worker.agenda import Inlet, Key
from revenant.worker.loop import Loop

GRACE_SECONDS = 0.03
"""How long whoever goes first is left alone with a message."""
PATIENCE_SECONDS = 0.5
"""How long a live worker is left alone with a run: it is busy, and two that go on with a run do it once in vain."""
AGAIN_SECONDS = 0.1
"""How often a run is looked at that is left to another worker."""
MISS_SECONDS = 0.1
"""How often, at most, the fleet is looked at because somebody was late."""


class _Watched(NamedTuple):
    hint: Hint
    due: float
    """When its grace is over, in monotonic seconds."""
    backlog: bool
    until: float
    """When patience with a live worker ends."""


class Watch(Loop):
    """Peeks at the watched keys when their grace is over, and puts those that still wait on the agenda."""

    name = "watch"

    def __init__(
        self,
        *,
        desk: Link,
        agenda: Inlet,
        on_miss: Callable[[psycopg.AsyncConnection[Any]], Awaitable[object]],
        leaves: Callable[[Hint], bool] = lambda hint: False,
    ) -> None:
        super().__init__(desk=desk)
        self._agenda = agenda
        self._leaves = leaves
        self._on_miss = on_miss
        self._missed_at = 0.0
        self._watched: dict[Key, _Watched] = {}

    def add(self, hints: Iterable[Hint], *, backlog: bool = False) -> None:
        """Watch these keys from the end of their grace on. `backlog`: as when the agenda is told of them."""
        now = time.monotonic()
        due, until = now + GRACE_SECONDS, now + PATIENCE_SECONDS
        was_empty = not self._watched
        for hint in hints:
            # What the net found names no message: nobody is known to wait for it.
            unhurried = backlog or hint.seq == 0
            known = self._watched.get((hint.kind, hint.key))
            # The lower number is kept: a message may have been numbered early and committed late.
            self._watched[hint.kind, hint.key] = (
                _Watched(hint, due, unhurried, until)
                if known is None
                else _Watched(min(known.hint, hint), known.due, known.backlog and unhurried, known.until)
            )
        if was_empty and self._watched:
            self.nudge()

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Look once; keys that were handled meanwhile are forgotten."""
        if not self._watched:
            return 60.0
        now = time.monotonic()
        due = [watched for watched in self._watched.values() if watched.due <= now]
        if due:
            # Forgotten before the look: what is hinted meanwhile has a later message, and belongs to the next one.
            for watched in due:
                del self._watched[watched.hint.kind, watched.hint.key]
            try:
                waiting = await peek(connection, [watched.hint for watched in due])
            except BaseException:
                for watched in due:
                    self.add([watched.hint], backlog=watched.backlog)
                raise
            if waiting and telemetry.handlers:
                telemetry.emit("wakeup.miss", {"count": len(waiting)}, {})
            try:
                released = any(due[place].hint.seq == RELEASED for place in waiting)
                if released or (waiting and now > self._missed_at + MISS_SECONDS):
                    # Whoever goes first was late: busy, or dead. Look at the fleet first: the dead are not waited for
                    # again, and what they died with is handled with caution.
                    self._missed_at = now
                    await self._on_miss(connection)
            finally:
                late = self._not_left([due[place] for place in waiting], now)
                for backlog in (False, True):
                    self._agenda.add([one.hint for one in late if one.backlog is backlog], backlog=backlog)
        return GRACE_SECONDS

    def _not_left(self, waiting: list[_Watched], now: float) -> list[_Watched]:
        """Return those that are not left to a live worker for some more time; the others are watched on."""
        late = []
        for one in waiting:
            if one.until > now and self._leaves(one.hint):
                key = (one.hint.kind, one.hint.key)
                again = one._replace(due=now + AGAIN_SECONDS)
                known = self._watched.get(key)
                # What was hinted meanwhile has a later message.
                self._watched[key] = again if known is None else again._replace(hint=min(one.hint, known.hint))
            else:
                late.append(one)
        return late
