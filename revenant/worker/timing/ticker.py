"""Ticker: moves messages that have become due, by the database's clock, into their mailboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from pydantic_core import to_json

from revenant.queue.link import Link
from revenant.queue.mailbox import cast_wakes, notify
from revenant.queue.records import Hint
from revenant.queue.timetable import release_due
from revenant.worker.agenda import Inlet
from revenant.worker.timing.alarm import Alarm

PAGE = 500
"""Messages that are released at once. A full page is a crowd: live messages go before it."""
HIGH_WATER = 1000
"""With more hints than this on the agenda, a crowd's next page waits."""
CROWDED_SECONDS = 0.01
_MAX_PAYLOAD = 7900


class Ticker(Alarm):
    """Releases due messages in bounded pages, and sleeps until the next due time."""

    name = "ticker"

    def __init__(self, *, desk: Link, agenda: Inlet, kinds: Sequence[str]) -> None:
        super().__init__(desk=desk)
        self._agenda = agenda
        self._kinds = frozenset(kinds)
        self._crowd = False

    async def ring(self, connection: psycopg.AsyncConnection[Any]) -> tuple[bool, float | None]:
        """Release one page."""
        if self._crowd and len(self._agenda) > HIGH_WATER:
            return True, CROWDED_SECONDS
        hints, next_due = await release_due(connection, page=PAGE)
        self._crowd = len(hints) == PAGE
        told = hints
        if self._crowd:
            # Behind what is live here, and not told to everybody: the others release pages of their own.
            self._agenda.add((hint for hint in hints if hint.kind in self._kinds), backlog=True)
            told = [hint for hint in hints if hint.kind not in self._kinds]
        if told:
            await notify(connection, cast_wakes(hint_payloads(told)))
        return bool(hints), next_due


def hint_payloads(hints: Sequence[Hint]) -> list[str]:
    """Return wake-ups that name these entities, each under 8,000 bytes."""
    pages: list[str] = []
    page: list[str] = []
    size = 0
    for hint in hints:
        text = to_json(hint).decode()
        size += len(text.encode()) + 1
        if page and size > _MAX_PAYLOAD:
            pages.append(f"[{','.join(page)}]")
            page, size = [], len(text.encode())
        page.append(text)
    return [*pages, f"[{','.join(page)}]"] if page else pages
