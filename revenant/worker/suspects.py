"""Suspects: notes of what is being handled, committed before its handlers run, while workers are cautious.

Invariant: a note goes when its turn has ended, whatever it ended with, so what a dead worker left is what it died with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg

from revenant.queue.link import Link, brief
from revenant.queue.records import Claimed
from revenant.queue.script import Rows, columns, run_script
from revenant.sql import statement

log = logging.getLogger("revenant.lane")
DEADLY = 3
"""Workers that a message may take with it before it is set aside."""
NOTE_SECONDS = 1.0
"""How long a note may take to begin: the turn that waits for it holds its entities."""
BLIND_SECONDS = 10.0
"""How long no note is tried where none could be written: work goes on, and a death is not counted."""


class Suspects:
    """Writes one worker's notes, on a connection of their own that is there only while it is needed."""

    def __init__(self, *, url: str, worker_id: str) -> None:
        self._link = Link(url=url, role="suspects")
        self._worker = worker_id
        self._blind_until = 0.0

    async def note_turn(self, lane: str, entities: Sequence[Claimed]) -> list[int]:
        """Note what a lane has claimed; return the places (from 0) of what is to be left out: it is under suspicion."""
        rows = [(*_address(one), one.deliveries[0].seq, one.deliveries[-1].seq) for one in entities]
        names = columns(rows, ("buckets", "kinds", "keys", "firsts", "lasts"))
        return [place - 1 for (place,) in await self._write(statement("note_turn"), {**names, "lane": lane})]

    async def clear_turn(self, lane: str) -> None:
        """Remove the note of a lane's turn: this worker lives."""
        await self._remove(statement("clear_turn"), {"lane": lane})

    async def note(self, claimed: Claimed) -> int:
        """Note the one message that was claimed; return how many workers died handling it under a note.

        Where there is no connection for it, as on a crowded server, the message is handled all the same.
        """
        place = {"kind": claimed.kind, "key": claimed.key, "seq": claimed.deliveries[0].seq}
        rows = await self._write(statement("note_suspect"), {**_name(claimed), **place})
        return int(rows[0][0]) if rows else 0

    async def clear(self, claimed: Claimed) -> bool:
        """Remove the note of one message: this worker lives; return whether it is under no suspicion any more.

        One that waits still, as for a busy partner, has not been proven harmless: its deaths are remembered.
        """
        return not await self._remove(statement("clear_suspect"), _name(claimed))

    async def close(self) -> None:
        """Hang up; safe before the first note and twice."""
        await self._link.reset()

    async def _write(self, script: LiteralString, parameters: dict[str, Any]) -> Rows:
        if self._blind_until > time.monotonic():
            return []
        try:
            return await self._run(script, parameters)
        except (psycopg.Error, OSError) as error:
            log.warning("What is handled could not be noted (%s): nothing is, for %g s.", brief(error), BLIND_SECONDS)
            self._blind_until = time.monotonic() + BLIND_SECONDS
            await self._link.reset()
            return []

    async def _remove(self, script: LiteralString, parameters: dict[str, Any]) -> Rows:
        """Where that fails nothing is counted either, for as long as it does: whoever wrote the note lives."""
        if self._blind_until > time.monotonic():
            return []
        try:
            return await self._run(script, parameters)
        except (psycopg.Error, OSError) as error:
            log.warning("A note of what was handled could not be removed (%s).", brief(error))
            return []

    async def _run(self, script: LiteralString, parameters: dict[str, Any]) -> Rows:
        connection = await self._link.connection(seconds=NOTE_SECONDS)
        (rows,) = await run_script(connection, script, {**parameters, "worker": self._worker})
        return rows


def _address(claimed: Claimed) -> tuple[int, str, str]:
    return claimed.bucket, claimed.kind, claimed.key


def _name(claimed: Claimed) -> dict[str, Any]:
    return {"bucket": claimed.bucket, "id": claimed.deliveries[0].id}
