"""A reply read: the handler's value, or the error that it stands for, raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from revenant.codec import explain
from revenant.entities.message import Message
from revenant.errors import IdempotencyConflict, ReplyInvalid
from revenant.queue.failures import error_of
from revenant.queue.records import Reply


def result_of(
    reply: Reply,
    message: Message[Any] | None,
    *,
    digest: bytes | None = None,
    load: Callable[[str], Any] | None = None,
) -> Any:
    """Return the value of a reply, or raise the error that it carries.

    Raises:
        IdempotencyConflict: the reply belongs to another message that was sent with the same idempotency key.
        ReplyInvalid: the value is not of the type that is expected here.
    """
    if digest is not None and reply.digest != digest:
        conflict = IdempotencyConflict(
            f"The idempotency key of {message!r} was used before, for another handler or other arguments. "
            "The first message's effect and reply stand; use a key of its own for this one."
        )
        conflict.replied = True
        raise conflict
    if reply.status == "error":
        error = error_of(from_json(reply.body))
        error.replied = True
        raise error
    read = load or (message.load if message is not None else from_json)
    try:
        return read(reply.body)
    except ValidationError as error:
        raise ReplyInvalid(
            f"The reply to {message or 'message ' + reply.id!r} does not fit the type that it is read as here: "
            f"{explain(error)[1]}. The message was handled, and its effect stands. The worker may run another version "
            "of the class; the reply's JSON is this error's `body`.",
            body=reply.body,
        ) from None
