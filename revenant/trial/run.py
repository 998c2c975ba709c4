"""Run: the name under which one demo or benchmark keeps its entities apart from everybody else's.

Invariant: whatever reads or erases by a run touches the keys of that run only.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from revenant.queue.script import run_script
from revenant.sql import statement

BUCKETS = range(256)


class Stored(NamedTuple):
    """One entity's committed state: its name within the run, and the state as JSON text."""

    name: str
    state: str


class Leftovers(NamedTuple):
    """Messages of a run that are not in a mailbox: casts to be tried again, and those given up."""

    scheduled: int
    dead: int


@dataclass(frozen=True, slots=True)
class Run:
    """The entities of one kind whose keys begin with `<id>/`.

    Example:
        >>> Run(kind="demo.Aircraft", id="3f9c01ab").key("N14228")
        '3f9c01ab/N14228'
    """

    kind: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))

    def key(self, name: str) -> str:
        """Return the key of the entity of that name."""
        return f"{self.id}/{name}"

    @property
    def _bounds(self) -> dict[str, str]:
        # '0' follows '/', and keys are compared byte by byte.
        return {"kind": self.kind, "first": f"{self.id}/", "end": f"{self.id}0"}

    async def states(self, connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[Stored]:
        """Yield every committed state of this run, a bucket at a time."""
        for bucket in BUCKETS:
            cursor = await connection.execute(statement("read_states"), {"bucket": bucket, **self._bounds})
            for key, state in await cursor.fetchall():
                yield Stored(key.partition("/")[2], state)

    async def waits(self, connection: psycopg.AsyncConnection[Any], bucket: int) -> bool:
        """Whether a message of this run waits in that bucket."""
        cursor = await connection.execute(statement("find_waiting"), {"bucket": bucket, **self._bounds})
        (found,) = await cursor.fetchone() or (False,)
        return bool(found)

    async def leftovers(self, connection: psycopg.AsyncConnection[Any]) -> Leftovers:
        """Count what is left of this run outside the mailboxes."""
        cursor = await connection.execute(statement("count_leftovers"), self._bounds)
        return Leftovers(*(await cursor.fetchone() or (0, 0)))

    async def erase(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Remove all that this run has stored; call it when its workers have stopped."""
        for bucket in BUCKETS:
            await run_script(connection, statement("erase_run"), {"bucket": bucket, **self._bounds})

    async def erase_runs(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Remove all runs of workflows of this trial; call it when its workers have stopped."""
        for bucket in BUCKETS:
            await run_script(connection, statement("erase_runs"), {"bucket": bucket, **self._bounds})

    async def count(self, connection: psycopg.AsyncConnection[Any], status: str) -> int:
        """Return how many runs of workflows of this trial have that status."""
        cursor = await connection.execute(statement("count_runs"), {"status": status, **self._bounds})
        (found,) = await cursor.fetchone() or (0,)
        return int(found)
