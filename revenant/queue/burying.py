"""Burying: a person takes waiting messages out of a mailbox. They are kept as dead letters, and their callers are told.

Invariant: a message leaves the mailbox in the commit that keeps it; a turn that has it in hand is refused its commit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from uuid import uuid4

from pydantic_core import to_json

from revenant.codec import bucket_of
from revenant.config import Settings
from revenant.queue.claim import give_back
from revenant.queue.records import DeadLetter, Reply, Settlement
from revenant.queue.runs import RUN_ORIGIN, answer_to_run
from revenant.queue.script import array, run_script
from revenant.queue.settle import settle
from revenant.queue.views import PAGE, Connection, Row, fetch
from revenant.sql import statement


class Mailbox(NamedTuple):
    """Whose messages."""

    kind: str
    key: str


class Waiting(NamedTuple):
    """A message in a mailbox, as it is held."""

    tid: str
    seq: int
    id: str
    handler: str
    args: str
    origin: str | None
    digest: bytes | None
    attempts: int


class Kept(NamedTuple):
    """Nothing was taken out: the entity lives in the memory of a worker, which has its messages in hand."""

    worker: str


async def mailbox(connection: Connection, kind: str, key: str) -> AsyncIterator[list[Row]]:
    """Yield the messages that wait for an entity, in their order, in pages."""
    bucket, after = bucket_of(kind, key), 0
    query = statement("list_mailbox")
    while page := await fetch(connection, query, bucket=bucket, kind=kind, key=key, after=after, page=PAGE):
        after = page[-1]["seq"]
        yield page


async def bury_waiting(
    connection: Connection, box: Mailbox, ids: Sequence[str] | None, *, by: str, reason: str | None, settings: Settings
) -> list[str] | Kept:
    """Take these messages out, or a page of all, for `by` and with a reason; return the ids of those that waited."""
    place = {"bucket": bucket_of(*box), "kind": box.kind, "key": box.key, "hand": str(uuid4())}
    which = {"ids": None, "page": PAGE} if ids is None else {"ids": array(ids), "page": None}
    try:
        *_, owners, messages = await run_script(connection, statement("hold_waiting"), {**place, **which})
        owner, alive, host, pid = owners[0]
        held = [Waiting(*row) for row in messages]
        if alive or not held:
            await give_back(connection)
            return Kept(f"{owner} ({host}, process {pid})") if alive else []
        await run_script(connection, statement("let_go"), place)
        await settle(connection, _settlement(box, held, by, reason, settings))
    except BaseException:
        await connection.close()
        raise
    return [one.id for one in held]


def _settlement(box: Mailbox, held: Sequence[Waiting], by: str, reason: str | None, settings: Settings) -> Settlement:
    made, bucket = Settlement(), bucket_of(*box)
    for one in held:
        why = f": {reason}" if reason else ""
        text = (
            f"Message {one.id}, {box.kind}({box.key!r}).{one.handler}, was taken out of its mailbox by {by}{why}. It "
            "was not handled, and is kept as a dead letter; send it anew once it fits."
        )
        error = {"error": "MessageBuried", "type": "MessageBuried", "message": text}
        kept = to_json({**error, "by": by, "answered": True} if one.origin is not None else {**error, "by": by})
        made.consumed.append((one.tid, one.seq))
        made.burials.append(
            DeadLetter(
                bucket, *box, one.id, one.handler, one.args, one.digest, max(1, one.attempts), kept.decode()
            )
        )  # fmt: skip
        reply = Reply(one.id, "error", 0, to_json(error).decode(), one.digest)
        if one.origin is not None and one.origin.startswith(RUN_ORIGIN):
            made.sends.append(answer_to_run(one.origin, reply))
            continue
        if one.origin is not None:
            made.wakes.setdefault(one.origin, []).append(reply)
        if one.digest is not None or one.origin is not None:
            made.replies.append((reply, settings.reply_ttl if one.digest is None else settings.receipt_ttl))
    return made
