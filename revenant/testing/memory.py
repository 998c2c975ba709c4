"""MemoryApp: an application without a database: the same turns, checks and errors, in the memory of one process.

Invariant: a turn that fails leaves nothing; what it did becomes visible all at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, TypeVar, cast

from revenant.app import Revenant
from revenant.client.doors import check_cancel, check_cast, check_outside, check_reply, reader_of, seconds_of
from revenant.client.doubt import no_reply, no_such_reply
from revenant.client.envelope import seal
from revenant.client.outcome import result_of
from revenant.client.states import States
from revenant.config import Settings
from revenant.entities.address import Address
from revenant.entities.context import Job, refuse_nested_call, running
from revenant.entities.due import due_of
from revenant.entities.durability import check_level
from revenant.entities.entity import Entity
from revenant.entities.message import Message, as_message
from revenant.entities.schedule import Schedule
from revenant.errors import ConfigurationError, NotIdle
from revenant.queue.records import DeadLetter, Scheduled
from revenant.sync import Sync
from revenant.testing.clock import Clock, checked_now
from revenant.testing.runner import Runner
from revenant.testing.runs import MemoryRuns
from revenant.testing.states import MemoryStates
from revenant.testing.store import Store
from revenant.testing.timetable import Timetable
from revenant.workflows.decider import Decider
from revenant.workflows.workflow import Workflow

R = TypeVar("R")
MOST_TURNS = 10_000
"""Messages that one `run_until_idle` handles at most."""
PATIENCE = 30.0
"""Seconds of real time that it waits for a step."""
_ORIGIN = "memory"


class MemoryApp(Revenant):
    """An application for unit tests: it needs no database and no worker, and it need not be started.

    A call handles its entity's messages at once, up to its own; casts wait for `run_until_idle()`, for a later call
    of the same entity, or for the clock. `clock` moves the time; `deferred` are the jobs that turns have deferred
    (each with `task` and `kwargs`), and `dead` the dead letters.

    Example:
        >>> app = memory_app([Account])
        >>> assert await app.ref(Account, "a").deposit(5) == 5
    """

    def __init__(
        self,
        *,
        entities: Iterable[type[Entity]] = (),
        workflows: Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]] = (),
        schedules: Iterable[Schedule] = (),
        settings: Settings | None = None,
        now: datetime | None = None,
        tracebacks: bool = False,
    ) -> None:
        super().__init__(
            entities=entities,
            workflows=workflows,
            database_url="memory",
            settings=settings,
            schedules=schedules,
            tracebacks=tracebacks,
        )
        self.clock = Clock(self, datetime.now(UTC) if now is None else checked_now(now))
        self._store = Store(now=self._now, timetable=Timetable(self.schedules, self.clock.now))
        self._runner = Runner(
            registry=self.registry, settings=self.settings, tracebacks=tracebacks, store=self._store, now=self._now
        )
        self._reader = MemoryStates(store=self._store, registry=self.registry, now=self._now)
        self._turns = asyncio.Lock()
        self._runs = MemoryRuns(
            workflows=self.workflows,
            settings=self.settings,
            store=self._store,
            now=self._now,
            deferred=self._runner.deferred,
            call=lambda message, timeout: self.call(message, timeout=timeout),
            rest=self._rest,
        )

    def _now(self) -> datetime:
        return self.clock.now

    @property
    def deferred(self) -> list[Job]:
        """The jobs that committed turns have deferred, in order; nobody runs them."""
        return self._runner.deferred

    @property
    def dead(self) -> list[DeadLetter]:
        """The casts that failed for the last time, in order."""
        return self._store.dead

    async def _open(self) -> None:
        """Do nothing: it is ready."""

    async def stop(self) -> None:
        """Do nothing: it keeps what it has."""

    async def call(
        self,
        message: Message[R],
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        durability: Literal["strict"] | None = None,
    ) -> R:
        """Send, handle what waits for that entity, and return the reply."""
        sent = as_message(message, "app.call")
        check_outside(f"{sent!r} was sent")
        seconds_of(timeout, self.settings.call_timeout)
        if running.get() is not None:
            refuse_nested_call(sent)
        check_level(durability)
        envelope = seal(sent, origin=_ORIGIN, idempotency_key=idempotency_key)
        address = Address(envelope.kind, envelope.key)
        seq = self._store.put(envelope)
        if address.kind in self._runs.kinds:
            async with self._turns:
                await self._runs.go_on()
            await self._rest(lambda: self._store.reply(envelope.id) is not None)
        else:
            async with self._turns:
                while any(number == seq for number, _ in self._store.waiting(address)):
                    if not await self._runner.run_one(address):
                        break
        reply = self._store.reply(envelope.id)
        if reply is None:
            raise no_reply(sent, envelope, "in memory")
        if envelope.digest is None:
            self._store.forget_reply(envelope.id)
        return cast(R, result_of(reply, sent, digest=envelope.digest))

    async def cast(
        self,
        message: Message[Any],
        *,
        after: Any = None,
        at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: Any = None,
    ) -> str:
        """Put the message into its mailbox, or keep it for later; return its id."""
        sent = as_message(message, "app.cast")
        check_outside(f"{sent!r} was sent")
        due = due_of(f"cast({sent!r})", after=after, at=at)
        if connection is not None:
            raise ConfigurationError(
                f"{sent!r} was to be cast in a transaction, and a memory application has no database. Nothing was "
                "sent. Test this on a database: the pytest fixture `revenant_app` gives it a fresh one."
            )
        check_cast(sent)
        envelope = seal(sent, origin=None, idempotency_key=idempotency_key)
        if due.after is None and due.at is None:
            self._store.put(envelope)
        else:
            row = Scheduled(*envelope[:6], envelope.digest, 0, due.after, due.at)
            self._store.timetable.schedule(row, self.clock.now)
        return envelope.id

    async def cancel(self, message_id: str) -> bool:
        """Take a message that is not due yet out of the schedule; return whether it was still there."""
        check_cancel(message_id)
        return self._store.timetable.cancel(message_id)

    async def reply(self, message_id: str, *, timeout: float | None = None, returns: Any = Any) -> Any:
        """Return the reply to a message that was sent before, once all that waits is handled."""
        check_reply(message_id)
        reader = reader_of(returns)
        seconds_of(timeout, self.settings.call_timeout)
        if self._store.reply(message_id) is None:
            await self.run_until_idle()
        reply = self._store.reply(message_id)
        if reply is None:
            raise no_such_reply(message_id, "in memory")
        return result_of(reply, None, load=reader.validate_json)

    async def run_until_idle(self) -> None:
        """Handle all that waits and is due, in the order in which it came, and all that follows from it.

        Raises:
            NotIdle: something cannot be handled, or there is no end to it.
        """
        stuck = await self._rest(lambda: False)
        if self._runs.stuck:
            _give_up("a message to a run cannot be taken in here: the log says why.")
        if stuck:
            _give_up(
                f"the first message of {min(stuck)} cannot be handled here: its state does not fit the class, or "
                "another entity that it changes is of a kind that this application does not have."
            )

    async def _rest(self, enough: Callable[[], bool]) -> set[Address]:
        """Go on until nothing is left to be done, or it is enough; return entities that nothing can be done about."""
        stuck: set[Address] = set()
        for _ in range(MOST_TURNS):
            if enough() or not await self._step(stuck):
                break
        else:
            _give_up(
                f"after {MOST_TURNS:,} messages there are still more. Does an entity cast to itself for ever, or a run "
                "always go on as new?"
            )
        return stuck

    async def _step(self, stuck: set[Address]) -> bool:
        """Take one step, or wait for an attempt; return false if there is nothing to be done."""
        self._store.expire(self._idle())
        self._store.release()
        async with self._turns:
            if await self._runs.go_on():
                return True
            address = next((to for _, to in self._store.waiting() if self._serves(to) and to not in stuck), None)
            if address is not None:
                if not await self._runner.run_one(address):
                    stuck.add(address)
                return True
        if not self._runs.stepping:
            return False
        if not await self._runs.attempt_ends(PATIENCE):
            _give_up(f"a step has been running for {PATIENCE:g} s. What does it wait for?")
        return True

    async def next_due(self, until: datetime) -> datetime | None:
        """Return when the next thing becomes due, up to then."""
        due = self._store.timetable.next_due()
        return due if due is not None and due <= until else None

    async def set_time(self, moment: datetime) -> None:
        """Do nothing: the clock itself is what tells the time."""

    def sync(self) -> Sync:
        """Return the doors of this very application for blocking code."""
        return Sync(app=self)

    def worker(self, **_: Any) -> NoReturn:
        """Refuse: there is nothing for a worker to do."""
        raise ConfigurationError(
            "A memory application handles its messages itself and has no workers. Use run_until_idle(), or the pytest "
            "fixture `revenant_app`, whose worker runs on a database."
        )

    def external(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: other programs find their steps in a database."""
        raise ConfigurationError(
            "A memory application has no database in which others could find external steps. The pytest fixture "
            "`revenant_app` has one."
        )

    def url(self) -> NoReturn:
        """Refuse: there is no database."""
        raise ConfigurationError("A memory application has no database. The pytest fixture `revenant_app` has one.")

    def _client_for(self, door: str) -> MemoryRuns:
        check_outside(f"{door}() was called")
        return self._runs

    def _states(self, door: str) -> tuple[States, Mapping[str, type[Entity]]]:
        return self._reader, self.registry.kinds

    def _serves(self, address: Address) -> bool:
        return address.kind in self.registry.kinds

    def _idle(self) -> Iterable[tuple[str, Any]]:
        found = ((kind, definition.entity_idle_delete) for kind, definition in self.registry.kinds.items())
        return ((kind, length) for kind, length in found if length is not None)


def _give_up(why: str) -> NoReturn:
    raise NotIdle(f"There is no rest: {why}")
