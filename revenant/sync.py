"""The same doors for blocking code: one thread with an event loop, on which the async application runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, Self, TypeVar, overload

import psycopg

from revenant.client.doors import check_connection
from revenant.client.envelope import seal, undone_if_it_fails
from revenant.entities.due import due_of
from revenant.entities.entity import Entity
from revenant.entities.history import Change
from revenant.entities.message import Message, as_message
from revenant.entities.ref import Ref
from revenant.errors import ConfigurationError
from revenant.eventloop import run
from revenant.queue.mailbox import transactional_send
from revenant.sync_runs import BlockingRuns

E = TypeVar("E", bound=Entity)
R = TypeVar("R")


class Application(Protocol):
    """What is behind the doors: a `Revenant` of its own, so that several doors may be open at once."""

    @property
    def start(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Begins to send, or starts a run."""
        ...

    async def stop(self) -> None:
        """Hang up."""

    def ref(self, kind: Any, key: str) -> Any:
        """Return an entity's address."""

    async def call(
        self,
        message: Message[R],
        *,
        timeout: float | None,
        idempotency_key: str | None,
        durability: Literal["strict"] | None,
    ) -> R:
        """Send and wait for the reply."""
        ...

    async def cast(
        self,
        message: Message[Any],
        *,
        after: timedelta | None,
        at: datetime | None,
        idempotency_key: str | None,
    ) -> str:
        """Send without waiting."""
        ...

    async def cancel(self, message_id: str) -> bool:
        """Take a message out of the schedule."""
        ...

    async def reply(self, message_id: str, *, timeout: float | None, returns: Any) -> Any:
        """Attach to a message sent before."""

    async def delete(self, ref: Any, *, timeout: float | None) -> bool:
        """End an entity."""
        ...

    async def passivate(self, ref: Any, *, timeout: float | None) -> bool:
        """Have an entity out of memory."""
        ...

    @property
    def state(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Returns a committed state."""
        ...

    @property
    def history(self) -> Callable[..., Coroutine[Any, Any, list[Any]]]:
        """Returns an entity's versions."""
        ...


class Sync(BlockingRuns):
    """What `app.sync()` returns: `call`, `cast`, `reply`, `delete` and `ref`, for any number of blocking threads.

    Open it inside the process that uses it: after a fork, each child opens its own.

    Example:
        >>> with app.sync() as rv:
        ...     balance = rv.call(rv.ref(Account, "acct_42").deposit(100))
    """

    def __init__(self, *, app: Application) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._turnstile = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._closed_in = 0
        """The process that opened and closed it last."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _open(self) -> None:
        """Begin to send; a second start does nothing, and one at the same time waits for the first."""
        _refuse_in_event_loop()
        if self._pid not in (0, os.getpid()):
            # The parent's threads did not come along, and may have held its locks.
            self._lock, self._turnstile = threading.Lock(), threading.Lock()
        with self._turnstile:
            if self._pid == os.getpid():
                return
            begun: Future[None] = Future()
            # A daemon: a program that forgets to stop ends nevertheless.
            self._thread = threading.Thread(target=lambda: run(self._serve(begun)), name="revenant-sync", daemon=True)
            self._thread.start()
            try:
                begun.result()
            except Exception:
                self._thread.join()
                raise
            self._pid = os.getpid()

    def stop(self) -> None:
        """Hang up, and wait until nothing is left running; safe before start, twice, and at the same time."""
        if self._pid != os.getpid():
            return
        with self._turnstile:
            with self._lock:
                loop, self._loop = self._loop, None
            if loop is not None and self._ended is not None:
                loop.call_soon_threadsafe(self._ended.set)
            if self._thread is not None:
                self._thread.join()
            self._pid, self._closed_in = 0, os.getpid()

    @overload
    def ref(self, kind: type[E], key: str) -> E: ...

    @overload
    def ref(self, kind: str, key: str) -> Any: ...

    def ref(self, kind: type[E] | str, key: str) -> E | Any:
        """Return the address of one entity, to build messages with; see `Revenant.ref`."""
        return self._app.ref(kind, key)

    def call(
        self,
        message: Message[R],
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        durability: Literal["strict"] | None = None,
    ) -> R:
        """Send and wait for the reply, which comes after the commit; see `Revenant.call`."""
        as_message(message, "rv.call")
        return self._run(
            lambda: self._app.call(message, timeout=timeout, idempotency_key=idempotency_key, durability=durability)
        )

    def cast(
        self,
        message: Message[Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> str:
        """Send without waiting for the handler; durable when this returns. Returns the message's id.

        With `connection`, in the caller's own transaction and thread: the message exists if and only if it commits.
        """
        as_message(message, "rv.cast")
        if connection is not None:
            if due_of(f"cast({message!r})", after=after, at=at) != (None, None):
                raise ConfigurationError(f"cast({message!r}) takes one of after=, at= and connection=; give just one.")
            return _send_within(connection, message, idempotency_key)
        return self._run(lambda: self._app.cast(message, after=after, at=at, idempotency_key=idempotency_key))

    def cancel(self, message_id: str) -> bool:
        """Take a message that is not due yet out of the schedule; see `Revenant.cancel`."""
        return self._run(lambda: self._app.cancel(message_id))

    def reply(self, message_id: str, *, timeout: float | None = None, returns: Any = Any) -> Any:
        """Attach to a message that was sent before, and wait for its reply; see `Revenant.reply`."""
        return self._run(lambda: self._app.reply(message_id, timeout=timeout, returns=returns))

    def delete(self, ref: Entity | Ref, *, timeout: float | None = None) -> bool:
        """End an entity, in order with its other messages; return whether it had state."""
        return self._run(lambda: self._app.delete(ref, timeout=timeout))

    def passivate(self, ref: Entity | Ref, *, timeout: float | None = None) -> bool:
        """Have an entity flushed and out of memory, in order with its messages; return whether a worker kept it."""
        return self._run(lambda: self._app.passivate(ref, timeout=timeout))

    @overload
    def state(self, kind: type[E], key: str, *, at: datetime | None = None) -> E | None: ...

    @overload
    def state(self, kind: str, key: str, *, at: datetime | None = None) -> Any: ...

    @overload
    def state(self, kind: E, *, at: datetime | None = None) -> E | None: ...

    def state(self, kind: Any, key: Any = None, *, at: datetime | None = None) -> Any:
        """Return a copy of an entity's committed state, or of that at a moment; see `Revenant.state`."""
        return self._run(lambda: self._app.state(kind, key, at=at))

    @overload
    def history(
        self, kind: type[E], key: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[E]]: ...

    @overload
    def history(
        self, kind: str, key: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[Any]]: ...

    @overload
    def history(
        self, kind: E, *, since: datetime | None = None, until: datetime | None = None, limit: int = 100
    ) -> list[Change[E]]: ...

    def history(
        self,
        kind: Any,
        key: Any = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[Any]:
        """Return an entity's versions, the newest first; see `Revenant.history`."""
        return self._run(lambda: self._app.history(kind, key, since=since, until=until, limit=limit))

    async def _serve(self, begun: Future[None]) -> None:
        try:
            await self._app.start()
        except BaseException as error:  # noqa: BLE001 # it belongs to the thread that starts us
            begun.set_exception(error)
            return
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        begun.set_result(None)
        try:
            await self._ended.wait()
        finally:
            await self._app.stop()

    def _do(self, make: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
        return self._run(lambda: make(self._app))

    def _run(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        _refuse_in_event_loop()
        if self._pid == 0 and self._closed_in == os.getpid():
            raise ConfigurationError(_CLOSED)
        if self._pid == 0:
            raise ConfigurationError(
                "app.sync() was used before it was opened. Nothing was sent: use it inside `with app.sync() as rv:`."
            )
        if self._pid != os.getpid():
            raise ConfigurationError(
                "app.sync() was used in a process that did not open it. Open it inside: `with app.sync() as rv:`; "
                "after a fork (gunicorn, multiprocessing) in each child, in its post-fork hook for instance."
            )
        with self._lock:
            if self._loop is None:
                raise ConfigurationError(_CLOSED)
            future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ConfigurationError(
                "app.sync() was closed by another thread while this one waited. What became of the message is unknown: "
                "app.reply(message.id) waits on for it. Close the door when all threads are done."
            ) from None
        finally:
            # An interrupt (Ctrl-C, a worker's time limit) ends the wait over there too.
            future.cancel()


_CLOSED = "app.sync() was used after it had been closed. Nothing was sent: keep inside `with app.sync() as rv:`."


def _send_within(connection: psycopg.Connection[Any], message: Message[Any], idempotency_key: str | None) -> str:
    check_connection(message, connection, psycopg.Connection, "An async one goes through `await app.cast(…)`.")
    envelope = seal(message, origin=None, idempotency_key=idempotency_key)
    with undone_if_it_fails(message, connection):
        connection.execute(*transactional_send([envelope]))
    return envelope.id


def _refuse_in_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(
        "app.sync() was used inside a running event loop, which it would stop until the reply comes. "
        "There, use the application itself: `async with app:` and `await`."
    )
