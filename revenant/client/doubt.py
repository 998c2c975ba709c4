"""Doubt: what a sender is told when no answer came: what is unknown, and what may safely be done about it."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from revenant.codec import RUN_KIND
from revenant.entities.message import Message
from revenant.errors import CallTimeout, DatabaseUnavailable
from revenant.queue.connection import unavailable
from revenant.queue.records import Envelope
from revenant.queue.runs import result_id
from revenant.sql import address


def no_reply(message: Message[Any], envelope: Envelope, when: str) -> CallTimeout:
    """Return the error of a call that may have been handled."""
    if message.kind.startswith(RUN_KIND):
        return _no_answer(message, envelope, when)
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


def _no_answer(message: Message[Any], envelope: Envelope, when: str) -> CallTimeout:
    """Return the error of what was sent to a run: most of it has a key of its own, and may be sent again."""
    workflow = message.kind.removeprefix(RUN_KIND)
    what = f"Run {message.key!r} of {workflow}"
    said = "was not confirmed to be started" if message.handler == "start" else f"has not answered {message.handler!r}"
    again, args = _AGAIN.get(message.handler, "To send it again may do it twice"), from_json(message.args)
    code = workflow if args.get("version") is None else f"version {args['version']} of {workflow}"
    if message.handler in ("signal", "update") and args.get("id") is None:
        again = (
            f"The same {message.handler} again, without an id, may count twice: app.reply({envelope.id!r}) waits on "
            "for this one; the next one is safe with an id of its own"
        )
    return CallTimeout(
        f"{what} {said} {when}. Whether the message was taken is unknown: it may wait for a live worker that serves "
        f"{code} (`revenant workers` lists them), or the answer may be on its way. {again}.",
        message_id=envelope.id,
    )


_AGAIN = {
    "start": "The same start again is safe, and is the same run: the id is the key",
    "signal": "The same signal again is safe: with its id it counts once",
    "update": "The same update again is safe: with its id it counts once, and has the same answer",
    "decide": "The same decision again is safe: one is recorded",
    "cancel": "Look where it stands before you cancel it again: of a run that goes on that is done once, and one "
    "that is blocked before it could undo what it did is ended by another cancel, and does not undo it",
    "park": "To park it again is safe: it is done once",
    "resume": "To resume it again is safe: it is done once",
    "requeue": "To requeue it again is safe: what goes on is left as it is",
    "migrate": "To migrate it again is safe: it is done once",
}


def no_result(kind: str, key: str, when: str, *, known: bool | None) -> CallTimeout:
    """Return the error of somebody who waited for a run's end; `known` says whether it has begun, None: who knows."""
    workflow = kind.removeprefix(RUN_KIND)
    if known is False:
        truth = (
            f"There is no such run yet. Start it, look at the id, or have a worker serve {workflow} (`revenant "
            "workers` lists them)."
        )
    else:
        doubt = "It has not ended" if known else "What has become of it is not known now"
        truth = f"{doubt}: run.result() waits on, and `revenant run show` tells where it is."
    return CallTimeout(
        f"Run {key!r} of {workflow} has no result {when}. {truth}",
        message_id=result_id(kind, key),
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
