"""Runs: how a worker visits them and appends to their streams, and how a reply finds its way to the run that asked.

Invariant: an append is refused for a run whose stream or fence is not as its writer has read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from pydantic_core import from_json, to_json

from revenant.codec import bucket_of, keyed_id, new_id
from revenant.queue.claim import BYTE_LIMIT, MESSAGE_LIMIT, give_back
from revenant.queue.mailbox import WAKE_CHANNEL, send, waking
from revenant.queue.records import Delivery, Envelope, Hint, Reply, Settlement
from revenant.queue.script import array, columns, run_script
from revenant.queue.settle import FENCED, bury, payloads, run_parameters
from revenant.queue.timetable import keep_time
from revenant.sql import statement

RUN_ORIGIN = "revenant_run "
"""How the origin of a message begins whose reply is to reach a run: then [kind, key, operation] as JSON."""
_RESULT_CHANNEL = "revenant_result_"
_REPLY_CHANNEL = "revenant_reply_"


class Known(NamedTuple):
    """What a worker knows of a run: its stream, how many events that has, and by which fence."""

    run: str | None
    seq: int
    fence: int
    owned: bool


UNKNOWN = Known(None, 0, 0, False)


class Head(NamedTuple):
    """Where a run stands, by its row."""

    run: str
    seq: int
    fence: int
    status: str
    version: int
    recoveries: int
    origin: str | None
    digest: bytes


class Stood(NamedTuple):
    """A run's snapshot: the events that it covers, and what they came to, as JSON text."""

    seq: int
    text: str


@dataclass(slots=True)
class VisitedRun:
    """What a visit found of one run."""

    verdict: str
    """`free`, `ours`, `dead` (its owner is), `elsewhere` (another live worker owns it), `later`."""
    head: Head | None
    """None: there is no such run yet."""
    known: bool
    """Whether what the worker knows is all there is."""
    more: bool = False
    """Whether there may be more messages than were taken."""
    deliveries: list[Delivery] = field(default_factory=list)
    events: list[tuple[int, str, int | None, datetime, str]] = field(default_factory=list)
    """(seq, type, op, at, data as JSON text)."""
    progress: dict[int, str] = field(default_factory=dict)
    """What steps that have not ended have said of themselves, as JSON text, by operation."""
    snapshot: Stood | None = None
    """Where it stood before these events; None: they are all there are."""


class RunWrite(NamedTuple):
    """A run's row after an append; the order of `append_runs_v2`."""

    bucket: int
    kind: str
    key: str
    run: str | None
    """The stream as it was read; None: there was none."""
    stream: str
    """The stream that is appended to."""
    expected: int
    seq: int
    fence: int
    take: bool
    """Whether its writer did not own it until now: then the fence counts one up."""
    owned: bool
    version: int
    status: str
    recoveries: int
    digest: bytes
    origin: str | None
    parent: str | None
    waits: str | None
    view: str | None
    problem: str | None
    keep: float | None


class EventWrite(NamedTuple):
    """One event to append; `slot` (from 1) says which of the runs it belongs to."""

    slot: int
    seq: int
    type: str
    op: int | None
    at: str
    data: str


RUN_COLUMNS = (
    "run_buckets", "run_kinds", "run_keys", "runs", "streams", "run_expected", "run_seqs", "fences", "takes", "owned",
    "run_versions", "statuses", "recoveries", "digests", "origins", "parents", "waits", "views", "problems", "keeps",
)  # fmt: skip
EVENT_COLUMNS = ("slots", "event_seqs", "types", "ops", "ats", "datas")


class Lost(NamedTuple):
    """An append was refused, and nothing was written: these runs are not as they were read."""

    slots: list[int]
    """Which, from 0; empty where nobody knows."""
    why: str


async def visit_runs(
    connection: psycopg.AsyncConnection[Any],
    worker: str,
    hints: Sequence[Hint],
    known: Sequence[Known],
    *,
    forced: Sequence[bool],
    formats: Sequence[str | None],
) -> tuple[datetime, list[VisitedRun]]:
    """Return the database's clock, and what there is to be done about each of these runs, in their order.

    Those that are `forced` are read although no message waits for them. `formats` says of each which snapshots can be
    read in place of events; None: none.
    """
    ((now,),), rows = await run_script(
        connection,
        statement("visit_runs"),
        {
            "worker": worker,
            **columns([hint[:3] for hint in hints], ("buckets", "kinds", "keys")),
            **columns(known, ("known_runs", "known_seqs", "known_fences", "owned")),
            "forced": array(forced),
            "formats": array(formats),
            "message_limit": MESSAGE_LIMIT,
            "byte_limit": BYTE_LIMIT,
        },
    )
    found: list[VisitedRun] = []
    for slot, part, seq, tid, id, name, body, origin, digest, fence, op, at, version, verdict in rows:
        if part == "head":
            head = None if id is None else Head(id, seq, fence, name, version, op, origin, digest)
            found.append(VisitedRun(verdict, head, tid == "known"))
        elif part == "message":
            found[slot - 1].deliveries.append(Delivery(seq, tid, id, name, body, origin, digest, 0, None))
        elif part == "progress":
            found[slot - 1].progress[op] = body
        elif part == "more":
            found[slot - 1].more = True
        elif part == "later":
            found[slot - 1].verdict = "later"
        elif part == "snapshot":
            found[slot - 1].snapshot = Stood(seq, body)
        else:
            found[slot - 1].events.append((seq, name, op, at, body))
    return now, found


async def append_runs(
    connection: psycopg.AsyncConnection[Any],
    worker: str,
    runs: Sequence[RunWrite],
    events: Sequence[EventWrite],
    settlement: Settlement,
    *,
    before_commit: Sequence[Any] = (),
    begun: bool = False,
) -> Lost | None:
    """Append to the streams of these runs, and commit that together with all that the settlement holds.

    One round trip, unless messages are sent, scheduled or cancelled as well. `before_commit` are functions that are
    awaited inside the transaction, with its connection; `begun`: it is open already. Returns what was lost; None: all
    is committed. Whatever else is raised, nothing was written, and no transaction is open.
    """
    head = {"worker": worker, **columns(runs, RUN_COLUMNS), **columns(events, EVENT_COLUMNS)}
    wakes = [(channel, page) for channel, replies in settlement.wakes.items() for page in payloads(replies)]
    more = settlement.sends or settlement.schedules or settlement.cancels or settlement.burials or before_commit
    append = ("" if begun else statement("begin_append") + "\n") + statement("append_runs")
    try:
        if not more:
            wake, listeners = waking(wakes)
            script = append + "\n" + statement("settle_runs") + wake
            await run_script(connection, script, {**head, **run_parameters(settlement), **listeners})
            return None
        await run_script(connection, append, head)
        if settlement.sends:
            wakes += [(WAKE_CHANNEL, hint) for hint in await send(connection, settlement.sends)]
        wakes += await keep_time(connection, settlement)
        await bury(connection, settlement.burials)
        for make in before_commit:
            await make(connection)
        wake, listeners = waking(wakes)
        await run_script(connection, statement("settle_runs") + wake, {**run_parameters(settlement), **listeners})
    except Exception as error:
        if connection.closed:
            raise
        await give_back(connection)
        if not isinstance(error, psycopg.DatabaseError) or error.sqlstate != FENCED:
            raise
        slots = [int(slot) - 1 for slot in (error.diag.message_detail or "").split(",") if slot]
        return Lost(slots, error.diag.message_primary or "")
    return None


async def read_heads(
    connection: psycopg.AsyncConnection[Any], runs: Sequence[RunWrite]
) -> Mapping[int, tuple[str, int, int, datetime]]:
    """Return (stream, events, fence, moment of the last one) of those of these runs that there are, by place from 0."""
    (rows,) = await run_script(
        connection, statement("read_heads"), columns([run[:3] for run in runs], ("buckets", "kinds", "keys"))
    )
    return {slot - 1: (run, seq, fence, at) for slot, run, seq, fence, at in rows}


async def read_results(
    connection: psycopg.AsyncConnection[Any], runs: Sequence[tuple[int, str, str]]
) -> Mapping[int, tuple[int, str, datetime, str]]:
    """Return the last events, (seq, type, at, data as JSON text), of those of these runs that have ended, by place."""
    (rows,) = await run_script(connection, statement("read_results"), columns(runs, ("buckets", "kinds", "keys")))
    return {slot - 1: (seq, type, at, data) for slot, _, seq, type, at, data in rows}


async def read_view(connection: psycopg.AsyncConnection[Any], kind: str, key: str) -> str | None:
    """Return what a run's code shows, as JSON text; None: there is no such run."""
    parameters = {"bucket": bucket_of(kind, key), "kind": kind, "key": key}
    row = await (await connection.execute(statement("read_view"), parameters)).fetchone()
    return None if row is None else row[0] or "null"


async def read_run(
    connection: psycopg.AsyncConnection[Any], kind: str, key: str
) -> list[tuple[int, str, int | None, datetime, str]]:
    """Return a run's events, (seq, type, op, at, data as JSON text), in order; none where there is no such run."""
    parameters = {"bucket": bucket_of(kind, key), "kind": kind, "key": key}
    return await (await connection.execute(statement("read_run"), parameters)).fetchall()


async def find_dead_runs(
    connection: psycopg.AsyncConnection[Any], worker: str, *, newest: Mapping[str, int], page: int
) -> list[Hint]:
    """Return hints to runs whose owner is dead: of these kinds, each with the newest version that is wanted of it."""
    given = {"worker": worker, "kinds": array(newest), "newest": array(newest.values()), "page": page}
    (rows,) = await run_script(connection, statement("find_dead_runs"), given)
    return [Hint(bucket, kind, key, 0) for bucket, kind, key in rows]


def run_origin(kind: str, key: str, operation: int) -> str:
    """Return the origin of a message whose reply is to reach an operation of a run."""
    return RUN_ORIGIN + to_json([kind, key, operation]).decode()


def answer_to_run(origin: str, reply: Reply) -> Envelope:
    """Return the message by which a reply reaches the run that asked for it; it leaves with the turn's commit."""
    kind, key, operation = from_json(origin.removeprefix(RUN_ORIGIN))
    bucket = bucket_of(kind, key)
    head = to_json({"op": operation, "id": reply.id, "status": reply.status}).decode()
    args = f'{head[:-1]},"body":{reply.body}}}'
    return Envelope(bucket, kind, key, new_id(bucket), "answer", args, None, None)


def result_id(kind: str, key: str) -> str:
    """Return the id under which the result of a run is told."""
    return keyed_id(kind, key, "result")


def result_channel(origin: str) -> str | None:
    """Return the channel on which whoever started a run waits for its result; None: nobody does."""
    if not origin.startswith(_REPLY_CHANNEL):
        return None
    return _RESULT_CHANNEL + origin.removeprefix(_REPLY_CHANNEL)
