"""Caution: after a worker has died, one message at a time is handled, under a note that survives the process.

Invariant: in caution one message of this process runs at a time, so a death is only ever blamed on the one that ran.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import psycopg

from revenant import telemetry
from revenant.entities.failure import Sentence, crashed
from revenant.queue.records import Claim, Hint
from revenant.queue.script import array, run_script
from revenant.sql import statement
from revenant.worker.agenda import Inlet
from revenant.worker.fleet import Member
from revenant.worker.suspects import DEADLY, Suspects

log = logging.getLogger("revenant.worker")
CAUTION_SECONDS = 30.0
"""How long a worker is cautious after it has seen that another one died."""


class Runner(Protocol):
    """What runs turns: a lane."""

    async def __call__(self, hints: Sequence[Hint], *, most: int = ..., noted: bool = ...) -> list[Hint]:
        """Run one turn, and return what should be looked at again."""
        ...


class Caution:
    """Whether this worker is to be cautious: another has died, and did not come back."""

    def __init__(
        self,
        *,
        own_id: str,
        kinds: Sequence[str],
        agenda: Inlet,
        suspects: Suspects,
        condemned: MutableMapping[str, Sentence],
    ) -> None:
        self._own_id = own_id
        self._kinds = list(kinds)
        self._agenda = agenda
        self._suspects = suspects
        self._condemned = condemned
        self._died: dict[str, float] = {}
        """Since when (monotonic seconds) each worker whose row is still there has been seen dead."""
        self._found = -CAUTION_SECONDS
        """When this worker, starting, found notes that others had left."""
        self._until = 0.0
        self._looked = False
        self._alone = asyncio.Lock()
        """Held while a message runs under a note."""

    @property
    def on(self) -> bool:
        """Whether to be cautious now; free to ask."""
        return self._until > 0.0 and self._still()

    def _still(self) -> bool:
        if self._until > time.monotonic():
            return True
        self._until = 0.0
        log.info("No worker has died for %g s: handling messages together again.", CAUTION_SECONDS)
        return False

    async def take(self, hints: Sequence[Hint], run: Runner) -> list[Hint]:
        """Run a turn over what the hints name; while this worker is cautious, one for each and its first message."""
        if not self.on:
            return await run(hints)
        again: list[Hint] = []
        for hint in hints:
            again += await self.take_apart(hint, run)
        return again

    async def take_apart(self, hint: Hint, run: Runner) -> list[Hint]:
        """Run a turn over one message; while this worker is cautious, under a note and with no other beside it."""
        if not self.on:
            return await run([hint], most=1)
        async with self._alone:
            return await run([hint], most=1, noted=True)

    @asynccontextmanager
    async def noting(self, claimed: Claim) -> AsyncIterator[None]:
        """Have the one message that was claimed noted; one that has taken enough workers with it is condemned."""
        (entity,) = claimed.entities
        deaths = await self._suspects.note(entity)
        if deaths >= DEADLY:
            (delivery,) = entity.deliveries
            log.error(
                "%s(%r).%s, message %s, is set aside: %d workers died while they handled it.",
                *(entity.kind, entity.key, delivery.handler, delivery.id, deaths),
            )
            self._condemned[delivery.id] = crashed(deaths)
            telemetry.emit(
                "message.condemn",
                {"deaths": deaths},
                {"kind": entity.kind, "key": entity.key, "handler": delivery.handler, "message_id": delivery.id},
            )
        try:
            yield
        finally:
            await self._suspects.clear(entity)

    async def stop(self) -> None:
        """Hang up; safe twice."""
        await self._suspects.close()

    async def look(self, connection: psycopg.AsyncConnection[Any], members: Iterable[Member]) -> None:
        """Take in the fleet; what dead workers were handling is looked at first, and apart."""
        dead = {member.id for member in members if not member.alive and member.id != self._own_id}
        fresh = dead - self._died.keys()
        now = time.monotonic()
        # One that only lost its connection comes back with its next heartbeat, and with it the end of the caution.
        self._died = {name: self._died.get(name, now) for name in dead}
        if fresh:
            for name in fresh:
                telemetry.emit("takeover.begin", {}, {"worker": name})
            log.warning(
                "%d worker(s) died: for %g s messages are handled one at a time, and noted before.",
                len(fresh),
                CAUTION_SECONDS,
            )
        if fresh or not self._looked:
            noted = await self._noted(connection)
            # Its row may be long gone, where nothing was running for a while.
            self._found = now if noted and not self._looked else self._found
            self._looked = True
            self._agenda.add(noted)
        until = max([self._found, *self._died.values()]) + CAUTION_SECONDS
        self._until = until if until > now else 0.0
        if not self._until and not self._alone.locked():
            await self._suspects.close()

    async def _noted(self, connection: psycopg.AsyncConnection[Any]) -> list[Hint]:
        parameters = {"worker": self._own_id, "kinds": array(self._kinds)}
        (rows,) = await run_script(connection, statement("list_suspects"), parameters)
        return [Hint._make(row) for row in rows]
