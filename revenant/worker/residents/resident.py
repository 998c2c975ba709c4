"""Resident: one relaxed entity in this worker's memory, and what it has done that is not flushed yet.

Invariant: what is here is what its row, its fence and the messages that still wait for it make of it, and no more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from revenant import telemetry
from revenant.entities.context import Job
from revenant.entities.entity import Entity
from revenant.entities.instance import Instance
from revenant.entities.outcome import EntityTurn, Failed, Left
from revenant.queue.records import Claimed, Delivery, Reply, Settlement, StateWrite
from revenant.queue.residence import Held, Place, fits
from revenant.queue.runs import RUN_ORIGIN
from revenant.worker.agenda import Key
from revenant.worker.lanes.ledger import Ledger

MOST_PENDING = 10_000
"""Messages of one entity that wait for a flush at most."""
STRICT_ORIGIN = "revenant_strict_"
"""How the channels begin on which callers wait for replies that are on disk."""


@dataclass(slots=True)
class Answer:
    """A reply that was given before its commit, and that nobody has said to have heard."""

    reply: Reply
    channel: str
    seconds: float | None
    """How long its row is to be kept; None where the flush writes the row anyhow."""
    tries: int = 0
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class Resident:
    """One entity that lives here."""

    place: Place
    instance: Instance
    stored: int
    """The version of its row; 0: it has none."""
    pending: Settlement = field(default_factory=Settlement)
    seqs: dict[int, str] = field(default_factory=dict)
    """The messages that are handled and still in the mailbox: the id of each number."""
    handled: dict[str, Reply | None] = field(default_factory=dict)
    unheard: dict[str, Answer] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    traced: list[str] = field(default_factory=list)
    """The ids of messages whose traces go with the flush; none where nobody traces."""
    used_at: float = field(default_factory=time.monotonic)
    urgent: bool = False
    """Whether somebody waits for the flush: it comes at once."""
    leaving: bool = False
    """Whether it leaves memory with its next flush."""
    sent_off: bool = False
    """Whether its last hook has run."""
    looked_at: float = 0.0
    """When, by the monotonic clock, all of its mailbox was looked at."""
    refused: int = 0
    """Flushes in a row that were refused."""

    @classmethod
    def of(cls, definition: type[Entity], place: Place, claimed: Claimed, *, limit: int, prove: bool) -> Resident:
        """Return the entity as its row was read; `limit` (bytes) and `prove` are the worker's settings."""
        return cls(place, Instance(definition, claimed, limit, prove=prove), claimed.version)

    @property
    def key(self) -> Key:
        """What it is known by in this process."""
        return self.place.kind, self.place.key

    @property
    def definition(self) -> type[Entity]:
        """Its class."""
        return self.instance.definition

    @property
    def changed(self) -> bool:
        """Whether its row has to be written."""
        return self.instance.version != self.stored or (self.instance.ended and self.stored > 0)

    @property
    def next_number(self) -> int:
        """The number after the message that was handled last; 0 where all that waits is new."""
        return next(reversed(self.seqs), -1) + 1

    @property
    def clean(self) -> bool:
        """Whether there is nothing to flush."""
        return not (self.seqs or self.changed or self.jobs or self.pending != Settlement())

    def receive(self, deliveries: Sequence[Delivery]) -> Claimed:
        """Return what a turn is given: the entity as it stands, and these messages."""
        instance = self.instance
        instance.claimed = instance.claimed._replace(
            version=instance.version,
            # Its text was read; from then on the instance has it.
            state=instance.claimed.state if instance.text is None else None,
            deliveries=list(deliveries),
        )
        return instance.claimed

    def book(self, done: EntityTurn, ledger: Ledger) -> list[tuple[Reply, str]]:
        """Take in what a turn did; return the replies that may be given at once, each with its channel."""
        self.used_at = time.monotonic()
        pending = self.pending
        known = len(pending.replies)
        ledger.book(pending, done, vsn=self.definition.entity_vsn)
        # The row is written at the flush, whatever it is then; what was handled leaves the mailbox with it.
        pending.writes.clear()
        del pending.touches[:-1]
        # 0 is the hook's, which is no message.
        names = {outcome.delivery.seq: outcome.delivery.id for outcome in done.outcomes}
        self.seqs.update((seq, names[seq]) for _, seq in pending.consumed if seq)
        pending.consumed.clear()
        if telemetry.carrier is not None:
            self.traced += [one.delivery.id for one in done.outcomes if not isinstance(one, Left)]
        wakes, pending.wakes = pending.wakes, {}
        if self._must_flush(done, wakes):
            self.urgent = True
        if self.urgent:
            pending.wakes = wakes
            return []
        kept = {reply.id: seconds for reply, seconds in pending.replies[known:] if reply.digest is None}
        # A reply that is heard needs no row, unless it is a receipt.
        pending.replies[known:] = [(reply, ttl) for reply, ttl in pending.replies[known:] if reply.digest is not None]
        answers = [(reply, channel) for channel, replies in wakes.items() for reply in replies]
        for reply, channel in answers:
            self.unheard[reply.id] = Answer(reply, channel, kept.get(reply.id))
        return answers

    def _must_flush(self, done: EntityTurn, wakes: dict[str, list[Reply]]) -> bool:
        return (
            len(self.seqs) >= MOST_PENDING
            or any(channel.startswith(STRICT_ORIGIN) for channel in wakes)
            # A run waits, and hears of it by a message, which leaves with the flush.
            or any((outcome.delivery.origin or "").startswith(RUN_ORIGIN) for outcome in done.outcomes)
            or not all(fits(reply) for replies in wakes.values() for reply in replies)
            # A cast that failed is tried again after a time that counts from now.
            or any(isinstance(outcome, Failed) and outcome.delivery.origin is None for outcome in done.outcomes)
        )

    def write_to(self, settlement: Settlement, held: Held) -> None:
        """Add all that is pending to a flush, for which this entity's row and messages are locked."""
        settlement.absorb(self.pending)
        settlement.replies += [
            (answer.reply, answer.seconds) for answer in self.unheard.values() if answer.seconds is not None
        ]
        settlement.consumed += zip(held.message_tids, sorted(self.seqs), strict=True)
        if self.changed:
            instance = self.instance
            settlement.writes.append(
                StateWrite(
                    held.tid, *self.place[:3], self.stored, instance.version, self.definition.entity_vsn,
                    instance.text if instance.version else None, max(self.seqs, default=0),
                )
            )  # fmt: skip

    def was_flushed(self) -> None:
        """Forget what is in the database now."""
        self.stored = self.instance.version
        self.instance.ended = False
        self.pending = Settlement()
        self.seqs = {}
        self.handled = {}
        self.unheard = {}
        self.jobs = []
        self.traced = []
        self.urgent = False
        self.sent_off = False
        self.refused = 0
