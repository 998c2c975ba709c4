"""What travels between the client, the mailbox and the turn: plain rows.

They are named tuples, not dataclasses: a batch becomes the columns of one statement by `zip(*batch)`, and one is made
in a third of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import NamedTuple


class Envelope(NamedTuple):
    """A message on its way into a mailbox; the order of fields is that of `send_v1`."""

    bucket: int
    kind: str
    key: str
    id: str
    handler: str
    args: str
    """JSON: an object of named arguments, or an array of positional ones."""
    origin: str | None
    """The channel on which the caller waits; None for a cast."""
    digest: bytes | None
    """What an idempotency key was given for; None without one."""


class Hint(NamedTuple):
    """A wake-up: this entity has a message of that number. 0 stands for 'look at all of its mailbox'."""

    bucket: int
    kind: str
    key: str
    seq: int


RELEASED = 1
"""The number in a hint to an entity that nobody keeps in memory any more, and for which messages wait."""


class Mark(NamedTuple):
    """What tells one stored state of an entity from all others: its version, and the low 32 bits of who wrote it."""

    version: int | None
    writer: int | None


class Taken(NamedTuple):
    """A message of a run that leaves its mailbox. By its id, too: a crash of Postgres gives numbers away again."""

    tid: str
    seq: int
    id: str


class Delivery(NamedTuple):
    """A message as a turn sees it."""

    seq: int
    tid: str
    id: str
    handler: str
    args: str
    origin: str | None
    digest: bytes | None
    attempts: int
    done: Reply | None
    """The reply that this idempotency key already has."""

    @property
    def taken(self) -> Taken:
        """What takes it out of its mailbox."""
        return Taken(self.tid, self.seq, self.id)


class Reply(NamedTuple):
    """What a caller gets, once it is committed."""

    id: str
    status: str
    """`ok`, or `error` with a body of {"type", "message", …}."""
    version: int
    """The entity's version after the message."""
    body: str
    """JSON."""
    digest: bytes | None = None


class Scheduled(NamedTuple):
    """A message that becomes due later: `delay` seconds from now, or at `due`; the order of `schedule_v2`."""

    bucket: int
    kind: str
    key: str
    id: str
    handler: str
    args: str
    digest: bytes | None
    attempts: int
    delay: float | None
    due: datetime | None


class DeadLetter(NamedTuple):
    """A cast that failed for the last time; the order of fields is that of `bury_v1`."""

    bucket: int
    kind: str
    key: str
    id: str
    handler: str
    args: str
    digest: bytes | None
    attempts: int
    error: str


class ReminderWrite(NamedTuple):
    """A reminder to set; without `due`, one to cancel; without `name`, all of that entity. The order of `remind_v1`."""

    bucket: int
    kind: str
    key: str
    name: str | None
    due: datetime | None = None
    every: float | None = None
    cron: str | None = None
    timezone: str | None = None
    missed: str | None = None
    to_bucket: int | None = None
    to_kind: str | None = None
    to_key: str | None = None
    handler: str | None = None
    args: str | None = None


class Touch(NamedTuple):
    """A message reached an entity that would expire else; noted where the last note is older than `slack` seconds."""

    bucket: int
    kind: str
    key: str
    slack: float


class Past(NamedTuple):
    """A version of an entity that keeps a history, and the message that made it; the order of `record_history_v1`."""

    bucket: int
    kind: str
    key: str
    seq: int
    version: int
    """0: it was deleted."""
    vsn: int
    state: str | None
    message: str
    handler: str


class Claimed(NamedTuple):
    """One entity that a turn holds: its row as locked, and its messages in order."""

    bucket: int
    kind: str
    key: str
    tid: str | None
    """Where the row is; None while the entity has none."""
    version: int
    vsn: int | None
    state: str | None
    deliveries: list[Delivery]
    writer: int = 0
    """The transaction that wrote the row, as its low 32 bits; 0 where that was not asked for."""
    known: bool = False
    """Whether the state is the one that was said to be known, and was therefore not read."""

    def bare(self) -> Claimed:
        """Return the row alone, without its state and its messages, to be kept."""
        return Claimed(self.bucket, self.kind, self.key, self.tid, self.version, self.vsn, None, [], self.writer)


@dataclass(slots=True)
class Claim:
    """What one claim brought: entities held, and those to come back to."""

    entities: list[Claimed] = field(default_factory=list)
    locked: list[int] = field(default_factory=list)
    """Slots (from 0) that another turn holds right now."""
    later: list[int] = field(default_factory=list)
    """Slots that have more messages than were taken."""
    newer: list[int] = field(default_factory=list)
    """Slots whose state a newer version of the class wrote."""
    xid: str = ""
    """The transaction, by which an ambiguous commit is looked up."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The database's clock at the start of the turn."""


class StateWrite(NamedTuple):
    """One entity's new row; `state` None deletes it. The order of fields is that of `settle_v1`."""

    tid: str | None
    bucket: int
    kind: str
    key: str
    expected: int
    version: int
    vsn: int
    state: str | None
    applied: int


@dataclass(slots=True)
class Settlement:
    """All that one turn did, for one commit."""

    writes: list[StateWrite] = field(default_factory=list)
    consumed: list[tuple[str, int]] = field(default_factory=list)
    """(tid, seq) of each message that leaves its mailbox, of entities: whoever reads them has them locked."""
    taken: list[Taken] = field(default_factory=list)
    """The messages of runs that leave their mailboxes."""
    replies: list[tuple[Reply, float]] = field(default_factory=list)
    """With the seconds that each is kept for."""
    sends: list[Envelope] = field(default_factory=list)
    schedules: list[Scheduled] = field(default_factory=list)
    burials: list[DeadLetter] = field(default_factory=list)
    reminders: list[ReminderWrite] = field(default_factory=list)
    """In order."""
    cancels: list[str] = field(default_factory=list)
    """Ids of messages that are not to become due."""
    touches: list[Touch] = field(default_factory=list)
    past: list[Past] = field(default_factory=list)
    """Versions for the histories of the kinds that keep one, in order."""
    wakes: dict[str, list[Reply]] = field(default_factory=dict)
    """Replies by the channel that waits for them."""

    def absorb(self, other: Settlement) -> None:
        """Add what another did, which then comes after all of this."""
        for known in fields(self):
            if known.name != "wakes":
                getattr(self, known.name).extend(getattr(other, known.name))
        for channel, replies in other.wakes.items():
            self.wakes.setdefault(channel, []).extend(replies)
