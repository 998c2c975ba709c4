"""Estate: what dead workers kept in memory: their residence ends, and whoever goes first is told of the messages."""

from __future__ import annotations

import logging
from typing import Any

import psycopg

from revenant.queue.link import Link
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.residence import release_dead
from revenant.worker.loop import Loop
from revenant.worker.timing.ticker import hint_payloads

log = logging.getLogger("revenant.residence")
ESTATE_SECONDS = 0.4
"""Between two looks. A worker that is killed is seen by the next one; one that hangs, 8 s after its last heartbeat."""
PAGE = 500


class Estate(Loop):
    """Looks for dead owners: one index probe for each owner there is."""

    name = "estate"

    def __init__(self, *, desk: Link, worker_id: str) -> None:
        super().__init__(desk=desk)
        self._worker = worker_id

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> float:
        """Look once; return how long to rest."""
        hints = await release_dead(connection, self._worker, page=PAGE)
        if not hints:
            return ESTATE_SECONDS
        log.warning("A worker died that kept entities in memory; %d of them have messages to be handled.", len(hints))
        await notify(connection, [(WAKE_CHANNEL, payload) for payload in hint_payloads(hints)])
        return 0.0
