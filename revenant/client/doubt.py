"""Doubt: what a sender is told when no answer came: what is unknown, and what may safely be done about it."""

from __future__ import annotations

from typing import Any

from revenant.entities.message import Message
from revenant.errors import CallTimeout, DatabaseUnavailable
from revenant.queue.connection import unavailable
from revenant.queue.records import Envelope
from revenant.sql import address


def no_reply(message: Message[Any], envelope: Envelope, when: str) -> CallTimeout:
    """Return the error of a call that may have been handled."""
    waits = f"app.reply({envelope.id!r}) waits on for it"
    if envelope.digest is None:
        safe = f"{waits}; to send a new one, without an idempotency_key, may do it twice."
    else:
        safe = f"{waits}, and so does the same call with the same idempotency_key, which counts once."
    return CallTimeout(
        f"{message.kind}({message.key!r}).{message.handler} has no reply {when}. Whether it was handled is unknown: "
        "the message may wait for a live worker of its kind (`revenant workers` lists them), its handler may still run "
        "(workers give it handler_timeout, 10 s unless it is set; timeout= waits longer), or its reply may be on its "
        f"way. {safe}",
        message_id=envelope.id,
    )


def no_such_reply(message_id: str, when: str) -> CallTimeout:
    """Return the error of somebody who attached to a message."""
    return CallTimeout(
        f"Message {message_id} has no reply {when}. Whether it was handled is unknown: it may still wait, its reply "
        "may have been read already, or it was a cast, which has none. `revenant ls --waiting` shows what waits.",
        message_id=message_id,
    )


def not_confirmed(message: Message[Any], envelope: Envelope, url: str, when: str) -> DatabaseUnavailable:
    """Return the error of a cast that may have been stored."""
    if envelope.digest is None:
        safe = "to send it again, without an idempotency_key, may do it twice"
    else:
        safe = "the same cast with the same idempotency_key counts once"
    return DatabaseUnavailable(
        f"{message!r} was not confirmed by Postgres at {address(url)} {when}. Whether it is stored, as message "
        f"{envelope.id}, is unknown; {safe}. `revenant ls --waiting` shows what waits."
    )


def not_sent(message: Message[Any], url: str, when: str, cause: BaseException | None) -> DatabaseUnavailable:
    """Return the error of a message that has certainly not left; it may be sent again."""
    error = unavailable(url, cause or TimeoutError(f"no connection {when}"))
    return DatabaseUnavailable(f"{message!r} was not sent. {error}")
