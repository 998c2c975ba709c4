"""Revenant: the composition root: settings, registry, client and worker, put together once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeVar, cast, overload

import procrastinate
import psycopg

from revenant.client.client import Client
from revenant.client.doors import check_no_turn, check_outside
from revenant.client.errands import Errands
from revenant.client.external import ExternalStep, external_steps
from revenant.client.looking import Looking
from revenant.client.starting import Sending, Starting
from revenant.client.states import States
from revenant.config import Settings
from revenant.embedded import Lease, lease
from revenant.entities.entity import Entity
from revenant.entities.message import Message, as_message
from revenant.entities.ref import Ref, engine_message, kind_of
from revenant.entities.registry import Registry
from revenant.entities.schedule import Schedule, checked_schedules
from revenant.entities.turn import DELETE, PASSIVATE
from revenant.errors import ConfigurationError, UnknownKind
from revenant.sql import migrate, readable
from revenant.sync import Sync
from revenant.wording import a
from revenant.worker.cells.origin import origin_of
from revenant.worker.jobs import JobRunner
from revenant.worker.worker import Worker
from revenant.workflows.decider import Decider
from revenant.workflows.registry import Workflows
from revenant.workflows.replay import in_code
from revenant.workflows.workflow import Workflow

E = TypeVar("E", bound=Entity)
R = TypeVar("R")


class Revenant(Looking, Starting):
    """An application: its entities, and the Postgres that they live in.

    `database_url` defaults to `DATABASE_URL`, else to the embedded server. `jobs` is a procrastinate app whose
    tasks handlers may defer. `schedules` are messages that are sent at set times. `tracebacks` puts handlers'
    tracebacks into the errors that callers get.

    Example:
        >>> app = Revenant(entities=[Account])
        >>> async with app:
        ...     await app.ref(Account, "acct_42").deposit(100)
    """

    def __init__(
        self,
        *,
        entities: Iterable[type[Entity]] = (),
        workflows: Iterable[Workflow[Any, Any] | type[Decider[Any, Any]]] = (),
        database_url: str | None = None,
        settings: Settings | None = None,
        jobs: procrastinate.App | None = None,
        schedules: Iterable[Schedule] = (),
        tracebacks: bool = False,
    ) -> None:
        _check(settings, Settings, "settings= takes a revenant.Settings")
        _check(database_url, str, "database_url= takes a libpq URI or keyword string")
        _check(jobs, procrastinate.App, "jobs= takes a procrastinate.App")
        self.settings = Settings() if settings is None else settings
        self.registry = Registry(entities)
        self.workflows = Workflows(workflows)
        self.jobs = jobs
        self.schedules = checked_schedules(schedules)
        self.tracebacks = tracebacks
        self._given_url = database_url if database_url is not None else self.settings.database_url
        if self._given_url is not None and not self._given_url.strip():
            raise ConfigurationError(
                "The database URL is set and empty, as an unset secret leaves it. Nothing was started: set "
                "DATABASE_URL to your Postgres, or unset it to use the embedded server."
            )
        self.loaded_from: str | None = None
        """How the command has found it, as `module:attribute`."""
        self._leasing = threading.Lock()
        self._lease: Lease | None = None
        self._client: Client | None = None
        self.errands = Errands(settings=self.settings)
        """What its steps send through it where it is not started itself."""
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._turnstile = asyncio.Lock()
        self._stopped = False

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _open(self) -> None:
        """Begin to send; Postgres need not be reachable yet, unless it is the embedded one, which is started.

        A second start does nothing, at the same time neither.

        Raises:
            ConfigurationError: it is started in another event loop.
        """
        async with self._one_at_a_time():
            if self._client is not None:
                return
            client = Client(url=await self.prepare(), settings=self.settings)
            await client.start()
            self._client = client

    async def stop(self) -> None:
        """Hang up; safe before start, twice, and at the same time. It may be started again."""
        async with self._one_at_a_time():
            if self._client is not None:
                await self._client.stop()
                self._client, self._stopped = None, True
            self.release()

    def _one_at_a_time(self) -> asyncio.Lock:
        """Return the lock of starts and stops; what an ended loop or the parent process left is dropped."""
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home != home:
            busy = self._client is not None or self._turnstile.locked()
            if busy and self._home is not None and self._home[0] == os.getpid() and not self._home[1].is_closed():
                raise ConfigurationError(
                    "The application is started in another event loop, and serves one at a time. Make a Revenant for "
                    "each loop, or use app.sync() from threads."
                )
            self._home, self._turnstile, self._client = home, asyncio.Lock(), None
        return self._turnstile

    def url(self) -> str:
        """Return the database's address; starts or joins the embedded server where none was given.

        Raises:
            ConfigurationError: the address cannot be read, or there is no embedded server to start.
        """
        if self._given_url:
            return readable(self._given_url)
        with self._leasing:
            if self._lease is None:
                self._lease = lease()
            return self._lease.url

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded server, which this application holds now."""
        return self._lease is not None

    async def prepare(self) -> str:
        """Return the database's address, ready for use: the embedded server is started and migrated.

        Any other database is left as it is: whoever deploys migrates it, with `revenant migrate`.
        """
        url = await asyncio.to_thread(self.url)
        if self._lease is not None:
            try:
                await migrate(url)
            except BaseException:
                self.release()
                raise
        return url

    def release(self) -> None:
        """Let go of the embedded server; it stops when nobody holds it any more."""
        held, self._lease = self._lease, None
        if held is not None:
            held.release()

    @overload
    def ref(self, kind: type[E], key: str) -> E: ...

    @overload
    def ref(self, kind: str, key: str) -> Any: ...

    def ref(self, kind: type[E] | str, key: str) -> E | Any:
        """Return the address of one entity: typed by its class, or by name from anywhere.

        Raises:
            InvalidKey: the key is empty, too long, or not text that Postgres stores.
            ConfigurationError: the kind is neither a class of an entity nor a name.
        """
        name, definition = kind_of(kind, "app.ref")
        definition = definition or self.registry.kinds.get(name)
        made = Ref(kind=name, key=key, definition=definition, caller=self.call, limit=self.settings.max_bytes)
        return cast(E, made)

    async def call(
        self,
        message: Message[R],
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        durability: Literal["strict"] | None = None,
    ) -> R:
        """Send and wait for the reply, which comes after the commit. See `Client.call`."""
        return await self._started(message, "app.call").call(
            message, timeout=timeout, idempotency_key=idempotency_key, durability=durability
        )

    async def cast(
        self,
        message: Message[Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> str:
        """Send without waiting for the handler; durable when this returns. Returns the message's id."""
        return await self._started(message, "app.cast").cast(
            message, after=after, at=at, idempotency_key=idempotency_key, connection=connection
        )

    async def cancel(self, message_id: str) -> bool:
        """Take a message that is not due yet out of the schedule; return whether it was still there."""
        return await self._started(None, "app.cancel").cancel(message_id)

    async def reply(self, message_id: str, *, timeout: float | None = None, returns: Any = Any) -> Any:
        """Attach to a message that was sent before, and wait for its reply."""
        return await self._started(None, "app.reply").reply(message_id, timeout=timeout, returns=returns)

    async def delete(self, ref: Entity | Ref, *, timeout: float | None = None) -> bool:
        """End an entity, in order with its other messages; return whether it had state."""
        return await self.call(engine_message(ref, DELETE, self.call), timeout=timeout, durability="strict")

    async def passivate(self, ref: Entity | Ref, *, timeout: float | None = None) -> bool:
        """Have an entity flushed and out of memory, in order with its messages; return whether a worker kept it."""
        return await self.call(engine_message(ref, PASSIVATE, self.call), timeout=timeout, durability="strict")

    def sync(self) -> Sync:
        """Return the same doors for blocking code: `with app.sync() as rv: rv.call(message)`."""
        return Sync(
            app=Revenant(
                entities=self.registry.kinds.values(),
                workflows=self.workflows.all(),
                database_url=self._given_url,
                settings=self.settings,
                jobs=self.jobs,
                schedules=self.schedules,
                tracebacks=self.tracebacks,
            )
        )

    def worker(self, *, kinds: Iterable[str] | None = None, settings: Settings | None = None) -> Worker:
        """Return a worker for this application's entities, or for some of their kinds; not yet started.

        Raises:
            UnknownKind: a kind that this application does not have.
        """
        chosen = settings or self.settings
        registry, workflows = self.registry, self.workflows
        if isinstance(kinds, str):
            raise ConfigurationError(f"kinds= takes a list of names, and got {kinds!r}. Write kinds=[{kinds!r}].")
        if kinds is not None:
            kinds = list(kinds)
            unknown = sorted(set(kinds) - set(registry.kinds) - set(workflows.kinds))
            if unknown:
                known = ", ".join(sorted((*registry.kinds, *workflows.kinds))) or "none"
                raise UnknownKind(f"No entity is of kind {unknown[0]!r}. This application has: {known}.")
            registry = Registry(registry.kinds[kind] for kind in kinds if kind in registry.kinds)
            workflows = Workflows(one for one in workflows.all() if one.kind in kinds)
        if not registry.kinds and not workflows:
            raise ConfigurationError(
                "A worker without entities has nothing to serve. Pass them: Revenant(entities=[Account])."
            )
        runner = None
        if self.jobs is not None and chosen.jobs:
            runner = JobRunner(app=self.jobs, url=self.url(), concurrency=chosen.jobs)
        return Worker(
            url=self.url(),
            registry=registry,
            workflows=workflows,
            settings=chosen,
            jobs=runner,
            schedules=self.schedules,
            tracebacks=self.tracebacks,
            origin=self.loaded_from or origin_of(self),
            errands=self.errands,
        )

    def external(
        self, name: str, *, holder: str | None = None, claim: float = 30.0, poll: float = 0.5
    ) -> AsyncIterator[ExternalStep]:
        """Take the external steps of that name, one after another, without their workflows' code.

        `claim` (seconds) is how long one is held until it is renewed, as `async with` does; `holder` says who has it;
        `poll` (seconds) is how often to look while there is none.
        """
        ask, limit = self._started(None, "app.external").states.ask, self._limit()
        return external_steps(name, holder=holder, seconds=claim, poll=poll, ask=ask, limit=limit)

    def _client_for(self, door: str) -> Sending:
        return self._started(None, door)

    def _limit(self) -> int:
        return self.settings.max_bytes

    def _states(self, door: str) -> tuple[States, Mapping[str, type[Entity]]]:
        return self._started(None, door).states, self.registry.kinds

    def _started(self, message: Message[Any] | None, door: str) -> Client:
        outside = not in_code.get()
        if outside and self._client is not None and self._home == (os.getpid(), asyncio.get_running_loop()):
            return self._client
        if outside and self._client is None and (client := self.errands.client()) is not None:
            return client
        what = _DEEDS.get(door) or f"{as_message(message, door)!r} was sent"
        check_outside(what)
        check_no_turn(what)
        if self._client is not None:
            raise ConfigurationError(
                f"{what} outside the event loop and process in which the application was started. Nothing was sent. "
                "Make a Revenant for each loop, or use app.sync() from threads."
            )
        if self._stopped:
            raise ConfigurationError(
                f"{what} after the application was stopped, as at the end of `async with app:`. Nothing was sent. "
                "Send inside the block, or start the application again."
            )
        self.errands.check(what)
        raise ConfigurationError(
            f"{what} before the application was started. Use `async with app:` (or `with app.sync() as rv:`)."
        )


_DEEDS = {
    "app.start": "A run was to be started",
    "app.fork": "A run was to be forked",
    "app.run": "A run was asked for",
    "app.approvals": "Approvals were asked for",
    "app.external": "External steps were asked for",
    "app.reply": "A reply was asked for",
    "app.cancel": "A message was to be cancelled",
    "app.state": "A state was asked for",
    "app.history": "A history was asked for",
}


def _check(given: object, wanted: type, takes: str) -> None:
    if given is not None and not isinstance(given, wanted):
        raise ConfigurationError(f"{takes}, and got {a(type(given).__name__)}. Nothing was started.")
