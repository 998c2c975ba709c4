"""Spent: rows that this client needs no more: replies that were read, and the marks of batches that have arrived.

They go with later batches, a few at a time: a statement of its own for each would cost a caller a tenth of its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

ENOUGH = 16
"""Rows that are worth a statement."""
LONGEST_SECONDS = 0.5
"""How long a row stays at most once it is spent, while there is a connection."""


IDS = 200
"""Ids that one notification holds."""


class Rows(NamedTuple):
    """What goes with one batch: ids of replies, and of earlier batches."""

    replies: Sequence[str] = ()
    batches: Sequence[str] = ()
    heard: Sequence[tuple[str, str]] = ()
    """(channel, ids on a line each) to be told, after the batch, of replies that came before their commit."""


class Spent:
    """Collects spent rows; calls `on_due` when they have waited for long enough."""

    def __init__(self, on_due: Callable[[], None]) -> None:
        self._on_due = on_due
        self._replies: list[str] = []
        self._batches: list[str] = []
        self._desks: dict[str, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    @property
    def due(self) -> bool:
        """Whether what there is should go now, even alone."""
        return self._late and bool(self._replies)

    def read(self, ids: Sequence[str], desks: Mapping[str, str]) -> None:
        """These replies were read; `desks` are the channels of those whose workers wait to hear so."""
        self._replies.extend(ids)
        for name in ids:
            if name in desks:
                self._desks.setdefault(desks[name], []).append(name)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_SECONDS, self.hurry)

    def arrived(self, batch: str) -> None:
        """This batch has arrived, and no try of it can still be under way."""
        self._batches.append(batch)

    def hurry(self) -> None:
        """Have all go with the next batch, or alone."""
        self._late = True
        self._on_due()

    def take(self) -> Rows:
        """Return what goes with the batch that is about to leave."""
        replies = self._take_replies() if self._late or len(self._replies) >= ENOUGH else []
        batches: list[str] = []
        if self._late or len(self._batches) >= ENOUGH:
            batches, self._batches = self._batches, batches
        self._late = False
        return Rows(replies, batches, self._take_heard() if replies else ())

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_heard(self) -> list[tuple[str, str]]:
        desks, self._desks = self._desks, {}
        return [
            (desk, "\n".join(ids[start : start + IDS]))
            for desk, ids in desks.items()
            for start in range(0, len(ids), IDS)
        ]

    def _take_replies(self) -> list[str]:
        self.close()
        replies, self._replies = self._replies, []
        return replies
