"""Flow: what a workflow's code can do. Each method builds an operation; awaiting it waits for its recorded answer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple, Unpack, overload
from uuid import UUID

from revenant.errors import ConfigurationError
from revenant.workflows.beside import Beside
from revenant.workflows.children import Children
from revenant.workflows.names import checked_name
from revenant.workflows.operation import (
    Awaited,
    CallOperation,
    CastOperation,
    JobOperation,
    Mapped,
    Operation,
    Sendable,
    StepOperation,
    TimerOperation,
    UndoOperation,
)
from revenant.workflows.retry import Retry
from revenant.workflows.step import as_step
from revenant.workflows.times import Duration, checked_moment, checked_seconds
from revenant.workflows.waits import Waits

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Host(Protocol):
    """The run that a flow belongs to."""

    limit: int

    @property
    def chance_of(self) -> str:
        """The stream by whose id the numbers are drawn that come next."""

    @property
    def key(self) -> str:
        """The run's id."""

    @property
    def moment_taken(self) -> datetime:
        """When the last event that the code knows of happened."""

    def patched(self, name: str) -> bool:
        """Whether this run is to take the newer path."""

    def show(self, value: Any) -> None:
        """Have whoever asks see this."""


class ContinueAsNew(BaseException):
    """The run goes on with a fresh history; not an Exception, so that nobody swallows it."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.given = given


class Flow(Beside, Children, Waits):
    """What a workflow's code has: everything that it waits for, decides by, or causes goes through here."""

    def __init__(self, *, host: Host) -> None:
        self._host = host
        self._timers: set[str] = set()
        self._chances: dict[str, random.Random] = {}

    @property
    def _chance(self) -> random.Random:
        stream = self._host.chance_of
        if stream not in self._chances:
            seed = hashlib.sha256(stream.encode()).digest()
            self._chances[stream] = random.Random(seed)  # noqa: S311 # the same for each replay
        return self._chances[stream]

    @property
    def _limit(self) -> int:
        return self._host.limit

    @property
    def id(self) -> str:
        """The run's id, as it was started with."""
        return self._host.key

    @overload
    def step(
        self,
        function: Callable[[Unpack[Ts]], Awaitable[R]],
        *args: *Ts,
        retry: Retry | None = ...,
        timeout: Duration | None = ...,
        heartbeat: Duration | None = ...,
        recoveries: int | None = ...,
        idempotency: str | None = ...,
    ) -> Operation[R]: ...

    @overload
    def step(
        self,
        function: Callable[[Unpack[Ts]], R],
        *args: *Ts,
        retry: Retry | None = ...,
        timeout: Duration | None = ...,
        heartbeat: Duration | None = ...,
        recoveries: int | None = ...,
        idempotency: str | None = ...,
    ) -> Operation[R]: ...

    def step(  # type: ignore[misc]  # mypy compares *args: *Ts with *args: Any as if they were of one length
        self,
        function: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        recoveries: int | None = None,
        idempotency: str | None = None,
    ) -> Operation[Any]:
        """Run a function outside any transaction, at least once, and record its result.

        `timeout` (seconds or timedelta) bounds each attempt, and `recoveries` (3) the processes that may die under
        one before the run fails; `idempotency` is the key that the outside world gets, by
        `current_step().idempotency_key`, instead of one made for this step of this run.

        Raises:
            StepFailed: where it is awaited: the last attempt has failed.
        """
        step = as_step(function)
        if idempotency is not None:
            checked_name(idempotency, "flow.step", "idempotency", such_as="order-42")
        options = step.options.but(retry=retry, timeout=timeout, heartbeat=heartbeat, recoveries=recoveries)
        stored = step.signature.write(args, limit=self._host.limit)
        return StepOperation(step, stored, options, idempotency=idempotency)

    def transaction(
        self,
        function: Callable[[Any, Unpack[Ts]], Awaitable[R]],
        *args: *Ts,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        recoveries: int | None = None,
    ) -> Operation[R]:
        """Run a function that gets a psycopg connection first: its SQL commits together with its result, exactly once.

        Raises:
            StepFailed: where it is awaited: the last attempt has failed.
        """
        step = as_step(function)
        # An attempt whose worker died has committed nothing: it can be run again.
        options = replace(step.options, at_most_once=False).but(retry=retry, timeout=timeout, recoveries=recoveries)
        stored = step.in_transaction.write(args, limit=self._host.limit)
        return StepOperation(step, stored, options, transaction=True)

    def sleep(self, duration: Duration, *, id: str | None = None) -> Operation[None]:
        """Wait so long; a worker need not live meanwhile, and the run takes no memory.

        The `id` tells timers apart in lists and histories; each is used once in a run.
        """
        return TimerOperation(after=_positive(duration), at=None, name=self._timer(id, "sleep"))

    def sleep_until(self, moment: datetime, *, id: str | None = None) -> Operation[None]:
        """Wait until that moment, which has a time zone."""
        at = checked_moment(moment, door="flow.sleep_until()")
        return TimerOperation(after=None, at=at, name=self._timer(id, "sleep_until"))

    def _timer(self, id: str | None, usual: str) -> str:
        if id is None:
            return usual
        if checked_name(id, f"flow.{usual}", "id", such_as="grace") in self._timers:
            raise ConfigurationError(
                f"Timer {id!r} was set before in run {self.id!r}, and that one stands. Give each an id of its own."
            )
        self._timers.add(id)
        return id

    def call(self, message: Awaitable[R]) -> Operation[R]:
        """Send a message to an entity, exactly once, and wait for its reply.

        Raises:
            HandlerError: where it is awaited: the entity's handler raised.
        """
        return CallOperation(_sendable(message, "flow.call"))

    def cast(self, message: Awaitable[Any], *, after: timedelta | None = None) -> Operation[str]:
        """Send a message to an entity, exactly once, and go on; awaited, it gives the message's id."""
        return CastOperation(_sendable(message, "flow.cast"), None if after is None else _positive(after))

    def defer(self, task: Any, **kwargs: Any) -> Operation[None]:
        """Defer a procrastinate task, exactly once, and go on."""
        if not callable(getattr(task, "defer_async", None)):
            raise ConfigurationError(
                f"flow.defer() takes a procrastinate task, or task.configure(…), and got {task!r}. Mark the function "
                "with @app.task of your procrastinate app, and pass that."
            )
        return JobOperation(getattr(task, "name", None) or task.job.task_name, task, kwargs)

    @overload
    def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int = ..., **options: Any
    ) -> Awaited[list[R]]: ...

    @overload
    def map(
        self, function: Callable[[T], R], items: Iterable[T], *, limit: int = ..., **options: Any
    ) -> Awaited[list[R]]: ...

    def map(
        self, function: Callable[[T], Any], items: Iterable[T], *, limit: int = 50, **options: Any
    ) -> Awaited[list[Any]]:
        """Run a step for each item, at most `limit` at a time; the results come in the order of the items."""
        most: object = limit
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ConfigurationError(f"flow.map(limit=…) is a whole number from 1 on, and got {limit!r}.")
        many: object = items
        if not isinstance(many, Iterable):
            raise ConfigurationError(
                f"flow.map() takes a step and a list of its inputs, and got {items!r} for the list."
            )
        step = as_step(function)
        return Mapped((self.step(step, item, **options) for item in items), limit=limit)

    def on_failure(
        self,
        function: Callable[[Unpack[Ts]], Any],
        *args: *Ts,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        recoveries: int | None = None,
    ) -> Operation[None]:
        """Register a step that undoes what was done; all run, the last one first, if the run fails or is cancelled.

        The options are those of `flow.step`. One that hangs keeps those before it, and the run's end, waiting: give it
        a `timeout` (seconds or timedelta). One whose last attempt has failed is named in the run's last event.
        """
        step = as_step(function)
        options = step.options.but(retry=retry, timeout=timeout, heartbeat=heartbeat, recoveries=recoveries)
        stored = step.signature.write(args, limit=self._host.limit)
        return UndoOperation(step, stored, options)

    def continue_as_new(self, input: Any = None) -> NoReturn:
        """End this history here, and go on under the same id with a fresh one, from the beginning of the code."""
        raise ContinueAsNew(input)

    def patched(self, name: str) -> bool:
        """Whether to take the newer path: true for runs that come here first with this code, false for older ones."""
        return self._host.patched(checked_name(name, "flow.patched", such_as="new_prices"))

    def show(self, value: Any) -> None:
        """Have `run.state()` return this, until something else is shown: anything that JSON can hold."""
        self._host.show(value)

    def now(self) -> datetime:
        """The time by the database's clock, as recorded with what the code has learnt last: the same at each replay."""
        return self._host.moment_taken.astimezone(UTC)

    def random(self) -> float:
        """A number from 0 up to 1, not included: the same at each replay."""
        return self._chance.random()

    def uuid(self) -> UUID:
        """A random UUID: the same at each replay."""
        return UUID(int=self._chance.getrandbits(128), version=4)


def _positive(duration: Duration) -> float:
    if duration in (0, timedelta(0)) and not isinstance(duration, bool):
        return 0.0
    return checked_seconds(duration)


def _sendable(message: Any, door: str) -> Sendable:
    whole = hasattr(type(message), "send_as")  # a ref has whatever it is asked for
    if not whole or not all(hasattr(message, name) for name in ("kind", "key", "handler", "args", "send_as")):
        if isinstance(message, Coroutine):
            message.close()
        raise ConfigurationError(
            f"{door}() takes a message, as app.ref(Account, key).deposit(5) makes one, and got {message!r}. "
            "Nothing was sent."
        )
    message.sent()
    return message  # type: ignore[no-any-return]  # checked by its parts
