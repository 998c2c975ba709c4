"""Runner: takes turns over a memory application's store, a message each, by the rules and the books of a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NoReturn

from revenant.config import Settings
from revenant.entities.address import Address
from revenant.entities.context import Job, Turn
from revenant.entities.failure import Sentence
from revenant.entities.hook import has_hook, run_hook
from revenant.entities.instance import Instance
from revenant.entities.outcome import Applied, EntityTurn, Failed
from revenant.entities.registry import Registry
from revenant.entities.turn import PASSIVATE, Rules, run_turn
from revenant.errors import ConfigurationError
from revenant.queue.records import Claimed, Delivery, Settlement
from revenant.testing.store import Store
from revenant.worker.lanes.guard import Guard
from revenant.worker.lanes.ledger import Ledger
from revenant.worker.residents.host import NoConnection


class NoDatabase:
    """What a turn in memory has for a connection; implements `revenant.entities.context.Isolation`."""

    used = False

    def open(self) -> NoReturn:
        """Refuse: there is no database."""
        raise ConfigurationError(
            "self.turn.connection was used in a memory application, which has no database. Nothing was changed. Test "
            "this handler on a database: the pytest fixture `revenant_app` gives it a fresh one."
        )

    async def release(self) -> None:
        """There is nothing to keep."""

    async def rollback(self) -> None:
        """There is nothing to undo."""

    def end_loan(self) -> None:
        """There is nothing to take back."""

    def abandon(self) -> None:
        """There is nothing to take away."""


class Runner:
    """Handles messages, one at a time; implements `revenant.entities.company.Lender` for their partners."""

    def __init__(
        self, *, registry: Registry, settings: Settings, tracebacks: bool, store: Store, now: Callable[[], datetime]
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._store = store
        self._now = now
        self._ledger = Ledger(settings, tracebacks)
        self._condemned: dict[str, Sentence] = {}
        self._guard = Guard(seconds=settings.handler_timeout, condemned=self._condemned)
        self._residents: set[Address] = set()
        self._deferring: list[Job] = []
        self.deferred: list[Job] = []
        """The jobs of committed turns, in order."""

    def serves(self, kind: str) -> bool:
        """Whether entities of that kind may be handled here."""
        return kind in self._registry.kinds

    async def lend(self, addresses: Sequence[Address]) -> Sequence[Claimed]:
        """Return other entities for the turn that runs; nobody else runs one meanwhile."""
        partners = [self._store.claim(address) for address in addresses]
        for partner in partners:
            partner.deliveries.clear()
        return partners

    async def run_one(self, address: Address) -> bool:
        """Handle the entity's first message; return whether it has left the mailbox."""
        definition = self._registry.kinds.get(address.kind)
        claimed = self._store.claim(address)
        if definition is None or not claimed.deliveries or (claimed.vsn or 0) > definition.entity_vsn:
            return False
        relaxed = definition.entity_durability != "strict"
        rules = self._rules(relaxed=relaxed)
        instance = Instance(definition, claimed, rules.limit, prove=rules.prove)
        instance.resident = address in self._residents
        self._deferring = []
        done = await run_turn(definition, claimed, rules, instance=instance)
        settlement = Settlement()
        self._ledger.book(settlement, done, vsn=definition.entity_vsn)
        if not settlement.consumed:
            return False
        first = claimed.deliveries[0]
        if first.handler == PASSIVATE:
            await self._send_off(instance, first, rules, settlement)
            self._residents.discard(address)
        elif relaxed or instance.entity is not None:
            self._residents.add(address)
        elif isinstance(done.outcomes[0], Failed):
            # Its object is dropped.
            self._residents.discard(address)
        self._store.settle(settlement)
        self.deferred += self._deferring
        return True

    async def _send_off(self, instance: Instance, delivery: Delivery, rules: Rules, settlement: Settlement) -> None:
        """Run the last hook of a relaxed entity that leaves memory."""
        if not instance.resident or not has_hook(instance.definition):
            return
        hooks = delivery._replace(seq=0, tid="", handler="passivate", origin=None, digest=None)
        effects = await run_hook(instance, rules, hooks)
        if effects is None:
            return
        text = instance.text if instance.version else None
        outcome = Applied(hooks, instance.version, "null", effects)
        done = EntityTurn(instance.claimed, [outcome], text, instance.version, instance.changed, unreached=False)
        self._ledger.book(settlement, done, vsn=instance.definition.entity_vsn)

    def _rules(self, *, relaxed: bool) -> Rules:
        isolation = NoConnection() if relaxed else NoDatabase()
        limit, moment = self._settings.max_bytes, self._now()

        def new_turn(claimed: Claimed, delivery: Delivery) -> Turn:
            return Turn(
                kind=claimed.kind,
                key=claimed.key,
                message_id=delivery.id,
                attempt=delivery.attempts + 1,
                now=moment,
                isolation=isolation,
                limit=limit,
            )

        return Rules(
            new_turn=new_turn,
            guard=self._guard,
            spent=lambda: True,
            condemned=self._condemned.get,
            served_elsewhere=_nobody_else,
            isolation=isolation,
            defer=self._defer,
            limit=limit,
            prove=self._settings.validate_state,
            lender=self,
        )

    async def _defer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            # As procrastinate does: what is no JSON fails the message.
            json.dumps(job.kwargs)
        self._deferring += jobs


async def _nobody_else(kind: str, handler: str) -> bool:
    return False
