"""From what became of each message to what one commit writes: replies, retries, dead letters, sends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import assert_never

from pydantic_core import to_json

from revenant.codec import bucket_of
from revenant.config import Settings
from revenant.entities.context import Effects, Sent
from revenant.entities.outcome import Applied, EntityTurn, Failed, Left, Outcome, Repeated
from revenant.entities.reminder import reminder_row
from revenant.queue.records import (
    Claimed,
    DeadLetter,
    Delivery,
    Envelope,
    Reply,
    Scheduled,
    Settlement,
    StateWrite,
    Touch,
)
from revenant.queue.runs import RUN_ORIGIN, answer_to_run

_LONGEST_BACKOFF = 3600.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """Books outcomes into one settlement, by the rules that the settings say."""

    settings: Settings
    tracebacks: bool

    def book(self, settlement: Settlement, turn: EntityTurn, *, vsn: int) -> None:
        """Add one entity's turn to the commit."""
        claimed = turn.claimed
        applied = 0
        for outcome in turn.outcomes:
            if not isinstance(outcome, Left):
                applied = outcome.delivery.seq
                settlement.consumed.append((outcome.delivery.tid, outcome.delivery.seq))
            self._book_outcome(settlement, turn, outcome)
        if turn.changed:
            settlement.writes.append(
                StateWrite(
                    claimed.tid, claimed.bucket, claimed.kind, claimed.key,
                    claimed.version, turn.version, vsn, turn.state, applied,
                )
            )  # fmt: skip
        if turn.touched and turn.slack is not None:
            settlement.touches.append(Touch(claimed.bucket, claimed.kind, claimed.key, turn.slack))
        settlement.past += turn.past
        for partner, partners_vsn in turn.partners:
            self.book(settlement, partner, vsn=partners_vsn)

    def _book_outcome(self, settlement: Settlement, turn: EntityTurn, outcome: Outcome) -> None:
        delivery = outcome.delivery
        match outcome:
            case Applied():
                self._answer(
                    settlement, delivery, Reply(delivery.id, "ok", outcome.version, outcome.body, delivery.digest)
                )
                if outcome.effects is not None:
                    _book_effects(settlement, outcome.effects)
            case Failed():
                self._fail(settlement, turn, outcome)
            case Repeated():
                if outcome.reply is not None and _asked_by_run(delivery):
                    self._answer_run(settlement, delivery, outcome.reply)
                elif delivery.origin is not None and outcome.reply is not None:
                    settlement.wakes.setdefault(delivery.origin, []).append(outcome.reply)
            case Left():
                pass
            case _:
                assert_never(outcome)

    def _answer_run(self, settlement: Settlement, delivery: Delivery, reply: Reply) -> None:
        assert delivery.origin is not None
        settlement.sends.append(answer_to_run(delivery.origin, reply))

    def _answer(self, settlement: Settlement, delivery: Delivery, reply: Reply) -> None:
        if _asked_by_run(delivery):
            self._answer_run(settlement, delivery, reply)
            return
        if delivery.origin is not None:
            settlement.wakes.setdefault(delivery.origin, []).append(reply)
        if delivery.digest is not None:
            settlement.replies.append((reply, self.settings.receipt_ttl))
        elif delivery.origin is not None:
            settlement.replies.append((reply, self.settings.reply_ttl))

    def _fail(self, settlement: Settlement, turn: EntityTurn, failed: Failed) -> None:
        delivery, claimed = failed.delivery, turn.claimed
        attempts = delivery.attempts + 1
        if delivery.origin is not None:
            details = {**failed.error, "traceback": failed.traceback} if self.tracebacks else failed.error
            body = to_json(details).decode()
            self._answer(settlement, delivery, Reply(delivery.id, "error", failed.version, body, delivery.digest))
            if failed.error["error"] == "HandlerCrashed":
                # What killed workers is kept for a person to look at; its caller knows that it has failed.
                error = to_json({**failed.error, "answered": True}).decode()
                settlement.burials.append(_dead(claimed, delivery, attempts, error))
        elif failed.final or attempts >= self.settings.cast_attempts:
            error = to_json({**failed.error, "traceback": failed.traceback}).decode()
            settlement.burials.append(_dead(claimed, delivery, attempts, error))
            if delivery.digest is not None:
                self._answer(settlement, delivery, Reply(delivery.id, "error", failed.version, error, delivery.digest))
        else:
            delay = min(self.settings.cast_backoff * 2 ** min(attempts - 1, 60), _LONGEST_BACKOFF)
            settlement.schedules.append(
                Scheduled(
                    claimed.bucket, claimed.kind, claimed.key, delivery.id, delivery.handler, delivery.args,
                    delivery.digest, attempts, delay * random.uniform(0.75, 1.25), None,  # noqa: S311 # jitter, not a secret
                )
            )  # fmt: skip


def _asked_by_run(delivery: Delivery) -> bool:
    return delivery.origin is not None and delivery.origin.startswith(RUN_ORIGIN)


def _book_effects(settlement: Settlement, effects: Effects) -> None:
    for sent in effects.sends:
        _send(settlement, sent)
    settlement.reminders += map(reminder_row, effects.reminders)
    settlement.cancels += effects.cancelled


def _dead(claimed: Claimed, delivery: Delivery, attempts: int, error: str) -> DeadLetter:
    return DeadLetter(
        claimed.bucket, claimed.kind, claimed.key, delivery.id, delivery.handler, delivery.args, delivery.digest,
        attempts, error,
    )  # fmt: skip


def _send(settlement: Settlement, sent: Sent) -> None:
    message = sent.message
    bucket = bucket_of(message.kind, message.key)
    envelope = Envelope(
        bucket, message.kind, message.key, sent.id, message.handler, message.args, origin=None, digest=None
    )
    if sent.after is None and sent.at is None:
        settlement.sends.append(envelope)
    else:
        settlement.schedules.append(Scheduled(*envelope[:6], None, 0, sent.after, sent.at))
