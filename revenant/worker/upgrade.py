"""Upgrade: all stored states of a kind brought to the shape that its class has today, or only looked at.

Invariant: a row is written under the entity's lock, which is never waited for; done again, it goes on where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from revenant.entities.entity import Entity
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.errors import StateInvalid, TooLarge, Unstorable
from revenant.queue.history import read_state
from revenant.queue.upgrades import PAGE, Stored, Upgraded, lock_older, read_page, write_upgraded

BUCKETS = 256
ROUNDS = 50
ROUND_SECONDS = 0.2
"""How often, and after how long each time, entities that were busy are tried again."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A row that stays as it is."""

    key: str
    version: int
    vsn: int
    path: str
    why: str


@dataclass(slots=True)
class Tally:
    """How far it is."""

    buckets: int = 0
    """Of 256."""
    rows: int = 0
    older: int = 0
    """Of an older shape; in a dry run, those that would be upgraded."""
    upgraded: int = 0
    newer: int = 0
    """Written by a newer class: left to it."""
    flaws: list[Flaw] = field(default_factory=list)


class Upgrade:
    """One walk over the rows of a kind."""

    def __init__(
        self, definition: type[Entity], *, limit: int, dry_run: bool, on_page: Callable[[Tally], None]
    ) -> None:
        self._definition = definition
        self._limit = limit
        self._dry_run = dry_run
        self._on_page = on_page
        self._busy: list[tuple[int, str]] = []
        self.tally = Tally()

    async def run(self, connection: psycopg.AsyncConnection[Any]) -> Tally:
        """Walk over all rows, then come back to those that were busy."""
        for bucket in range(BUCKETS):
            after = ""
            while page := await read_page(connection, bucket=bucket, kind=self._definition.entity_kind, after=after):
                after = page[-1].key
                await self._take(connection, bucket, page)
                self._on_page(self.tally)
                if len(page) < PAGE:
                    break
            self.tally.buckets += 1
        for _ in range(ROUNDS):
            if not self._busy:
                break
            await asyncio.sleep(ROUND_SECONDS)
            busy, self._busy = self._busy, []
            for bucket, key in busy:
                await self._write(connection, bucket, [key])
        why = "It was busy all the while. Run this again."
        self.tally.flaws += [Flaw(key, 0, 0, "(root)", why) for _, key in self._busy]
        return self.tally

    async def _take(self, connection: psycopg.AsyncConnection[Any], bucket: int, page: list[Stored]) -> None:
        wanted = self._definition.entity_vsn
        older: list[str] = []
        for row in page:
            self.tally.rows += 1
            self.tally.newer += row.vsn > wanted
            if row.vsn > wanted or self._converted(row) is None:
                continue
            if row.vsn < wanted:
                older.append(row.key)
        self.tally.older += len(older)
        if older and not self._dry_run:
            await self._write(connection, bucket, older)

    async def _write(self, connection: psycopg.AsyncConnection[Any], bucket: int, keys: list[str]) -> None:
        kind, vsn = self._definition.entity_kind, self._definition.entity_vsn
        locked = await lock_older(connection, bucket=bucket, kind=kind, keys=keys, vsn=vsn)
        made = [Upgraded(row.key, row.version, text) for row in locked if (text := self._converted(row)) is not None]
        await write_upgraded(connection, bucket=bucket, kind=kind, vsn=vsn, rows=made)
        self.tally.upgraded += len(made)
        held = {row.key for row in locked}
        for key in keys:
            # Not locked: somebody else has it, has upgraded it meanwhile, or has deleted it.
            if key not in held and await self._is_older(connection, bucket, key):
                self._busy.append((bucket, key))

    async def _is_older(self, connection: psycopg.AsyncConnection[Any], bucket: int, key: str) -> bool:
        found = await read_state(connection, bucket=bucket, kind=self._definition.entity_kind, key=key)
        return found is not None and found.vsn < self._definition.entity_vsn

    def _converted(self, row: Stored) -> str | None:
        """Return the state as the class writes it; None where it cannot, which is noted."""
        try:
            entity = load_state(self._definition, row.key, state=row.state, vsn=row.vsn)
            text = dump_state(entity, key=row.key, limit=self._limit)
            check_readable(entity, text, key=row.key, prove=True)
        except (StateInvalid, Unstorable, TooLarge) as error:
            path = getattr(error, "path", "(root)")
            self.tally.flaws.append(Flaw(row.key, row.version, row.vsn, path, str(error)))
            return None
        return text
