"""Wanted: what a visit is to read of each run, and no more than that.

Invariant: what is left to other workers is read once for each message, and not each time that the net finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from revenant.queue.records import Hint
from revenant.queue.runs import UNKNOWN, Known, VisitedRun
from revenant.worker.agenda import Key
from revenant.worker.runs.stage import Stage

MOST_LEFT = 10_000
"""With more runs than this that are left to others, they are read once more."""


class Asked(NamedTuple):
    """What a visit is asked, by run: what is known of it, whether it is read in any case, and by which snapshot."""

    known: list[Known]
    forced: list[bool]
    formats: list[str | None]


class Wanted:
    """What one runner wants to know of its runs."""

    def __init__(
        self, *, stage: Stage, format_of: Callable[[str], str | None], has_code: Callable[[Hint, int], bool]
    ) -> None:
        self._stage = stage
        self._format_of = format_of
        self._has_code = has_code
        self._forced: set[Key] = set()
        """Runs that are to be read although no message waits for them."""
        self._whole: set[Key] = set()
        """Runs whose snapshot cannot be read: their events can."""
        self._left: dict[Key, tuple[Known, int]] = {}
        """Runs whose version only others have, and where they stood when they were read."""

    def force(self, key: Key) -> None:
        """Have a run read at its next visit."""
        self._forced.add(key)

    def whole(self, key: Key) -> None:
        """Have a run read from its beginning at its next visit, and then as any other."""
        self._whole.add(key)
        self._forced.add(key)

    def of(self, hints: Sequence[Hint]) -> Asked:
        """Return what a visit to these runs is asked."""
        keys = [(hint.kind, hint.key) for hint in hints]
        return Asked(
            [self._known(hint, key) for hint, key in zip(hints, keys, strict=True)],
            [key in self._forced for key in keys],
            [None if key in self._whole else self._format_of(key[0]) for key in keys],
        )

    def read(self, hints: Sequence[Hint], found: Sequence[VisitedRun]) -> None:
        """Take note of what a visit has read."""
        done = {(hint.kind, hint.key) for hint, it in zip(hints, found, strict=True) if it.verdict != "later"}
        self._forced -= done
        self._whole -= done

    def forget(self) -> None:
        """Forget what is known of runs that nothing is under way of: what is stored may be another thing by now."""
        self._stage.forget()
        self._left.clear()

    def leave(self, key: Key, visited: VisitedRun) -> None:
        """Leave a run that nothing can be done about here to others, if it is they who have its version."""
        if len(self._left) >= MOST_LEFT:
            self._left.clear()
        head = visited.head
        if visited.known and any(one.handler == "migrate" for one in visited.deliveries):
            # It may be moved to a version of ours; for that it is read.
            self._left.pop(key, None)
        elif head is not None and visited.events:
            self._left[key] = Known(head.run, head.seq, head.fence, visited.verdict == "ours"), head.version

    def _known(self, hint: Hint, key: Key) -> Known:
        staged = self._stage.find(key)
        if staged is not None:
            return staged.known
        known, version = self._left.get(key, (UNKNOWN, 0))
        if known is UNKNOWN:
            return known
        # A message that is named is new, and may be what moves the run to a version of ours.
        if hint.seq or key in self._forced or self._has_code(hint, version):
            del self._left[key]
            return UNKNOWN
        return known
