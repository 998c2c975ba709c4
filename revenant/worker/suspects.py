"""Suspects: notes of which message is being handled, committed before its handler runs, while workers are cautious.

Invariant: a note goes when its turn has ended, whatever it ended with, so what a dead worker left is what it died with.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg

from revenant.queue.link import Link, brief
from revenant.queue.records import Claimed
from revenant.queue.script import run_script
from revenant.sql import statement

log = logging.getLogger("revenant.lane")
DEADLY = 3
"""Workers that a message may take with it before it is set aside."""
NOTE_SECONDS = 1.0
"""How long a note may take to begin: the turn that waits for it holds its entity."""
BLIND_SECONDS = 10.0
"""How long no note is tried where none could be written: work goes on, and a death is not counted."""


class Suspects:
    """Writes one worker's notes, on a connection of their own that is there only while it is needed."""

    def __init__(self, *, url: str, worker_id: str) -> None:
        self._link = Link(url=url, role="suspects")
        self._worker = worker_id
        self._blind_until = 0.0

    async def note(self, claimed: Claimed) -> int:
        """Note the one message that was claimed; return how many workers died handling it under a note.

        Where there is no connection for it, as on a crowded server, the message is handled all the same.
        """
        if self._blind_until > time.monotonic():
            return 0
        try:
            return await self._note(claimed)
        except (psycopg.Error, OSError) as error:
            log.warning("A message could not be noted (%s): none is, for %g s.", brief(error), BLIND_SECONDS)
            self._blind_until = time.monotonic() + BLIND_SECONDS
            await self._link.reset()
            return 0

    async def _note(self, claimed: Claimed) -> int:
        delivery = claimed.deliveries[0]
        place = {"kind": claimed.kind, "key": claimed.key, "seq": delivery.seq}
        connection = await self._link.connection(seconds=NOTE_SECONDS)
        (((deaths,),),) = await run_script(connection, statement("note_suspect"), {**self._name(claimed), **place})
        return int(deaths)

    async def clear(self, claimed: Claimed) -> None:
        """Remove the note: this worker lives. Where that fails nothing is counted either, for as long as it does."""
        if self._blind_until > time.monotonic():
            return
        try:
            connection = await self._link.connection(seconds=NOTE_SECONDS)
            await run_script(connection, statement("clear_suspect"), self._name(claimed))
        except (psycopg.Error, OSError) as error:
            log.warning("A note of a message could not be removed (%s).", brief(error))

    async def close(self) -> None:
        """Hang up; safe before the first note and twice."""
        await self._link.reset()

    def _name(self, claimed: Claimed) -> dict[str, Any]:
        return {"worker": self._worker, "bucket": claimed.bucket, "id": claimed.deliveries[0].id}
