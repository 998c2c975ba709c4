"""Client: call, cast and reply. A reply is a commit receipt; a time-out means unknown, never failed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, cast

import psycopg

from revenant import telemetry
from revenant.client.cancel import cancel
from revenant.client.doors import check_cast, check_connection, check_reply, reader_of, seconds_of
from revenant.client.doubt import no_reply, no_such_reply, not_confirmed, not_sent
from revenant.client.envelope import seal, undone_if_it_fails
from revenant.client.inbox import Inbox
from revenant.client.outcome import result_of
from revenant.client.patience import give_up_after
from revenant.client.records import PostgresRecords, Records
from revenant.client.results import Results
from revenant.client.run import Run
from revenant.client.schedule import schedule
from revenant.client.sender import Outgoing, Sender
from revenant.client.states import States
from revenant.codec import check_key
from revenant.config import Settings
from revenant.entities.context import refuse_nested_call, running
from revenant.entities.due import Due, due_of
from revenant.entities.durability import check_level
from revenant.entities.message import Message, as_message
from revenant.errors import ConfigurationError, RevenantError
from revenant.queue.listener import Listener
from revenant.queue.mailbox import notify, transactional_send
from revenant.queue.records import Envelope, Reply
from revenant.workflows.decider import DeciderWorkflow

R = TypeVar("R")
_AT_ONCE = Due(None, None)
_BLOCKING = "Blocking connections go through `with app.sync() as rv: rv.cast(…)`."


class Client:
    """Sends messages for one process, over two connections."""

    def __init__(self, *, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        name = os.urandom(8).hex()
        self._channel = f"revenant_reply_{name}"
        # On the other channel nobody answers before the reply is on disk, whatever the entity's durability is.
        self._strict_channel = f"revenant_strict_{os.urandom(8).hex()}"
        self._sender = Sender(url=url)
        self._inbox = Inbox(link=self._sender.link, read=self._sender.read, listening=lambda: self._listener.listening)
        self.results = Results(link=self._sender.link, listening=lambda: self._listener.listening)
        self._result_channel = f"revenant_result_{name}"
        self._listener = Listener(
            url=url,
            role="listener",
            channels=[self._channel, self._result_channel, self._strict_channel],
            ping=self._ping,
            on_payload=self._hear,
            on_connect=self._look,
        )
        self.states = States(url=url, seconds=settings.call_timeout)
        self.records: Records = PostgresRecords(states=self.states)
        self._started = False

    async def start(self) -> None:
        """Begin; Postgres need not be reachable yet."""
        await self._sender.start()
        await self._listener.start()
        await self._inbox.start()
        await self.results.start()
        self._started = True

    async def stop(self) -> None:
        """Send what waits, for a moment, and hang up; safe before start and twice.

        Whoever still waits hears that the outcome is unknown, or that the message was not sent.
        """
        self._started = False
        await self._inbox.stop()
        await self.results.stop()
        await self._listener.stop()
        await self._sender.stop()
        await self.states.stop()

    async def call(
        self,
        message: Message[R],
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        durability: Literal["strict"] | None = None,
    ) -> R:
        """Send and wait: returns once one transaction has committed all that the handler did.

        Entities that are declared with another durability answer before that, unless `durability` is "strict".

        Raises:
            HandlerError: the handler raised; the state is as before.
            CallTimeout: nothing is known yet.
            DatabaseUnavailable: the message was never sent, and may be sent again.
            AlreadySent: the same message was sent before.
            ReplyInvalid: the message was handled, and its reply cannot be read here.
        """
        sent = as_message(message, "app.call")
        seconds = seconds_of(timeout, self._settings.call_timeout)
        if running.get() is not None:
            refuse_nested_call(sent)
        channel = self._strict_channel if check_level(durability) else self._channel
        envelope = self._envelope(sent, channel, idempotency_key)
        future = self._inbox.expect(envelope.id)
        item = Outgoing(envelope, future)
        began = time.perf_counter()
        self._sender.put(item)
        try:
            when = await self._wait(sent, item, seconds)
        finally:
            self._inbox.forget(envelope.id, future)
            if telemetry.handlers:
                _tell(envelope, future, time.perf_counter() - began)
        if when is not None:
            raise no_reply(sent, envelope, when)
        return cast(R, result_of(future.result(), sent, digest=envelope.digest))

    async def cast(
        self,
        message: Message[Any],
        *,
        after: timedelta | None = None,
        at: datetime | None = None,
        idempotency_key: str | None = None,
        connection: psycopg.AsyncConnection[Any] | None = None,
        timeout: float | None = None,
    ) -> str:
        """Send and do not wait for the handler: durable when this returns. Returns the message's id."""
        sent = as_message(message, "app.cast")
        seconds = seconds_of(timeout, self._settings.call_timeout)
        due = due_of(f"cast({sent!r})", after=after, at=at)
        later = due != _AT_ONCE
        if connection is not None:
            if later:
                raise ConfigurationError(f"cast({sent!r}) takes one of after=, at= and connection=; give just one.")
            check_connection(sent, connection, psycopg.AsyncConnection, _BLOCKING)
        else:
            check_cast(sent)
        envelope = self._envelope(sent, None, idempotency_key)
        if connection is not None:
            with undone_if_it_fails(sent, connection):
                await connection.execute(*transactional_send([envelope]))
        elif later:
            await self._schedule(sent, envelope, due, seconds)
        else:
            item = Outgoing(envelope, asyncio.get_running_loop().create_future())
            self._sender.put(item)
            when = await self._wait(sent, item, seconds)
            if when is not None:
                raise not_confirmed(sent, envelope, self._url, when)
        return envelope.id

    async def cancel(self, message_id: str) -> bool:
        """Take a message out of the schedule; return whether it was still there."""
        return await cancel(message_id, link=self._sender.link, seconds=self._settings.call_timeout)

    async def reply(self, message_id: str, *, timeout: float | None = None, returns: Any = Any) -> Any:
        """Attach to a message sent before, by anybody: wait for its reply, read as `returns`.

        Raises:
            CallTimeout: there is none yet, or it was read already, or there never was such a message.
            ReplyNotFound: that is no message's id.
            ReplyInvalid: the reply cannot be read as `returns`.
        """
        check_reply(message_id)
        reader, seconds = reader_of(returns), seconds_of(timeout, self._settings.call_timeout)
        future = self._inbox.expect(message_id, attached=True)
        timer = give_up_after(seconds, future)
        try:
            reply = await future
        except TimeoutError as error:
            raise no_such_reply(message_id, str(error)) from None
        finally:
            timer.cancel()
            self._inbox.forget(message_id, future)
        return result_of(reply, None, load=reader.validate_json)

    def _envelope(self, message: Message[Any], origin: str | None, idempotency_key: str | None) -> Envelope:
        if not self._started:
            raise ConfigurationError(
                f"{message!r} was sent while the application was being stopped. Nothing was sent. "
                "Send inside `async with app:` (or `with app.sync() as rv:`)."
            )
        return seal(message, origin=origin, idempotency_key=idempotency_key)

    async def _wait(self, message: Message[Any], item: Outgoing, seconds: float) -> str | None:
        """Wait for the item's future; return None when it has a result, or when the wait ended in doubt.

        Raises:
            RevenantError: the message was certainly not sent; it may be sent again.
        """
        timer = give_up_after(seconds, item.future)
        try:
            await item.future
        except TimeoutError as error:
            if not self._sender.withdraw(item):
                return str(error)
            message.not_sent()
            raise not_sent(message, self._url, str(error), self._sender.link.last_error) from None
        except RevenantError:
            message.not_sent()
            raise
        except asyncio.CancelledError:
            if self._sender.withdraw(item):
                message.not_sent()
            raise
        finally:
            timer.cancel()
        return None

    async def _schedule(self, message: Message[Any], envelope: Envelope, due: Due, seconds: float) -> None:
        link = self._sender.link
        try:
            silence = await schedule(envelope, due, link=link, seconds=seconds, going=lambda: self._started)
        except RevenantError:
            message.not_sent()
            raise
        if silence is None:
            return
        if silence.doubtful:
            raise not_confirmed(message, envelope, self._url, silence.when)
        message.not_sent()
        raise not_sent(message, self._url, silence.when, link.last_error)

    def run(
        self,
        kind: str,
        key: str,
        *,
        read: Callable[[Any], R],
        heard: bool = False,
        decider: DeciderWorkflow[Any, Any] | None = None,
    ) -> Run[R]:
        """Return the handle of a run; `heard` when it is about to be started here."""
        return Run(
            kind=kind,
            key=check_key(kind, key),
            read=read,
            call=lambda message, timeout: self.call(message, timeout=timeout),
            results=self.results,
            records=self.records,
            waiting=self.results.expect(kind, key, heard=True) if heard else None,
            limit=self._settings.max_bytes,
            decider=decider,
        )

    def _hear(self, channel: str, payload: str) -> None:
        if channel == self._result_channel:
            self.results.hear(payload)
        else:
            self._inbox.hear(payload)

    def _look(self) -> None:
        self._inbox.look()
        self.results.look()

    async def _ping(self, channel: str, payload: str) -> None:
        connection = await self._sender.link.connection(seconds=1)
        await notify(connection, [(channel, payload)])


def _tell(envelope: Envelope, future: asyncio.Future[Reply], seconds: float) -> None:
    where = {"kind": envelope.kind, "key": envelope.key, "handler": envelope.handler, "message_id": envelope.id}
    heard = future.done() and not future.cancelled() and future.exception() is None
    status = future.result().status if heard else "unknown"
    telemetry.emit("reply.receive", {"duration": seconds}, {**where, "status": status})
