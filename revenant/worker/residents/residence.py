"""Residence: one connection, and the relaxed entities that live with it: visited, answered, flushed, and sent away.

Invariant: whatever fails, what is in memory is what its messages made of its row, or it is dropped and made anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from revenant import telemetry
from revenant.config import Settings
from revenant.entities.failure import Sentence
from revenant.entities.outcome import Left
from revenant.entities.registry import Registry
from revenant.entities.turn import PASSIVATE, Rules
from revenant.errors import Conflict
from revenant.eventloop import end
from revenant.queue.claim import ENTITY_LIMIT
from revenant.queue.link import Link, brief
from revenant.queue.records import RELEASED, Claimed, Delivery, Hint
from revenant.queue.replies import fetch_replies
from revenant.queue.residence import Look, Place, Visit, Visited, answer, lines, visit
from revenant.queue.traces import read_traces
from revenant.worker.caution import Caution
from revenant.worker.lanes.aftermath import BLOCKED_SECONDS
from revenant.worker.lanes.ahead import Ahead
from revenant.worker.lanes.failure import ENDS
from revenant.worker.lanes.lane import Counters
from revenant.worker.lanes.ledger import Ledger
from revenant.worker.residents.answers import Given
from revenant.worker.residents.home import Home, taken_back
from revenant.worker.residents.host import Host
from revenant.worker.residents.resident import Resident
from revenant.worker.residents.writer import Writer

log = logging.getLogger("revenant.residence")
BATCH_ENTITIES = 256
"""Entities that are visited at once."""
FOREIGN_SECONDS = 1.0
"""How long an entity that another worker keeps is left to it."""
IDLE_IN_TRANSACTION = 4.0
"""Seconds that a flush may sit still: a hung worker's locks go then, before its heartbeat is stale."""


class _Met(NamedTuple):
    """A resident that is visited, and messages that it has not handled yet."""

    resident: Resident
    claimed: Claimed
    deliveries: list[Delivery]
    more: bool
    """Whether there are more than were read."""


class Residence:
    """Keeps its share of this worker's relaxed entities in memory, one visit after another."""

    def __init__(
        self,
        *,
        url: str,
        number: int,
        home: Home,
        worker: str,
        desk: str,
        registry: Registry,
        settings: Settings,
        host: Host,
        ahead: Ahead,
        ledger: Ledger,
        counters: Counters,
        condemned: dict[str, Sentence],
        caution: Caution,
        watch: Callable[[Iterable[Hint]], None],
        look: Callable[[], Awaitable[None]],
        ready: asyncio.Event,
    ) -> None:
        self._link = Link(url=url, role=f"residence-{number}", idle_in_transaction=IDLE_IN_TRANSACTION)
        self._worker = worker
        self._desk = desk
        self._registry = registry
        self._settings = settings
        self._host = host
        self._ahead = ahead
        self._ledger = ledger
        self._counters = counters
        self._caution = caution
        self._watch = watch
        self._look_at_fleet = look
        self._ready = ready
        self._vsns = {kind: definition.entity_vsn for kind, definition in registry.kinds.items()}
        self.home = home
        self._writer = Writer(
            link=self._link, worker=worker, home=self.home, host=host, ledger=ledger, condemned=condemned
        )
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Begin to serve."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._forever(), name=f"revenant-{self._link.role}")

    async def stop(self, *, timeout: float = 0.0) -> None:
        """Finish what runs, flush all and hand it over, within `timeout` seconds; safe before start and twice."""
        self._stopping = True
        task, self._task = self._task, None
        until = time.monotonic() + timeout
        if task is not None:
            self.home.docket.wake()
            await asyncio.wait({task}, timeout=timeout)
            await end(task)
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.5, until - time.monotonic())):
                    await self._writer.hand_over()
            except (psycopg.Error, OSError, TimeoutError, Conflict) as error:
                log.warning(
                    "%d entities could not be flushed (%s); their messages wait, and other workers handle them again.",
                    len(self.home.memory),
                    brief(error),
                )
        await self._link.reset()

    @property
    def current(self) -> str:
        """The id of the message that is being handled; empty between visits."""
        return self._host.current

    async def _forever(self) -> None:
        failures = 0
        # Until this worker's row is there, nobody would take it for alive.
        await self._ready.wait()
        while not self._stopping:
            await self.home.docket.wait(self._next())
            if self._stopping:
                return
            try:
                await self.run_once()
                failures = 0
            except ENDS:
                raise
            except BaseException as error:
                if not isinstance(error, psycopg.Error | OSError | Conflict):
                    log.exception("A visit failed in a way that it should not; its messages stay and are tried again.")
                await self._link.reset(error)
                await asyncio.sleep(random.uniform(0, min(2.0, 0.01 * 2**failures)))  # noqa: S311 # jitter, not a secret
                failures = min(failures + 1, 12)

    def _next(self) -> float | None:
        moments = [moment for moment in (self.home.memory.next(), self.home.answers.next()) if moment is not None]
        return min(moments, default=None)

    async def run_once(self) -> None:
        """Visit what is hinted at, give answers again, flush what is due, and send away what is idle."""
        hints = self.home.docket.take(BATCH_ENTITIES)
        careful = [hint for hint in hints if (hint.kind, hint.key) in self.home.careful]
        if careful:
            hints = [hint for hint in hints if hint not in careful]
        if hints:
            await self._caution.take(hints, self._follow)
        for hint in careful:
            await self._caution.take_one(hint, self._follow)
        if overdue := self.home.answers.take_overdue():
            await self._answer(overdue)
        await self._writer.write_due()

    async def _follow(self, hints: Sequence[Hint], *, most: int = ENTITY_LIMIT, alone: bool = False) -> list[Hint]:
        try:
            await self._visit(hints, most=most, alone=alone)
        except BaseException:
            # Whatever was handled is known as such; the rest is met again.
            self.home.docket.add(hints)
            raise
        return []

    async def _visit(self, hints: Sequence[Hint], *, most: int, alone: bool) -> None:
        connection = await self._link.connection()
        looks = [self._look(hint) for hint in hints]
        found = await visit(connection, self._worker, looks, self._vsns, most=most)
        self._note(found, hints)
        if any(visited.taken_over for visited in found.entities.values()):
            # Their last owner may have died of what waits.
            await self._look_at_fleet()
        if telemetry.carrier is not None:
            met = [one.id for visited in found.entities.values() for one in visited.claimed.deliveries]
            await read_traces(connection, met)
        visits: list[_Met] = []
        for slot, visited in found.entities.items():
            resident = self._admit(visited)
            if resident is None:
                continue
            if any(resident.seqs.get(one.seq, one.id) != one.id for one in visited.claimed.deliveries):
                self.home.lose(resident, taken_back(resident))
                continue
            deliveries = [one for one in visited.claimed.deliveries if one.seq not in resident.seqs]
            if most == 1:
                deliveries = await _recalled(connection, deliveries)
            if slot in found.later:
                self.home.docket.add([hints[slot]._replace(seq=found.later[slot])])
            if deliveries:
                visits.append(_Met(resident, visited.claimed, deliveries, more=slot in found.later))
        if visits:
            await self._answer(await self._handle_all(visits, connection, found.now, alone=alone))
        self._counters.turns += 1

    async def _handle_all(
        self, visits: Sequence[_Met], connection: psycopg.AsyncConnection[Any], now: datetime, *, alone: bool
    ) -> list[Given]:
        given: list[Given] = []
        claimed = [met.claimed for met in visits]
        async with self._caution.noting(claimed, lane=self._link.role, alone=alone) as suspected:
            rules = self._host.rules(connection, now)
            handled = False
            for met in visits:
                if met.resident.key in suspected or (handled and rules.spent()):
                    self._come_back(met.resident, met.deliveries)
                    continue
                handled = True
                # Before the note of a suspect goes, it is flushed: nobody is to meet it again.
                met.resident.urgent = met.resident.urgent or alone
                given += await self._handle(met.resident, met.deliveries, rules, more=met.more)
                if alone:
                    await self._writer.write([met.resident])
        self._host.current = ""
        return given

    def _look(self, hint: Hint) -> Look:
        resident = self.home.memory.find((hint.kind, hint.key))
        if resident is not None and hint.seq == 0:
            resident.looked_at = time.monotonic()
        if resident is None:
            return Look(Place(hint.bucket, hint.kind, hint.key, 0), hint.seq, 0, 0)
        # RELEASED comes from a drain or a death, and is as good as 0 for an entity that has come to live here since.
        if hint.seq in {0, RELEASED}:
            return Look(resident.place, 0, len(resident.seqs), max(resident.seqs, default=0))
        # From the last one that was handled on: what came before the hint, and whose own hint was lost, goes first.
        return Look(resident.place, min(hint.seq, resident.next_number), len(resident.seqs), 0)

    def _note(self, found: Visit, hints: Sequence[Hint]) -> None:
        for slot in found.lost:
            resident = self.home.memory.find((hints[slot].kind, hints[slot].key))
            if resident is not None:
                self.home.lose(resident)
        for slot in found.elsewhere:
            self.home.docket.pass_by((hints[slot].kind, hints[slot].key), FOREIGN_SECONDS)
        self._watch([hints[slot] for slot in found.elsewhere])
        self._ahead.note(hints[slot] for slot in found.newer)
        for slot in found.newer:
            self.home.docket.pass_by((hints[slot].kind, hints[slot].key), BLOCKED_SECONDS)

    def _admit(self, visited: Visited) -> Resident | None:
        claimed = visited.claimed
        if not visited.acquired:
            resident = self.home.memory.find((claimed.kind, claimed.key))
            return resident if resident is not None and resident.place.fence == visited.fence else None
        known = self.home.memory.find((claimed.kind, claimed.key))
        if known is not None:
            self.home.drop(known)
        resident = Resident.of(
            self._registry.kinds[claimed.kind],
            Place(claimed.bucket, claimed.kind, claimed.key, visited.fence),
            claimed,
            limit=self._settings.max_bytes,
            prove=self._settings.validate_state,
        )
        self.home.memory.add(resident)
        return resident

    async def _handle(
        self, resident: Resident, deliveries: Sequence[Delivery], rules: Rules, *, more: bool
    ) -> list[Given]:
        """Handle messages of one resident; return the answers that may be given before the flush."""
        upto = _up_to_passivation(deliveries)
        try:
            done = await self._host.run(resident, upto, rules)
            answers = resident.book(done, self._ledger)
        except BaseException:
            # Nobody knows what its object is now.
            self.home.drop(resident)
            raise
        self._counters.messages += len(done.outcomes)
        left = [outcome for outcome in done.outcomes if isinstance(outcome, Left)]
        if left and not more:
            # Another worker knows what to do, or a person has to mend the row: neither can while it lives here.
            log.warning("%s(%r): %d message(s) stay in the mailbox.", *resident.key, len(left))
            self.home.docket.pass_by(resident.key, BLOCKED_SECONDS)
            resident.leaving = True
        elif upto[-1].handler == PASSIVATE and not done.unreached:
            resident.leaving = True
        if resident.key in self.home.careful:
            resident.urgent = True
        if not left:
            self._come_back(resident, deliveries[len(done.outcomes) :])
        self.home.memory.plan(resident)
        given = [(resident, reply, channel) for reply, channel in answers]
        self.home.answers.expect(given)
        return given

    def _come_back(self, resident: Resident, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            self.home.docket.add([Hint(*resident.place[:3], min(one.seq for one in deliveries))])

    async def _answer(self, given: Sequence[Given]) -> None:
        """Wake callers before the flush; those of entities that this worker has lost hear nothing of it."""
        connection = await self._link.connection()
        while given:
            residents = list(dict.fromkeys(resident for resident, _, _ in given))
            wakes = lines([(reply, channel) for _, reply, channel in given], desk=self._desk)
            slots = await answer(connection, self._worker, [resident.place for resident in residents], wakes)
            lost = {residents[slot] for slot in slots}
            for resident in lost:
                self.home.lose(resident)
            given = [one for one in given if one[0] not in lost] if lost else []


def _up_to_passivation(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Leave what comes after a passivation: it is for whoever the entity lives with next."""
    ends = next((place + 1 for place, one in enumerate(deliveries) if one.handler == PASSIVATE), len(deliveries))
    return list(deliveries[:ends])


async def _recalled(connection: psycopg.AsyncConnection[object], deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Look up whether these messages have replies already: a reply cannot be stored twice."""
    known = {reply.id: reply for reply in await fetch_replies(connection, [one.id for one in deliveries])}
    return [one._replace(done=one.done or known.get(one.id)) for one in deliveries]
