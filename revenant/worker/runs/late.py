"""Late: answers to messages for runs that have ended, or that there are not, together with the messages.

Invariant: one that somebody else has answered costs only itself; one whose answer is not known to be written stays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg

from revenant.queue.connection import refuses_data
from revenant.queue.link import Link, brief
from revenant.queue.records import Reply, Settlement
from revenant.queue.replies import fetch_replies
from revenant.queue.runs import append_runs
from revenant.sql import statement
from revenant.worker.runs.again import Again
from revenant.workflows.events import Event, event

log = logging.getLogger("revenant.runs")
More = TypeVar("More")
LOST = (psycopg.OperationalError, psycopg.InterfaceError, OSError)


class Late:
    """What one runner answers in place of runs."""

    def __init__(self, *, link: Link, worker: str) -> None:
        self._link = link
        self._worker = worker

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write these in one commit; where one of them cannot be, each in its own."""
        connection = await self._link.connection()
        try:
            for one in settlements:
                if isinstance(one, Again):
                    one.hear(await self._heard(connection, one))
            if await self._try(connection, settlements) or len(settlements) == 1:
                return
            for one in settlements:
                await self._try(connection, [one])
        except LOST as error:
            log.warning("Late messages may not be answered yet (%s); the net finds those that are not.", brief(error))
            await self._link.reset(error, only=connection)

    async def _heard(self, connection: psycopg.AsyncConnection[Any], one: Again) -> list[Event]:
        """Return the events that say whether it counted before."""
        which = {"id": one.args["id"], "updates": one.delivery.handler == "update"}
        place = {"bucket": one.bucket, "run": one.stream}
        cursor = await connection.execute(statement("read_heard"), {**place, **which})
        return [event(*row) for row in await cursor.fetchall()]

    async def _try(self, connection: psycopg.AsyncConnection[Any], settlements: Sequence[Settlement]) -> bool:
        """Commit these together; return false if nothing is: what cannot be written stays, and the net finds it."""
        try:
            return await self._write(connection, settlements)
        except Exception as error:
            if isinstance(error, LOST) and not refuses_data(error):
                raise
            log.error("%d late messages cannot be answered together: %s.", len(settlements), brief(error))  # noqa: TRY400 # its words quote what was sent
            return False

    async def _write(self, connection: psycopg.AsyncConnection[Any], settlements: Sequence[Settlement]) -> bool:
        """Commit these together; return whether all of their messages were still there."""
        together = Settlement()
        for one in settlements:
            together.absorb(one)
        try:
            lost = await append_runs(connection, self._worker, [], [], together)
        except psycopg.errors.UniqueViolation as error:
            known = await known_replies(connection, [one.replies for one in settlements], error)
            for one in settlements:
                one.replies = unknown(one.replies, known)
            together.replies = [reply for one in settlements for reply in one.replies]
            lost = await append_runs(connection, self._worker, [], [], together)
        return lost is None


async def known_replies(
    connection: psycopg.AsyncConnection[Any], replies: Sequence[Sequence[tuple[Reply, Any]]], error: psycopg.Error
) -> set[str]:
    """Return which of these are given already; raise the error, if there is none, and no id is here twice."""
    ids = [reply.id for some in replies for reply, _ in some]
    known = {reply.id for reply in await fetch_replies(connection, ids)}
    if not known and len(set(ids)) == len(ids):
        raise error
    return known


def unknown(replies: Sequence[tuple[Reply, More]], known: set[str]) -> list[tuple[Reply, More]]:
    """Return the first reply of each id that is not known, and note it as known."""
    found: list[tuple[Reply, More]] = []
    for one in replies:
        if one[0].id not in known:
            known.add(one[0].id)
            found.append(one)
    return found
