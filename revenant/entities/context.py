"""Turn: what a handler sees of the turn that runs it, as `self.turn`."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar, overload

from psycopg import AsyncConnection

from revenant.entities.due import due_of
from revenant.entities.entity import Entity
from revenant.entities.message import Message, as_message
from revenant.entities.ref import Ref, kind_of
from revenant.errors import NestedCall

E = TypeVar("E", bound=Entity)


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


class Sent(NamedTuple):
    """A message that leaves with the commit; at most one of `after` (seconds) and `at` is given."""

    message: Message[Any]
    after: float | None
    at: datetime | None


class Job(NamedTuple):
    """A procrastinate task deferred in the commit."""

    task: Any
    kwargs: dict[str, Any]


@dataclass(slots=True)
class Effects:
    """What one message's handler asked for besides its new state."""

    sends: list[Sent]
    jobs: list[Job]
    deleted: bool = False


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

    def ref(self, kind: type[E] | str, key: str) -> E | Any:
        """Return the address of another entity, by its class or by name, to build messages for `cast`."""
        name, definition = kind_of(kind, "turn.ref")
        return Ref(kind=name, key=key, definition=definition, caller=refuse_nested_call, limit=self._limit)

    def cast(self, message: Message[Any], *, after: timedelta | None = None, at: datetime | None = None) -> None:
        """Send a message that leaves in the same commit as the state, now or when it is due."""
        sent = as_message(message, "turn.cast")
        due = due_of(f"turn.cast({sent!r})", after=after, at=at)
        sent.send_as(None)
        self._effects.sends.append(Sent(sent, due.after, due.at))

    def defer(self, task: Any, **kwargs: Any) -> None:
        """Defer a procrastinate task in the same commit: it runs after the commit, and only if there is one."""
        self._effects.jobs.append(Job(task, kwargs))

    def delete(self) -> None:
        """End this entity with the commit: its state goes, and the next message starts afresh."""
        self._effects.deleted = True

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


def refuse_nested_call(message: Message[Any]) -> Any:
    """Refuse to wait for another entity inside a handler."""
    turn = running.get()
    where = f"{turn.kind}({turn.key!r})" if turn else "A handler"
    raise NestedCall(
        f"{where} tried to call {message!r} and wait for it inside a handler: it would hold one entity while waiting "
        "for another, and two such calls can wait for each other for ever. Cast it (self.turn.cast(message)), and let "
        "the other entity cast its answer back."
    )
