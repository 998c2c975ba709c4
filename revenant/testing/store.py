"""Store: the rows, mailboxes and replies of a memory application, changed as Postgres' would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from revenant.codec import bucket_of, new_id
from revenant.entities.address import Address
from revenant.entities.jsonb import as_stored
from revenant.entities.lifetime import EXPIRE
from revenant.queue.history import PastRow
from revenant.queue.records import Claimed, DeadLetter, Delivery, Envelope, Reply, Settlement, StateWrite, Touch
from revenant.testing.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Row:
    """One entity's row."""

    version: int
    vsn: int
    state: str
    since: datetime
    """When it was written last."""
    touched: datetime
    """When a message reached it last."""


class Store:
    """What the database keeps; `now` tells the time."""

    def __init__(self, *, now: Callable[[], datetime], timetable: Timetable) -> None:
        self._now = now
        self.timetable = timetable
        self.rows: dict[Address, Row] = {}
        self.dead: list[DeadLetter] = []
        self.past: dict[Address, list[PastRow]] = {}
        self._mail: dict[Address, dict[int, Delivery]] = {}
        self._places: dict[int, Address] = {}
        self._replies: dict[str, tuple[Reply, datetime]] = {}
        self._count = 0

    def put(self, envelope: Envelope, attempts: int = 0) -> int:
        """Put a message into its mailbox; return its number."""
        self._count += 1
        address = Address(envelope.kind, envelope.key)
        _, _, _, made, handler, args, origin, digest = envelope
        self._mail.setdefault(address, {})[self._count] = Delivery(
            self._count, str(self._count), made, handler, args, origin, digest, attempts, None
        )
        self._places[self._count] = address
        return self._count

    def release(self) -> None:
        """Move what is due into the mailboxes."""
        for envelope, attempts in self.timetable.take_due(self._now()):
            self.put(envelope, attempts)

    def waiting(self, address: Address | None = None) -> list[tuple[int, Address]]:
        """Return the messages that wait, in the order in which they came: their numbers, and whom they are for."""
        return sorted((seq, to) for seq, to in self._places.items() if address in (None, to))

    def claim(self, address: Address) -> Claimed:
        """Return an entity's row and messages, as a turn gets them."""
        row = self.rows.get(address)
        deliveries = [
            one._replace(done=self.reply(one.id) if one.digest is not None else None)
            for one in self._mail.get(address, {}).values()
        ]
        place = (bucket_of(*address), *address)
        if row is None:
            return Claimed(*place, tid=None, version=0, vsn=None, state=None, deliveries=deliveries)
        return Claimed(*place, "here", row.version, row.vsn, row.state, deliveries)

    def reply(self, message_id: str) -> Reply | None:
        """Return the reply that is kept for a message."""
        reply, until = self._replies.get(message_id, (None, None))
        return None if until is None or until <= self._now() else reply

    def forget_reply(self, message_id: str) -> None:
        """It was read."""
        self._replies.pop(message_id, None)

    def settle(self, settlement: Settlement) -> None:
        """Write what a turn did."""
        now = self._now()
        self._write_rows(settlement, now)
        for seq in [seq for _, seq in settlement.consumed] + [one.seq for one in settlement.taken]:
            # The last hook's is none of the mailbox.
            if seq:
                self._take_out(seq)
        for reply, seconds in settlement.replies:
            self._replies[reply.id] = (reply, now + timedelta(seconds=seconds))
        for envelope in settlement.sends:
            self.put(envelope)
        self.dead += settlement.burials
        self._keep_time(settlement, now)

    def _take_out(self, seq: int) -> None:
        address = self._places.pop(seq)
        del self._mail[address][seq]
        if not self._mail[address]:
            del self._mail[address]

    def expire(self, idle: Iterable[tuple[str, timedelta]]) -> None:
        """Tell the entities that nobody has sent to for long to end."""
        lengths, now = dict(idle), self._now()
        for address, row in self.rows.items():
            length = lengths.get(address.kind)
            if length is None or row.touched >= now - length or self._mail.get(address):
                continue
            if not self.timetable.has_any(address):
                bucket, args = bucket_of(*address), f'{{"version": {row.version}}}'
                self.put(Envelope(bucket, *address, new_id(bucket), EXPIRE, args, origin=None, digest=None))

    def _write_rows(self, settlement: Settlement, now: datetime) -> None:
        for past in settlement.past:
            state = None if past.state is None else as_stored(past.state)
            kept = PastRow(past.version, past.vsn, state, now, past.handler, past.message)
            self.past.setdefault(Address(past.kind, past.key), []).append(kept)
        for write in settlement.writes:
            self._write(write, now)
        for touch in settlement.touches:
            self._touch(touch, now)

    def _keep_time(self, settlement: Settlement, now: datetime) -> None:
        for row in settlement.schedules:
            self.timetable.schedule(row, now)
        for reminder in settlement.reminders:
            self.timetable.remind(reminder)
        for message_id in settlement.cancels:
            self.timetable.cancel(message_id)

    def _write(self, write: StateWrite, now: datetime) -> None:
        address = Address(write.kind, write.key)
        if write.state is None:
            self.rows.pop(address, None)
        else:
            self.rows[address] = Row(write.version, write.vsn, as_stored(write.state), now, now)

    def _touch(self, touch: Touch, now: datetime) -> None:
        address = Address(touch.kind, touch.key)
        row = self.rows.get(address)
        if row is not None and now - row.touched > timedelta(seconds=touch.slack):
            self.rows[address] = replace(row, touched=now)
