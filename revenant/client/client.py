"""Client: call, cast and reply. A reply is a commit receipt; a time-out means unknown, never failed."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import psycopg
from pydantic import TypeAdapter

from revenant.client.envelope import seal
from revenant.client.inbox import Inbox
from revenant.client.outcome import result_of
from revenant.client.sender import STOPPED, Outgoing, Sender, back_off, is_lost, meaning_of
from revenant.codec import is_id, new_id
from revenant.config import Settings
from revenant.entities.context import refuse_nested_call, running
from revenant.entities.message import Message
from revenant.errors import CallTimeout, ConfigurationError, DatabaseUnavailable, ReplyNotFound
from revenant.queue.connection import unavailable
from revenant.queue.listener import Listener
from revenant.queue.mailbox import notify, schedule_batch, transactional_send
from revenant.queue.records import Envelope, Scheduled
from revenant.sql import address

R = TypeVar("R")


class Client:
    """Sends messages for one process, over two connections."""

    def __init__(self, *, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._channel = f"revenant_reply_{os.urandom(8).hex()}"
        self._sender = Sender(url=url)
        self._inbox = Inbox(link=self._sender.link, read=self._sender.read, listening=lambda: self._listener.listening)
        self._listener = Listener(
            url=url,
            role="listener",
            channels=[self._channel],
            ping=self._ping,
            on_payload=lambda _, payload: self._inbox.hear(payload),
            on_connect=self._inbox.look,
        )
        self._started = False

    async def start(self) -> None:
        """Begin; Postgres need not be reachable yet."""
        await self._sender.start()
        await self._listener.start()
        await self._inbox.start()
        self._started = True

    async def stop(self) -> None:
        """Send what waits, for a moment, and hang up; safe before start and twice.

        Whoever still waits hears that the outcome is unknown, or that the message was not sent.
        """
        self._started = False
        await self._inbox.stop()
        await self._listener.stop()
        await self._sender.stop()

    async def call(self, message: Message[R], *, timeout: float | None = None, idempotency_key: str | None = None) -> R:
        """Send and wait: returns once one transaction has committed all that the handler did.

        Raises:
            HandlerError: the handler raised; the state is as before.
            CallTimeout: nothing is known yet.
            DatabaseUnavailable: the message was never sent.
        """
        if running.get() is not None:
            refuse_nested_call(message)
        envelope = self._envelope(message, self._channel, idempotency_key)
        future = self._inbox.expect(envelope.id)
        item = Outgoing(envelope, future)
        self._sender.put(item)
        seconds = self._settings.call_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                reply = await future
        except TimeoutError as error:
            raise self._timed_out(message, item, _when(error, limit, seconds)) from None
        finally:
            self._inbox.forget(envelope.id, future)
        return cast(R, result_of(reply, message, digest=envelope.digest))

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
        if running.get() is not None and connection is None:
            raise ConfigurationError(
                f"{message.sent()!r} was cast through the application inside a handler: it would leave even if "
                "the turn fails. Use self.turn.cast(message), which leaves with the turn's commit."
            )
        envelope = self._envelope(message, None, idempotency_key)
        if after is not None or at is not None:
            return await self._schedule(message, envelope, after=after, at=at, connection=connection)
        if connection is not None:
            if not isinstance(connection, psycopg.AsyncConnection):
                raise ConfigurationError(
                    f"cast({message!r}, connection=…) needs a psycopg.AsyncConnection, not a "
                    f"{type(connection).__name__}. Nothing was sent. Blocking connections go through "
                    "`with app.sync() as rv: rv.cast(…)`."
                )
            await connection.execute(*transactional_send([envelope]))
            return envelope.id
        item = Outgoing(envelope, asyncio.get_running_loop().create_future())
        self._sender.put(item)
        seconds = self._settings.call_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                await item.future
        except TimeoutError as error:
            raise self._not_confirmed(message, item, _when(error, limit, seconds)) from None
        return envelope.id

    async def reply(self, message_id: str, *, timeout: float | None = None, returns: Any = Any) -> Any:
        """Attach to a message sent before, by anybody: wait for its reply, read as `returns`.

        Raises:
            CallTimeout: there is none yet, or it was read already, or there never was such a message.
            ReplyNotFound: that is no message's id.
        """
        if not is_id(message_id):
            raise ReplyNotFound(
                f"{message_id!r} is no message's id. Pass what app.cast() returned, or a CallTimeout's message_id."
            )
        future = self._inbox.expect(message_id, attached=True)
        seconds = self._settings.call_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                reply = await future
        except TimeoutError as error:
            raise CallTimeout(
                f"Message {message_id} has no reply {_when(error, limit, seconds)}. Whether it was handled is "
                "unknown: it may still wait, its reply may have been read already, or it was a cast, which has none. "
                "`revenant ls --waiting` shows what waits.",
                message_id=message_id,
            ) from None
        finally:
            self._inbox.forget(message_id, future)
        return result_of(reply, None, load=TypeAdapter(returns).validate_json)

    def _envelope(self, message: Message[Any], origin: str | None, idempotency_key: str | None) -> Envelope:
        if not self._started:
            raise ConfigurationError(
                f"{message.sent()!r} was sent before the application was started. "
                "Send inside `async with app:` (or `with app.sync() as rv:`)."
            )
        return seal(message, origin=origin, idempotency_key=idempotency_key)

    async def _schedule(
        self,
        message: Message[Any],
        envelope: Envelope,
        *,
        after: timedelta | None,
        at: datetime | None,
        connection: psycopg.AsyncConnection[Any] | None,
    ) -> str:
        if (after is None) == (at is None) or connection is not None:
            raise ConfigurationError(f"cast({message!r}) takes one of after=, at= and connection=; give just one.")
        if at is not None and at.tzinfo is None:
            raise ConfigurationError(f"cast({message!r}, at=…) needs a datetime with a time zone.")
        row = Scheduled(*envelope[:6], envelope.digest, 0, after.total_seconds() if after else None, at)
        if row.delay is None and row.due is None:
            row = row._replace(delay=0.0)
        batch, link = new_id(0), self._sender.link
        failures, doubtful = 0, False
        seconds = self._settings.call_timeout
        when = f"after {seconds:g} s"
        try:
            async with asyncio.timeout(seconds):
                while self._started:
                    live = None
                    try:
                        live = await link.connection()
                        await schedule_batch(live, batch=batch, rows=[row])
                        return envelope.id
                    except Exception as error:  # noqa: BLE001 # told, or tried again
                        if not is_lost(error) and not doubtful:
                            raise meaning_of(error, self._url) from None
                        # As in Sender: after a try that was lost, a refusal does not say that nothing was stored.
                        doubtful = doubtful or live is not None
                        if live is not None:
                            await link.reset(error, only=live)
                        await back_off(failures)
                        failures += 1
            when = "before the application was stopped"
        except TimeoutError:
            pass
        raise DatabaseUnavailable(
            f"{message!r} was not confirmed by Postgres at {address(self._url)} {when}. "
            "Whether it is scheduled is unknown; send it again with an idempotency_key, so that it counts once."
        )

    def _timed_out(self, message: Message[Any], item: Outgoing, when: str) -> Exception:
        if self._sender.withdraw(item):
            return self._unreached(message, when)
        return CallTimeout(
            f"{message.kind}({message.key!r}).{message.handler} has no reply {when}. Whether it was "
            "handled is unknown: the message may wait for a live worker of its kind (`revenant workers` lists "
            "them), or its reply may be on its way. Ask again with the same idempotency_key, or attach with "
            f"app.reply({item.envelope.id!r}).",
            message_id=item.envelope.id,
        )

    def _not_confirmed(self, message: Message[Any], item: Outgoing, when: str) -> Exception:
        if self._sender.withdraw(item):
            return self._unreached(message, when)
        return DatabaseUnavailable(
            f"{message!r} was not confirmed by Postgres at {address(self._url)} {when}. "
            "Whether it is stored is unknown; send it again with an idempotency_key to be sure that it counts once."
        )

    def _unreached(self, message: Message[Any], when: str) -> Exception:
        cause = self._sender.link.last_error or TimeoutError(f"no connection {when}")
        error = unavailable(self._url, cause)
        return DatabaseUnavailable(f"{message!r} was not sent. {error}")

    async def _ping(self, channel: str, payload: str) -> None:
        connection = await self._sender.link.connection(seconds=1)
        await notify(connection, [(channel, payload)])


def _when(error: TimeoutError, limit: asyncio.Timeout, seconds: float) -> str:
    if error.args == (STOPPED,):
        return "before the application was stopped"
    if not limit.expired():
        raise error
    return f"after {seconds:g} s"
