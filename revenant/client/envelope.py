"""A message made ready to travel: with its bucket and its id, by which its reply is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from revenant import telemetry
from revenant.codec import bucket_of, digest_of, keyed_id, new_id
from revenant.entities.message import Message
from revenant.queue.records import Envelope


def seal(message: Message[Any], *, origin: str | None, idempotency_key: str | None) -> Envelope:
    """Return the envelope of a message, which counts as sent from now on; `origin` None makes it a cast.

    Raises:
        AlreadySent: it was sent before, and not with this idempotency key.
        InvalidKey: that is no idempotency key.
    """
    kind, key = message.sent().kind, message.key
    bucket = bucket_of(kind, key)
    if idempotency_key is None:
        made, digest = new_id(bucket), None
    else:
        made, digest = keyed_id(kind, key, idempotency_key), digest_of(message.handler, message.args)
    message.send_as(made, keyed=digest is not None)
    if telemetry.handlers:
        where = {
            "kind": kind,
            "key": key,
            "handler": message.handler,
            "message_id": made,
            "call": origin is not None,
            "by": "client",
        }
        telemetry.emit("message.send", {"bytes": len(message.args.encode())}, where)
    return Envelope(bucket, kind, key, made, message.handler, message.args, origin, digest)


@contextmanager
def undone_if_it_fails(
    message: Message[Any], connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]
) -> Iterator[None]:
    """Let a message be sent again if its statement failed inside a transaction, which is undone with it."""
    try:
        yield
    except psycopg.Error:
        if not connection.autocommit:
            message.not_sent()
        raise
