"""Host: runs the handlers of residents; there is no transaction, so no SQL, and what they send waits for the flush."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import psycopg

from revenant.codec import new_id
from revenant.config import Settings
from revenant.entities.context import Job, Turn
from revenant.entities.failure import Sentence
from revenant.entities.hook import has_hook, run_hook
from revenant.entities.outcome import Applied, EntityTurn
from revenant.entities.turn import Rules, run_turn
from revenant.errors import ConfigurationError
from revenant.queue.records import Claimed, Delivery
from revenant.worker.fleet import Fleet
from revenant.worker.lanes.budget import Budget
from revenant.worker.lanes.census import Census
from revenant.worker.lanes.guard import Guard
from revenant.worker.residents.resident import Resident


class NoConnection:
    """What a relaxed turn has for a connection; implements `revenant.entities.context.Isolation`."""

    used = False

    def open(self) -> NoReturn:
        """Refuse: nothing is written before the flush."""
        raise ConfigurationError(
            "self.turn.connection was used in a handler of an entity that is not strict: it is handled in memory and "
            "written later, so there is no transaction to be in. Nothing was sent. Declare the class with "
            'durability="strict", or defer a job (self.turn.defer), which leaves with the flush.'
        )

    async def release(self) -> None:
        """There is nothing to keep."""

    async def rollback(self) -> None:
        """There is nothing to undo."""

    def end_loan(self) -> None:
        """There is nothing to take back."""

    def abandon(self) -> None:
        """There is nothing to take away."""


class Host:
    """Runs handlers for one residence, one at a time."""

    def __init__(self, *, settings: Settings, fleet: Fleet, condemned: MutableMapping[str, Sentence]) -> None:
        self._settings = settings
        self._fleet = fleet
        self._condemned = condemned
        self._guard = Guard(seconds=settings.handler_timeout, condemned=condemned)
        self._isolation = NoConnection()
        self._jobs: list[Job] = []
        self.current = ""
        """The id of the message that was handled last."""

    def rules(self, connection: psycopg.AsyncConnection[Any], now: datetime) -> Rules:
        """Return the rules of one visit, at which the database's clock said `now`."""

        def new_turn(claimed: Claimed, delivery: Delivery) -> Turn:
            self.current = delivery.id
            return Turn(
                kind=claimed.kind,
                key=claimed.key,
                message_id=delivery.id,
                attempt=delivery.attempts + 1,
                now=now,
                isolation=self._isolation,
                limit=self._settings.max_bytes,
            )

        return Rules(
            new_turn=new_turn,
            guard=self._guard,
            spent=Budget(self._settings.turn_budget).spent,
            condemned=self._condemned.get,
            served_elsewhere=Census(connection=connection, fleet=self._fleet).served_elsewhere,
            isolation=self._isolation,
            defer=self._defer,
            limit=self._settings.max_bytes,
            prove=self._settings.validate_state,
        )

    async def _defer(self, jobs: Sequence[Job]) -> None:
        self._jobs += jobs

    async def run(self, resident: Resident, deliveries: Sequence[Delivery], rules: Rules) -> EntityTurn:
        """Handle messages of a resident, in order."""
        self._jobs, resident.sent_off = resident.jobs, False
        done = await run_turn(
            resident.definition,
            resident.receive(deliveries),
            rules,
            instance=resident.instance,
            handled=resident.handled,
        )
        resident.instance.resident = True
        return done

    async def send_off(self, resident: Resident, rules: Rules) -> EntityTurn | None:
        """Run the last hook of a resident that leaves, if it has one and there is anything to leave."""
        instance = resident.instance
        if not has_hook(resident.definition) or (instance.entity is None and instance.version == 0):
            return None
        self._jobs = resident.jobs
        delivery = Delivery(0, "", new_id(resident.place.bucket), "passivate", "{}", None, None, 0, None)
        claimed = resident.receive([delivery])
        effects = await run_hook(instance, rules, delivery)
        if effects is None:
            return None
        outcome = Applied(delivery, instance.version, "null", effects)
        text = instance.text if instance.version else None
        past = instance.take_past()
        return EntityTurn(claimed, [outcome], text, instance.version, instance.changed, False, past=past)
