"""Overhead: the library's own processor time for one call, without a database: what the client and a worker really run.

The driver, Postgres and the event loop are not in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from revenant.app import Revenant
from revenant.bench.counter import BenchCounter
from revenant.bench.tally import Tally
from revenant.client.envelope import seal
from revenant.client.inbox import Inbox
from revenant.client.outcome import result_of
from revenant.client.sender import Outgoing
from revenant.entities.context import Job, Turn
from revenant.entities.message import Message
from revenant.entities.turn import Rules, run_turn
from revenant.queue.claim import read_rows
from revenant.queue.link import Link
from revenant.queue.mailbox import waking
from revenant.queue.records import Claim, Claimed, Delivery, Envelope, Hint, Mark, Reply, Settlement
from revenant.queue.script import columns
from revenant.queue.settle import parameters, payloads
from revenant.worker.lanes.cache import Cache
from revenant.worker.lanes.guard import Guard
from revenant.worker.lanes.ledger import Ledger

AT_ONCE = 64
"""Messages that share a batch, a turn and a notification; each is of another entity."""
WARM_UP_ROUNDS = 5
XID = "7"
"""The transaction that is said to have written every state."""
CHANNEL = "revenant_reply_bench"
NOWHERE = "postgresql://nowhere.invalid/"


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the way cost, over all messages."""

    side: str
    """`client`, `worker` or `reply`: the sum that it belongs to."""
    words: str
    seconds: float


@dataclass(frozen=True, slots=True)
class OverheadResult:
    """What `bench overhead` measured."""

    messages: int
    parts: Sequence[Part]
    tally: Tally

    def micros(self, *sides: str) -> float:
        """Return the microseconds for one message, of those sides, or of all."""
        seconds = sum(part.seconds for part in self.parts if not sides or part.side in sides)
        return seconds / self.messages * 1e6


@dataclass(slots=True)
class _Sent:
    """One message on its way, as its caller holds it."""

    message: Message[int]
    item: Outgoing
    future: asyncio.Future[Reply]


@dataclass(slots=True)
class _Clock:
    """Processor time by part: `lap` ends one, which began with the last."""

    since: float = field(default_factory=time.process_time)
    parts: dict[tuple[str, str], float] = field(default_factory=dict)

    def start(self) -> None:
        self.since = time.process_time()

    def lap(self, side: str, words: str) -> None:
        now = time.process_time()
        self.parts[side, words] = self.parts.get((side, words), 0.0) + now - self.since
        self.since = time.process_time()


class _NoSql:
    """The isolation of handlers that do not touch the database."""

    used = False

    def open(self) -> NoReturn:
        raise NotImplementedError("The benchmark's handlers use no SQL.")

    async def release(self) -> None:
        """Nothing was done."""

    async def rollback(self) -> None:
        """Nothing was done."""

    def end_loan(self) -> None:
        """Nothing was lent."""

    def abandon(self) -> None:
        """Nothing was lent."""


class _Way:
    """The way of a batch of calls: out, through a worker, and back."""

    def __init__(self, app: Revenant) -> None:
        self._app = app
        self._read: list[str] = []
        self._inbox = Inbox(
            link=Link(url=NOWHERE, role="bench"),
            read=lambda ids, _desks: self._read.extend(ids),
            listening=lambda: True,
        )
        self._ledger = Ledger(app.settings, False)
        self._cache = Cache(limit=app.settings.cache_bytes)
        self._guard = Guard(seconds=app.settings.handler_timeout, condemned={})
        self._states: dict[str, tuple[int, str | None]] = {}
        self._now = datetime.now(UTC)

    async def round(self, keys: Sequence[str], clock: _Clock) -> int:
        """Send a call to each entity and read its reply; return the sum of the replies."""
        clock.start()
        messages = [self._app.ref(BenchCounter, key).add(1) for key in keys]
        clock.lap("client", "arguments validated and written")
        sent = [self._send(message) for message in messages]
        columns([way.item.envelope for way in sent], Envelope._fields)
        clock.lap("client", "enveloped, and put into a batch")
        hints = [Hint(*way.item.envelope[:3], seq) for seq, way in enumerate(sent, 1)]
        clock.start()
        warm = self._cache.take(hints)
        clock.lap("worker", "looked up in its memory")
        rows = self._claimed([way.item.envelope for way in sent], warm.marks)
        clock.start()
        claim = read_rows(rows, hints, Claim(xid=XID, now=self._now))
        clock.lap("worker", "read from its mailbox")
        settlement = Settlement()
        rules = self._rules()
        done = []
        for entity in claim.entities:
            instance = warm.instance(BenchCounter, entity, limit=rules.limit, prove=rules.prove)
            done.append(await run_turn(BenchCounter, entity, rules, instance=instance))
        clock.lap("worker", "arguments read, handled, state and result written, state proven")
        for turn in done:
            self._ledger.book(settlement, turn, vsn=1)
        pages = [page for replies in settlement.wakes.values() for page in payloads(replies)]
        parameters(settlement)
        waking([(CHANNEL, page) for page in pages])
        clock.lap("worker", "booked, and put into a commit")
        warm.keep(XID)
        clock.lap("worker", "kept in its memory")
        for page in pages:
            self._inbox.hear(page)
        values = [result_of(way.future.result(), way.message) for way in sent]
        clock.lap("reply", "heard and read")
        self._states = {turn.claimed.key: (turn.version, turn.state) for turn in done}
        return sum(values)

    def _send(self, message: Message[int]) -> _Sent:
        envelope = seal(message, origin=CHANNEL, idempotency_key=None)
        future = self._inbox.expect(envelope.id)
        return _Sent(message, Outgoing(envelope, future), future)

    def _claimed(self, envelopes: Sequence[Envelope], known: Sequence[Mark]) -> list[tuple[Any, ...]]:
        """Return what Postgres would: the rows of claim_v2 for these messages, all by one transaction."""
        rows: list[tuple[Any, ...]] = []
        for slot, (envelope, mark) in enumerate(zip(envelopes, known, strict=True), 1):
            version, state = self._states.get(envelope.key, (0, None))
            tid, writer = f"(0,{slot})", int(XID)
            is_known = version > 0 and mark == Mark(version, writer)
            row = (tid, version, 1, None if is_known else state) if version else (None, 0, None, None)
            delivery = (slot, tid, envelope.id, envelope.handler, envelope.args, envelope.origin, envelope.digest, 0)
            rows.append((slot, "claimed", *row, *delivery, None, None, None, None, writer, is_known))
        return rows

    def _rules(self) -> Rules:
        isolation, limit = _NoSql(), self._app.settings.max_bytes

        def new_turn(claimed: Claimed, delivery: Delivery) -> Turn:
            return Turn(
                kind=claimed.kind, key=claimed.key, message_id=delivery.id, attempt=delivery.attempts + 1,
                now=self._now, isolation=isolation, limit=limit,
            )  # fmt: skip

        return Rules(
            new_turn=new_turn,
            guard=self._guard,
            spent=lambda: False,
            condemned=lambda _: None,
            served_elsewhere=_nowhere,
            isolation=isolation,
            defer=_no_jobs,
            limit=limit,
        )


async def _nowhere(*_: str) -> bool:
    return False


async def _no_jobs(_: Sequence[Job]) -> None:
    """The benchmark's handlers defer none."""


async def measure_overhead(*, messages: int) -> OverheadResult:
    """Send `messages` calls through the library, in rounds of 64, to entities that a worker has in memory already."""
    way = _Way(Revenant(entities=[BenchCounter], database_url=NOWHERE))
    keys = [f"bench/entity-{number}" for number in range(AT_ONCE)]
    for _ in range(WARM_UP_ROUNDS):
        await way.round(keys, _Clock())
    rounds, clock = -(-messages // AT_ONCE), _Clock()
    total = 0
    for _ in range(rounds):
        total += await way.round(keys, clock)
    numbers = range(WARM_UP_ROUNDS + 1, WARM_UP_ROUNDS + rounds + 1)
    return OverheadResult(
        messages=rounds * AT_ONCE,
        parts=[Part(side, words, seconds) for (side, words), seconds in clock.parts.items()],
        # The n-th call of an entity returns n.
        tally=Tally(expected=AT_ONCE * sum(numbers), total=total),
    )


def overhead_as_json(result: OverheadResult) -> dict[str, object]:
    """Return the figures by the names of `--json`: microseconds of processor time for one message."""
    sides = ("client", "worker", "reply")
    return {
        **{f"{side}_us": round(result.micros(side), 2) for side in sides},
        "total_us": round(result.micros(), 2),
        "messages": result.messages,
        "errors": abs(result.tally.expected - result.tally.total),
    }
