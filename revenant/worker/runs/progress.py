"""Progress: how far attempts say that they are, kept at most once a second each, for whoever goes on with the step.

Invariant: only the owner of a run writes; what a failed attempt said last is kept before its failure is recorded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import psycopg
from pydantic_core import from_json

from revenant.queue.connection import refuses_data
from revenant.queue.link import brief
from revenant.queue.progress import ProgressWrite, write_progress
from revenant.worker.runs.stage import Staged

log = logging.getLogger("revenant.step")
REST_SECONDS = 1.0
"""Between two writes about one step."""


@dataclass(slots=True)
class _Note:
    """What one step's attempt said last; `text` is None once that is written."""

    text: str | None
    attempt: int
    written_at: float


class Progress:
    """What the attempts of one runner have said."""

    def __init__(self, *, worker: str, wake: Callable[[], None]) -> None:
        self.due = False
        """Whether there is something to be written now."""
        self._worker = worker
        self._wake = wake
        self._notes: dict[tuple[Staged, int], _Note] = {}

    def note(self, staged: Staged, op: int, attempt: int, text: str) -> None:
        """Take in what an attempt says; JSON text."""
        if op not in staged.tasks:
            return
        staged.progress[op] = from_json(text)
        note = self._notes.setdefault((staged, op), _Note(None, attempt, float("-inf")))
        if note.text is None:
            rest = note.written_at + REST_SECONDS - time.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, rest), self._ring)
        note.text, note.attempt = text, attempt

    def _ring(self) -> None:
        self.due = True
        self._wake()

    @property
    def waits(self) -> bool:
        """Whether anything is not written yet."""
        return any(note.text is not None for note in self._notes.values())

    async def flush(
        self, connection: psycopg.AsyncConnection[object], *, ended: Collection[tuple[Staged, int]], all: bool = False
    ) -> None:
        """Write what is due, and what the ended attempts said."""
        now = time.monotonic()
        # What was cancelled, or dropped with its run, has nothing to say any more.
        self._notes = {where: note for where, note in self._notes.items() if where[1] in where[0].tasks}
        due = {
            where: note
            for where, note in self._notes.items()
            if note.text is not None and (all or where in ended or note.written_at + REST_SECONDS <= now)
        }
        if not due:
            return
        try:
            await write_progress(connection, self._worker, [_write(*where, note) for where, note in due.items()])
        except psycopg.Error as error:
            if not refuses_data(error):
                raise
            log.error("Postgres refuses what steps say of their progress: %s.", brief(error))  # noqa: TRY400 # its words quote what was sent
        for note in due.values():
            note.text, note.written_at = None, now

    def forget(self, staged: Staged, op: int) -> None:
        """The attempt has ended."""
        self._notes.pop((staged, op), None)


def _write(staged: Staged, op: int, note: _Note) -> ProgressWrite:
    assert note.text is not None
    return ProgressWrite(*staged.live.address, staged.live.run, staged.fence, op, note.attempt, note.text)
