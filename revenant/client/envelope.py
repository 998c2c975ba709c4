"""A message made ready to travel: with its bucket and its id, by which its reply is found."""

from __future__ import annotations

from typing import Any

from revenant.codec import bucket_of, digest_of, keyed_id, new_id
from revenant.entities.message import Message
from revenant.queue.records import Envelope


def seal(message: Message[Any], *, origin: str | None, idempotency_key: str | None) -> Envelope:
    """Return the envelope of a message, which counts as sent from now on; `origin` None makes it a cast."""
    message.sent()
    kind, key = message.kind, message.key
    bucket = bucket_of(kind, key)
    if idempotency_key is None:
        return Envelope(bucket, kind, key, new_id(bucket), message.handler, message.args, origin, None)
    digest = digest_of(message.handler, message.args)
    made = keyed_id(kind, key, idempotency_key)
    return Envelope(bucket, kind, key, made, message.handler, message.args, origin, digest)
