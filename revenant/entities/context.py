"""Turn: what a handler sees of the turn that runs it, as `self.turn`."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar, cast, overload

from psycopg import AsyncConnection

from revenant import telemetry
from revenant.codec import bucket_of, is_id, new_id
from revenant.entities.due import due_of
from revenant.entities.entity import Entity
from revenant.entities.message import Message, as_message
from revenant.entities.recurrence import Missed
from revenant.entities.ref import Ref, kind_of
from revenant.entities.reminder import Reminder, name_of, reminder_of
from revenant.entities.runs import Decided, Startable, run_cancel, run_signal, run_start
from revenant.errors import ConfigurationError, NestedCall, ReplyNotFound

E = TypeVar("E", bound=Entity)
I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers


class Isolation(Protocol):
    """The handler's own SQL: a connection inside the turn's transaction, behind a savepoint."""

    @property
    def used(self) -> bool:
        """Whether the handler that runs now has touched the connection."""

    def open(self) -> AsyncConnection[Any]:
        """Return the connection; the savepoint is set before its first statement."""

    async def release(self) -> None:
        """Keep what the handler did."""

    async def rollback(self) -> None:
        """Undo what the handler did."""

    def end_loan(self) -> None:
        """Take the connection back, used or not: the handler has ended."""

    def abandon(self) -> None:
        """Take the connection away for good from a handler that will not end: what it did there is not kept."""


class Sent(NamedTuple):
    """A message that leaves with the commit; at most one of `after` (seconds) and `at` is given."""

    message: Message[Any]
    after: float | None
    at: datetime | None
    id: str


class Job(NamedTuple):
    """A procrastinate task deferred in the commit."""

    task: Any
    kwargs: dict[str, Any]
    message_id: str
    """The message whose handler deferred it."""


@dataclass(slots=True)
class Effects:
    """What one message's handler asked for besides its new state."""

    sends: list[Sent]
    jobs: list[Job]
    deleted: bool = False
    reminders: list[Reminder] = field(default_factory=list)
    """In order."""
    cancelled: list[str] = field(default_factory=list)
    """Ids of messages that are not to become due."""

    @property
    def to_book(self) -> bool:
        """Whether the commit has more to do for them than the state and the jobs."""
        return bool(self.sends or self.reminders or self.cancelled)

    def absorb(self, other: Effects) -> None:
        """Take in what was asked for on the turn of another entity of the same message; each is deleted by itself."""
        self.sends += other.sends
        self.reminders += other.reminders
        self.cancelled += other.cancelled
        self.jobs += other.jobs


class Turn:
    """The running turn, as `self.turn` inside a handler.

    `message_id` (str) is stable across redeliveries: use it as the idempotency key towards the outside world.
    `now` (datetime with zone) is the database's clock at the start of the turn. `attempt` counts from 1.
    """

    __slots__ = ("_effects", "_isolation", "_limit", "attempt", "key", "kind", "message_id", "now")

    def __init__(
        self, *, kind: str, key: str, message_id: str, attempt: int, now: datetime, isolation: Isolation, limit: int
    ) -> None:
        self.kind = kind
        self.key = key
        self.message_id = message_id
        self.attempt = attempt
        self.now = now
        self._isolation = isolation
        self._limit = limit
        self._effects = Effects([], [])

    @overload
    def ref(self, kind: type[E], key: str) -> E: ...

    @overload
    def ref(self, kind: str, key: str) -> Any: ...

    @overload
    def ref(self, kind: E) -> E: ...

    def ref(self, kind: type[E] | str | E, key: str | None = None) -> E | Any:
        """Return an entity's address, by its class or by name, to build messages; `turn.ref(self)` is one's own."""
        own = kind if isinstance(kind, Entity) and key is None else None
        name, definition = kind_of(type(own) if own else kind, "turn.ref")
        key = own.key if own else cast(str, key)
        return Ref(kind=name, key=key, definition=definition, caller=refuse_nested_call, limit=self._limit)

    def cast(self, message: Message[Any], *, after: timedelta | None = None, at: datetime | None = None) -> str:
        """Send a message that leaves in the same commit as the state, now or when it is due; return its id."""
        sent = as_message(message, "turn.cast")
        due = due_of(f"turn.cast({sent!r})", after=after, at=at)
        sent.send_as(None)
        made = new_id(bucket_of(sent.kind, sent.key))
        if telemetry.carrier is not None:
            telemetry.carrier.depart(made)
        self._effects.sends.append(Sent(sent, due.after, due.at, made))
        return made

    @overload
    def start(self, workflow: Startable[None], input: None = ..., *, id: str) -> str: ...

    @overload
    def start(self, workflow: Startable[I], input: I, *, id: str) -> str: ...

    @overload
    def start(self, workflow: Decided | str, input: Any = ..., *, id: str) -> str: ...

    def start(self, workflow: Startable[Any] | Decided | str, input: Any = None, *, id: str) -> str:
        """Start a run of a workflow, named by its function, class or name, with the commit; return the message's id.

        The run's id is the idempotency key, as for `app.start`: where that run is there already, it stays as it is.
        """
        return self.cast(run_start(workflow, input, id=id, limit=self._limit, door="turn.start"))

    def signal(
        self,
        workflow: Startable[Any] | Decided | str,
        id: str,
        name: str,
        payload: Any = None,
        *,
        signal_id: str | None = None,
    ) -> str:
        """Signal a run with the commit; those of one `signal_id` count once. Return the message's id."""
        return self.cast(
            run_signal(workflow, id, name, payload, signal_id=signal_id, limit=self._limit, door="turn.signal")
        )

    def cancel_run(self, workflow: Startable[Any] | Decided | str, id: str, reason: str | None = None) -> str:
        """Have a run end, with the commit, as `run.cancel` does; return the message's id."""
        return self.cast(run_cancel(workflow, id, reason, limit=self._limit, door="turn.cancel_run"))

    def cancel(self, message_id: str) -> None:
        """Take a message that is not due yet out of the schedule, with the commit; nothing if it is not there."""
        given: object = message_id
        if not isinstance(given, str) or not is_id(given):
            raise ReplyNotFound(
                f"{message_id!r} is no message's id, which is text like '0199…-…'. Pass what turn.cast() or app.cast() "
                "returned."
            )
        self._effects.cancelled.append(message_id)

    def remind(
        self,
        name: str,
        message: Message[Any],
        *,
        every: timedelta | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        after: timedelta | None = None,
        at: datetime | None = None,
        missed: Missed = "once",
    ) -> None:
        """Have a message sent at set times, from the commit on; it replaces this entity's reminder of that name."""
        sent = as_message(message, "turn.remind")
        reminder = reminder_of(
            self.kind, self.key, name, sent,
            now=self.now, every=every, cron=cron, timezone=timezone, after=after, at=at, missed=missed,
        )  # fmt: skip
        sent.send_as(None)
        self._effects.reminders.append(reminder)

    def cancel_reminder(self, name: str) -> None:
        """Take back this entity's reminder of that name, with the commit; nothing if there is none."""
        self._effects.reminders.append(Reminder(self.kind, self.key, name_of("turn.cancel_reminder", name)))

    def defer(self, task: Any, **kwargs: Any) -> None:
        """Defer a procrastinate task in the same commit: it runs after the commit, and only if there is one.

        `task` may be configured: `turn.defer(task.configure(lock="o1", schedule_in={"minutes": 5}), order="o1")`.
        """
        if not callable(getattr(task, "defer_async", None)):
            raise ConfigurationError(
                f"turn.defer() takes a procrastinate task, or task.configure(…), and got {task!r}. Mark the function "
                "with @app.task of your procrastinate app, and pass that."
            )
        self._effects.jobs.append(Job(task, kwargs, self.message_id))

    def delete(self) -> None:
        """End this entity with the commit: its state and its reminders go, and the next message starts afresh."""
        self._effects.deleted = True
        self._effects.reminders.append(Reminder(self.kind, self.key, None))

    @property
    def connection(self) -> AsyncConnection[Any]:
        """A psycopg connection inside the turn's transaction: your own rows change if and only if the state does.

        A savepoint isolates it: its failure costs only this message. Do not commit or roll back on it.
        """
        return self._isolation.open()


running: ContextVar[Turn | None] = ContextVar("revenant_turn", default=None)
"""The turn whose handler runs in this context; a call from inside it is refused."""


def effects_of(turn: Turn) -> Effects:
    """Return what the handler asked for; for the engine alone."""
    return turn._effects


def abandon(turn: Turn) -> None:
    """Take a turn's connection away from its handler, which was given up; for the engine alone."""
    turn._isolation.abandon()


def refuse_nested_call(message: Message[Any]) -> Any:
    """Refuse to wait for another entity inside a handler."""
    turn = running.get()
    where = f"{turn.kind}({turn.key!r})" if turn else "A handler"
    raise NestedCall(
        f"{where} tried to call {message!r} and wait for it inside a handler: it would hold one entity while waiting "
        "for another, and two such calls can wait for each other for ever. Cast it (self.turn.cast(message)), and let "
        "the other entity cast its answer back."
    )
