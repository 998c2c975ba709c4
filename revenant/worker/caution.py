"""Caution: after a worker has died, turns run under notes that survive the process, and suspects run alone.

Invariant: a death is only ever charged to a message beside which no other turn ran in its process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Protocol

import psycopg

from revenant import telemetry
from revenant.entities.failure import Sentence, crashed
from revenant.queue.claim import ENTITY_LIMIT, waiting
from revenant.queue.records import Claimed, Hint
from revenant.queue.script import array, run_script
from revenant.sql import statement
from revenant.worker.agenda import Inlet, Key
from revenant.worker.fleet import Member
from revenant.worker.solitude import Solitude
from revenant.worker.suspects import DEADLY, Suspects

log = logging.getLogger("revenant.worker")
CAUTION_SECONDS = 30.0
"""How long a worker is cautious after it has seen that another one died."""
_LONG_AGO = float("-inf")
_FIRST = Hint(-1, "", "", 0)


class Runner(Protocol):
    """What runs turns: a lane, or a residence."""

    async def __call__(self, hints: Sequence[Hint], *, most: int = ..., alone: bool = ...) -> list[Hint]:
        """Run one turn, and return what should be looked at again."""
        ...


class Caution:
    """Whether this worker is to be cautious: another has died, and did not come back; and what is under suspicion."""

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
        self._until = 0.0
        self._looked = False
        self._solitude = Solitude()
        self._suspected: dict[Key, set[int]] = {}
        """The entities that are handled apart, with the numbers of the messages for which they are."""
        self._noted = 0
        """Turns under a note now."""

    @property
    def on(self) -> bool:
        """Whether to be cautious now; free to ask."""
        return self._until > 0.0 and self._still()

    def _still(self) -> bool:
        if self._until > time.monotonic():
            return True
        self._until = 0.0
        log.info("No worker has died for %g s: nothing is noted any more.", CAUTION_SECONDS)
        return False

    async def take(self, hints: Sequence[Hint], run: Runner) -> list[Hint]:
        """Run a turn over what the hints name; what is under suspicion comes after the others, a message at a time."""
        if not self._suspected:
            return await self._in_company(hints, run)
        apart = [hint for hint in hints if (hint.kind, hint.key) in self._suspected]
        rest = [hint for hint in hints if (hint.kind, hint.key) not in self._suspected]
        again = await self._in_company(rest, run) if rest else []
        for hint in apart:
            again += await run([hint], most=1, alone=True)
        return again

    async def take_one(self, hint: Hint, run: Runner) -> list[Hint]:
        """Run a turn over one message."""
        if (hint.kind, hint.key) in self._suspected:
            return await run([hint], most=1, alone=True)
        return await self._in_company([hint], run, most=1)

    async def _in_company(self, hints: Sequence[Hint], run: Runner, *, most: int = ENTITY_LIMIT) -> list[Hint]:
        # Before anything is claimed: what waits for a suspect's end would keep it from other workers.
        async with self._solitude.company:
            return await run(hints, most=most)

    def noting(
        self, entities: Sequence[Claimed], *, lane: str, alone: bool
    ) -> AbstractAsyncContextManager[Collection[Key]]:
        """Have what a lane has claimed noted while it is handled, if this worker is cautious.

        What it gives are the entities to leave out, to be taken apart. `alone`: the one message that was claimed is
        under suspicion; one that has taken enough workers with it is condemned.
        """
        if alone:
            return self._noting_alone(entities[0])
        return self._noting_turn(entities, lane) if self.on else _UNNOTED

    @asynccontextmanager
    async def _noting_turn(self, entities: Sequence[Claimed], lane: str) -> AsyncIterator[Collection[Key]]:
        self._noted += 1
        try:
            found = [entities[place] for place in await self._suspects.note_turn(lane, entities)]
            for entity in found:
                numbers = self._suspected.setdefault((entity.kind, entity.key), set())
                numbers.update(delivery.seq for delivery in entity.deliveries)
            yield {(entity.kind, entity.key) for entity in found}
        finally:
            try:
                await self._suspects.clear_turn(lane)
            finally:
                self._noted -= 1

    @asynccontextmanager
    async def _noting_alone(self, entity: Claimed) -> AsyncIterator[Collection[Key]]:
        # After the claim: nobody here has to wait for a suspect that another worker handles.
        async with self._solitude.alone():
            self._noted += 1
            try:
                deaths = await self._suspects.note(entity)
                if deaths >= DEADLY:
                    self._condemn(entity, deaths)
                yield ()
            finally:
                try:
                    if await self._suspects.clear(entity):
                        self._clear(entity)
                    else:
                        # A look at the fleet meanwhile has not seen it: its note was our own.
                        self._suspected.setdefault((entity.kind, entity.key), set()).add(entity.deliveries[0].seq)
                finally:
                    self._noted -= 1

    def _condemn(self, entity: Claimed, deaths: int) -> None:
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

    def _clear(self, entity: Claimed) -> None:
        key = (entity.kind, entity.key)
        numbers = self._suspected.get(key, set())
        numbers.discard(entity.deliveries[0].seq)
        if not numbers:
            self._suspected.pop(key, None)

    async def stop(self) -> None:
        """Hang up; safe twice."""
        await self._suspects.close()

    async def look(self, connection: psycopg.AsyncConnection[Any], members: Iterable[Member]) -> None:
        """Take in the fleet; what dead workers were handling is looked at first, and apart."""
        dead = {member.id for member in members if not member.alive and member.id != self._own_id}
        now = time.monotonic()
        fresh = dead - self._died.keys()
        # One that only lost its connection comes back with its next heartbeat, and with it the end of the caution.
        self._died = {name: self._died.get(name, now) for name in dead}
        for name in fresh:
            telemetry.emit("takeover.begin", {}, {"worker": name})
        if dead and not self._looked:
            matter = await self._that_matter(connection)
            self._died.update(dict.fromkeys(dead - matter, _LONG_AGO))
        until = max(self._died.values(), default=_LONG_AGO) + CAUTION_SECONDS
        if fresh and until > now:
            log.warning("%d worker(s) died: for %g s all that is handled is noted.", len(fresh), CAUTION_SECONDS)
        self._until = until if until > now else 0.0
        if fresh or self._suspected or self._until or not self._looked:
            await self._suspect(connection)
        self._looked = True
        if not self._until and not self._noted:
            await self._suspects.close()

    async def _that_matter(self, connection: psycopg.AsyncConnection[Any]) -> set[str]:
        """Return the deaths before this worker's time that may happen again: what they died of waits still."""
        if not await waiting(connection, known=self._kinds, after=_FIRST, page=1):
            return set()
        parameters = {"worker": self._own_id, "seconds": CAUTION_SECONDS}
        (rows,) = await run_script(connection, statement("weigh_deaths"), parameters)
        return {name for (name,) in rows}

    async def _suspect(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Read what is under suspicion now; what is new comes before everything that waits."""
        parameters = {"worker": self._own_id, "kinds": array(self._kinds)}
        rows = (await run_script(connection, statement("list_suspects"), parameters))[-1]
        hints = [Hint._make(row) for row in rows]
        known, self._suspected = self._suspected, {}
        for hint in hints:
            self._suspected.setdefault((hint.kind, hint.key), set()).add(hint.seq)
        self._agenda.add([hint for hint in hints if (hint.kind, hint.key) not in known])


_UNNOTED: AbstractAsyncContextManager[Collection[Key]] = nullcontext(())
