"""Census: a look at the table of workers, made within a turn before a handler is refused for good.

Invariant: it begins after the turn's claim, so a worker that was there when the message was sent is seen.
"""

from __future__ import annotations

from typing import Any

import psycopg

from revenant.queue.script import run_script
from revenant.sql import statement
from revenant.worker.fleet import Fleet, has_handler


class Census:
    """Who else serves a handler, for one turn: what the heartbeat told, then the table itself, read once at most."""

    def __init__(self, *, connection: psycopg.AsyncConnection[Any], fleet: Fleet) -> None:
        self._connection = connection
        self._fleet = fleet
        self._counted: list[dict[str, Any]] | None = None

    async def served_elsewhere(self, kind: str, handler: str) -> bool:
        """Whether another worker has this handler."""
        if self._fleet.served_elsewhere(kind, handler):
            return True
        if self._counted is None:
            (rows,) = await run_script(self._connection, statement("read_fleet"), {"worker": self._fleet.own_id})
            self._counted = [kinds for (kinds,) in rows]
        return any(has_handler(kinds, kind, handler) for kinds in self._counted)
