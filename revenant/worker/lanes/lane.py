"""Lane: one connection that runs turns: claim, handle, settle, wake; and again.

Invariant: whatever fails, the entities go back to the agenda, and an ambiguous commit is looked up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import psycopg

from revenant import telemetry
from revenant.config import Settings
from revenant.entities.context import Turn
from revenant.entities.failure import Sentence, ended_transaction, refused_by_postgres
from revenant.entities.registry import Registry
from revenant.entities.turn import PASSIVATE, Rules, run_turn
from revenant.errors import Conflict
from revenant.eventloop import end
from revenant.queue.claim import ENTITY_LIMIT, from_its_first, give_back, halve, leave_out, recall_replies
from revenant.queue.link import Link, brief
from revenant.queue.records import Claim, Claimed, Delivery, Hint, Settlement
from revenant.queue.traces import take_traces
from revenant.worker.agenda import Agenda
from revenant.worker.caution import Caution
from revenant.worker.fleet import Fleet
from revenant.worker.jobs import defer_jobs
from revenant.worker.lanes.aftermath import Aftermath
from revenant.worker.lanes.ahead import Ahead
from revenant.worker.lanes.budget import Budget
from revenant.worker.lanes.cache import Cache, Warm
from revenant.worker.lanes.census import Census
from revenant.worker.lanes.commit import commit
from revenant.worker.lanes.failure import ENDS, is_passing
from revenant.worker.lanes.guard import Guard
from revenant.worker.lanes.isolation import LaneConnection, LaneIsolation, TransactionEnded, TransactionSpoilt
from revenant.worker.lanes.ledger import Ledger
from revenant.worker.lanes.partners import Loan, Partners
from revenant.worker.lanes.stuck import Stuck
from revenant.worker.watch import Watch

log = logging.getLogger("revenant.lane")
BATCH_ENTITIES = 128
"""Entities that a turn claims at most."""


@dataclass(slots=True)
class Counters:
    """What a worker's row says of its work."""

    turns: int = 0
    messages: int = 0


class Lane:
    """Runs turns, one after another, on a connection of its own."""

    def __init__(
        self,
        *,
        url: str,
        number: int,
        registry: Registry,
        settings: Settings,
        agenda: Agenda,
        partners: Partners,
        watch: Watch,
        fleet: Fleet,
        ahead: Ahead,
        ledger: Ledger,
        counters: Counters,
        condemned: dict[str, Sentence],
        caution: Caution,
        cache: Cache,
        ready: asyncio.Event,
    ) -> None:
        self._link = Link(
            url=url,
            role=f"lane-{number}",
            opened=LaneConnection,
            idle_in_transaction=settings.handler_timeout + 5,
        )
        self._registry = registry
        self._settings = settings
        self._agenda = agenda
        self._partners = partners
        self._aftermath = Aftermath(agenda=agenda, partners=partners)
        self._watch = watch
        self._fleet = fleet
        self._ahead = ahead
        self._ledger = ledger
        self._counters = counters
        self._condemned = condemned
        self._caution = caution
        self._cache = cache
        self._ready = ready
        self._vsns = {kind: definition.entity_vsn for kind, definition in registry.kinds.items()}
        self._guard = Guard(seconds=settings.handler_timeout, condemned=condemned)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._busy = False
        self._current = ""
        self._careful = False
        self._last: LaneConnection | None = None

    @property
    def current(self) -> str:
        """The id of the message that is being handled; empty without one."""
        return self._current if self._busy else ""

    async def start(self) -> None:
        """Begin to take turns."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._forever(), name=f"revenant-{self._link.role}")

    async def stop(self, *, timeout: float = 0.0) -> None:
        """Finish the running turn within `timeout` seconds, else give it up; safe before start and twice."""
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            if self._busy:
                await asyncio.wait({task}, timeout=timeout)
            await end(task)
        await self._link.reset()

    async def _forever(self) -> None:
        failures = 0
        # Without a look at the fleet, a lane would answer for handlers that another worker has.
        await self._ready.wait()
        while not self._stopping:
            portion = await self._agenda.take(BATCH_ENTITIES)
            hints = portion.hints
            try:
                again = await self._caution.take(hints, self.run_once)
                failures = 0
            except (TransactionEnded, TransactionSpoilt) as error:
                again = await self._condemn(error, hints)
            except ENDS:
                self._agenda.finish(portion, hints)
                raise
            except BaseException as error:
                self._careful = isinstance(error, psycopg.errors.UniqueViolation)
                if not isinstance(error, psycopg.Error | OSError | Conflict):
                    log.exception("A turn failed in a way that it should not; its messages stay and are tried again.")
                telemetry.emit("turn.fail", {}, {"error": type(error).__qualname__})
                await self._link.reset(error)
                again = list(hints) if is_passing(error) else await self._one_by_one(hints)
                await asyncio.sleep(random.uniform(0, min(5.0, 0.01 * 2**failures)))  # noqa: S311 # jitter, not a secret
                failures = min(failures + 1, 12)
            finally:
                self._busy = False
            self._agenda.finish(portion, again)

    async def _one_by_one(self, hints: Sequence[Hint]) -> list[Hint]:
        """A turn failed, and would again: run its entities apart, a message each, so that only the guilty fail."""
        again: list[Hint] = []
        for hint in hints:
            try:
                again += await self._caution.take_one(hint, self.run_once)
            except (TransactionEnded, TransactionSpoilt) as error:
                again += await self._condemn(error, [hint])
            except ENDS:
                raise
            except BaseException as error:  # noqa: BLE001 # whatever it is, it becomes the reply of the message that it is about
                await self._link.reset(error)
                again.append(hint)
                if not is_passing(error) and self._current:
                    self._condemned[self._current] = refused_by_postgres(brief(error))
        return again

    async def _condemn(self, error: BaseException, hints: Sequence[Hint]) -> list[Hint]:
        """A handler cost the turn its transaction: it never runs again, and all others do."""
        if isinstance(error, TransactionEnded):
            log.error(
                "Message %s ended the turn's transaction; it fails, the others run anew.", self._current, exc_info=error
            )
            self._condemned[self._current] = ended_transaction
        await self._link.reset()
        return list(hints)

    async def run_once(self, hints: Sequence[Hint], *, most: int = ENTITY_LIMIT, alone: bool = False) -> list[Hint]:
        """Run one turn over what the hints name; return what should be looked at again.

        `alone`: its one message is handled with no other beside it in this process.
        """
        connection = cast(LaneConnection, await self._link.connection())
        last, self._last = self._last, connection
        if last is not None and connection is not last:
            # It may be another server, which has lost what was committed, and gives its numbers away again.
            self._cache.clear()
        self._busy, self._current = True, ""
        warm = self._cache.take(hints)
        claimed, loan = await self._partners.claim(connection, hints, self._vsns, most=most, known=warm.marks)
        again = [hints[slot] for slot in claimed.later]
        self._watch.add(hints[slot] for slot in claimed.locked)
        self._ahead.note(hints[slot] for slot in claimed.newer)
        self._aftermath.pass_by(hints[slot] for slot in claimed.newer)
        if not claimed.entities:
            await give_back(connection)
            warm.leave()
            return again
        if self._careful:
            await recall_replies(connection, claimed)
            self._careful = False
        again += halve(claimed)
        if telemetry.carrier is not None:
            await take_traces(connection, [one.id for entity in claimed.entities for one in entity.deliveries])
        settlement = Settlement()
        try:
            async with self._caution.noting(claimed.entities, lane=self._link.role, alone=alone) as suspected:
                again += leave_out(claimed, suspected)
                await self._handle(connection, claimed, settlement, again, loan=loan, warm=warm)
                if not settlement.consumed:
                    await give_back(connection)
                    warm.leave()
                    return again
                answered = await commit(connection, claimed, settlement, link=self._link)
        finally:
            loan.end()
        if answered:
            warm.keep(claimed.xid)
        if connection.abandoned:
            # What that handler has set going, such as a task, may have it still.
            await self._link.reset(only=connection)
        self._counters.turns += 1
        self._counters.messages += len(settlement.consumed)
        return again if answered else again + list(hints)

    async def _handle(
        self,
        connection: LaneConnection,
        claimed: Claim,
        settlement: Settlement,
        again: list[Hint],
        *,
        loan: Loan,
        warm: Warm,
    ) -> None:
        rules = self._rules(connection, claimed.now, loan)
        for position, entity in enumerate(claimed.entities):
            if position and rules.spent():
                again += [from_its_first(other) for other in claimed.entities[position:]]
                return
            definition = self._registry.kinds[entity.kind]
            instance = warm.instance(definition, entity, limit=rules.limit, prove=rules.prove)
            done = await run_turn(definition, entity, rules, instance=instance)
            if any(outcome.delivery.handler == PASSIVATE for outcome in done.outcomes):
                warm.forget(entity)
            self._ledger.book(settlement, done, vsn=definition.entity_vsn)
            stuck = Stuck.of(done, again)
            if stuck is None:
                again += self._aftermath.look_after(done, loan, changed=done.changed)
            else:
                again[:] = stuck.without_own(again)
                deleted = await self._tell_callers(connection, stuck, rules, settlement, again)
                again += self._aftermath.look_after(done, loan, changed=deleted)

    async def _tell_callers(
        self, connection: LaneConnection, stuck: Stuck, rules: Rules, settlement: Settlement, again: list[Hint]
    ) -> bool:
        """Answer the calls behind the casts that wait; return whether one of them has deleted the state."""
        definition = self._registry.kinds[stuck.claimed.kind]
        while (entity := await stuck.calls(connection)) is not None:
            done = await run_turn(definition, entity, rules)
            self._ledger.book(settlement, done, vsn=definition.entity_vsn)
            if done.changed:
                return True
            stuck = stuck.after(done)
            if rules.spent():
                again.append(stuck.hint)
                break
        return False

    def _rules(self, connection: LaneConnection, now: datetime, loan: Loan) -> Rules:
        isolation = LaneIsolation(connection)
        limit = self._settings.max_bytes

        def new_turn(claimed: Claimed, delivery: Delivery) -> Turn:
            self._current = delivery.id
            return Turn(
                kind=claimed.kind,
                key=claimed.key,
                message_id=delivery.id,
                attempt=delivery.attempts + 1,
                now=now,
                isolation=isolation,
                limit=limit,
            )

        return Rules(
            new_turn=new_turn,
            guard=self._guard,
            spent=Budget(self._settings.turn_budget).spent,
            condemned=self._condemned.get,
            served_elsewhere=Census(connection=connection, fleet=self._fleet).served_elsewhere,
            isolation=isolation,
            defer=lambda jobs: defer_jobs(isolation.open(), jobs),
            limit=limit,
            prove=self._settings.validate_state,
            lender=loan,
        )
