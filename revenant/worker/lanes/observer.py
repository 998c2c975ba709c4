"""Observer: what a worker does, told to telemetry and to the log; never a payload, nor an exception's words."""

from __future__ import annotations

import logging

from pydantic_core import from_json

from revenant import telemetry
from revenant.entities.context import Turn
from revenant.queue.records import DeadLetter, Reply, Scheduled, Settlement

log = logging.getLogger("revenant.turn")


def begun(turn: Turn, handler: str) -> None:
    """A handler is about to run, in this very context."""
    telemetry.emit("message.start", {}, _name(turn, handler))


def handled(turn: Turn, handler: str, seconds: float, error: BaseException | None) -> None:
    """A handler has ended; what it did is not committed yet."""
    outcome, name = ("ok", None) if error is None else ("error", type(error).__qualname__)
    told = {**_name(turn, handler), "outcome": outcome, "error": name}
    if telemetry.handlers:
        telemetry.emit("message.handle", {"duration": seconds}, told)
    level = logging.DEBUG if error is None else logging.INFO
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s(%r).%s: message %s, attempt %d, %s after %.1f ms.",
            *(turn.kind, turn.key, handler, turn.message_id, turn.attempt, name or "done", seconds * 1000),
            extra={**told, "duration": round(seconds, 6)},
        )


def given_up(turn: Turn, handler: str, seconds: float, grace: float) -> None:
    """A handler went on after its cancellation, and its turn was taken away from it."""
    log.error(
        "%s(%r).%s, message %s, did not end when it was cancelled after %g s, nor in %g s more: it is given up, and "
        "its message fails. It swallows asyncio.CancelledError: replace `except:` and `except BaseException` by "
        "`except Exception` around what it awaits.",
        *(turn.kind, turn.key, handler, turn.message_id, seconds, grace),
        extra=_name(turn, handler),
    )


def _name(turn: Turn, handler: str) -> dict[str, object]:
    return {
        "kind": turn.kind, "key": turn.key, "handler": handler, "message_id": turn.message_id, "attempt": turn.attempt,
    }  # fmt: skip


def committed(settlement: Settlement, entities: int, seconds: float) -> None:
    """A turn is committed; its commit took so many seconds."""
    for letter in settlement.burials:
        _buried(letter)
    if not telemetry.handlers:
        return
    sizes = {"messages": len(settlement.consumed), "replies": len(settlement.replies), "sends": len(settlement.sends)}
    telemetry.emit("turn.commit", {"duration": seconds, "entities": entities, **sizes}, {})
    for write in settlement.writes:
        size = 0 if write.state is None else len(write.state.encode())
        told = {"kind": write.kind, "key": write.key, "vsn": write.vsn, "deleted": write.state is None}
        telemetry.emit("state.commit", {"bytes": size, "version": write.version}, told)
    for reply, _ in settlement.replies:
        _replied(reply)
    for sent in settlement.sends:
        where = {"kind": sent.kind, "key": sent.key, "handler": sent.handler, "message_id": sent.id}
        telemetry.emit("message.send", {"bytes": len(sent.args.encode())}, {**where, "call": False, "by": "turn"})
    for scheduled in settlement.schedules:
        _scheduled(scheduled)


def refused(settlement: Settlement) -> None:
    """A turn was refused its commit: the rows are not as it had locked them."""
    for write in settlement.writes:
        telemetry.emit("state.conflict", {"version": write.expected}, {"kind": write.kind, "key": write.key})


def lost(kind: str, key: str, version: int) -> None:
    """What this worker kept of an entity is not written: somebody else owns it, or has written it."""
    telemetry.emit("state.conflict", {"version": version}, {"kind": kind, "key": key})


def _replied(reply: Reply) -> None:
    size = len(reply.body.encode())
    telemetry.emit("reply.commit", {"bytes": size}, {"message_id": reply.id, "status": reply.status})


def _scheduled(later: Scheduled) -> None:
    told = {"kind": later.kind, "key": later.key, "handler": later.handler, "message_id": later.id}
    if later.attempts:
        telemetry.emit("message.retry", {"attempts": later.attempts, "delay": later.delay or 0.0}, told)
    else:
        telemetry.emit("message.schedule", {"bytes": len(later.args.encode())}, told)


def _buried(letter: DeadLetter) -> None:
    error = from_json(letter.error).get("error")
    told = {
        "kind": letter.kind, "key": letter.key, "handler": letter.handler, "message_id": letter.id, "error": error,
    }  # fmt: skip
    log.warning(
        "%s(%r).%s: message %s is a dead letter after %d attempt(s): %s. `revenant dead show` has its error.",
        *(letter.kind, letter.key, letter.handler, letter.id, letter.attempts, error),
        extra={**told, "attempt": letter.attempts},
    )
    telemetry.emit("dead_letter.keep", {"attempts": letter.attempts}, told)
