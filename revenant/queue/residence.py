"""Residence: how a worker that keeps entities in memory visits them, answers their callers, and holds them to flush.

Invariant: every one of them is refused for an entity whose owner and fence are not this worker's any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from revenant.queue.claim import BYTE_LIMIT, ENTITY_LIMIT, MESSAGE_LIMIT
from revenant.queue.records import RELEASED, Claimed, Delivery, Hint, Reply
from revenant.queue.script import array, columns, run_script
from revenant.sql import statement


class Place(NamedTuple):
    """An entity, and the fence by which this worker owns it; 0 where it does not."""

    bucket: int
    kind: str
    key: str
    fence: int


class Look(NamedTuple):
    """One entity of a visit: read its messages from the number `since` on; 0 is all.

    `known` messages up to the number `last` wait there, handled and not flushed: a look at all that counts just as many
    goes on behind them.
    """

    place: Place
    since: int
    known: int
    last: int


@dataclass(frozen=True, slots=True)
class Visited:
    """One entity that this worker owns: with its state where it has just become so, and messages in order."""

    fence: int
    acquired: bool
    claimed: Claimed
    taken_over: bool = False
    """Whether a worker that is dead had it before."""


@dataclass(slots=True)
class Visit:
    """What one visit brought; slots count from 0."""

    now: datetime
    """The database's clock."""
    entities: dict[int, Visited] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    """Slots that this worker owned and owns no more."""
    elsewhere: list[int] = field(default_factory=list)
    """Slots that another live worker owns."""
    newer: list[int] = field(default_factory=list)
    """Slots whose state a newer version of the class wrote."""
    later: dict[int, int] = field(default_factory=dict)
    """Slots that have more messages than were taken, and the number of the next one."""


class Held(NamedTuple):
    """One entity locked for a flush: its row (None: there is none), and the rows of handled messages that are there."""

    slot: int
    tid: str | None
    version: int
    message_tids: list[str]


class Hold(NamedTuple):
    """What a flush has locked, in the transaction `xid`."""

    xid: str
    held: list[Held]


async def visit(
    connection: psycopg.AsyncConnection[Any],
    worker: str,
    looks: Sequence[Look],
    vsns: Mapping[str, int],
    *,
    most: int = ENTITY_LIMIT,
) -> Visit:
    """Become the owner of what nobody alive owns, and read the messages of what this worker owns, in one round trip."""
    if len(looks) == 1 and looks[0].place.fence:
        return await _visit_one(connection, worker, looks, most=most)
    ((now,),), rows = await run_script(
        connection,
        statement("visit_entities"),
        {
            "worker": worker,
            **columns([look.place for look in looks], ("buckets", "kinds", "keys", "fences")),
            "since": array(look.since for look in looks),
            "counts": array(look.known for look in looks),
            "lasts": array(look.last for look in looks),
            "vsns": array(vsns[look.place.kind] for look in looks),
            "entity_limit": most,
            "message_limit": MESSAGE_LIMIT,
            "byte_limit": BYTE_LIMIT,
        },
    )
    found = Visit(now)
    for row in rows:
        _sort(found, looks, row)
    return found


async def _visit_one(
    connection: psycopg.AsyncConnection[Any], worker: str, looks: Sequence[Look], *, most: int
) -> Visit:
    (look,) = looks
    parameters = {
        "worker": worker,
        **look.place._asdict(),
        "since": look.since,
        "known": look.known,
        "last": look.last,
        "message_limit": min(most, MESSAGE_LIMIT),
        "byte_limit": BYTE_LIMIT,
    }
    (rows,) = await run_script(connection, statement("visit_one"), parameters)
    found = Visit(rows[0][17])
    for row in rows:
        if row[1] != "nothing":
            _sort(found, looks, row)
    return found


def _sort(found: Visit, looks: Sequence[Look], row: tuple[Any, ...]) -> None:
    slot = row[0] - 1
    bucket, kind, key, fence = looks[slot].place
    match row[1]:
        case "acquired":
            claimed = Claimed(bucket, kind, key, None, row[3], row[4], row[5], [])
            found.entities[slot] = Visited(row[2], True, claimed, taken_over=row[6] is not None)
        case "claimed":
            if slot not in found.entities:
                found.entities[slot] = Visited(fence, False, Claimed(bucket, kind, key, None, 0, None, None, []))
            done = None if row[13] is None else Reply(row[7], row[13], row[14], row[15], row[16])
            delivery = Delivery._make((row[6], "", *row[7:13], done))
            found.entities[slot].claimed.deliveries.append(delivery)
        case "later":
            found.later[slot] = row[6]
        case other:
            {"lost": found.lost, "elsewhere": found.elsewhere, "newer": found.newer}[other].append(slot)


async def answer(
    connection: psycopg.AsyncConnection[Any], worker: str, places: Sequence[Place], wakes: Sequence[tuple[str, str]]
) -> list[int]:
    """Wake callers: (channel, payload) each; return the slots that this worker has lost, and then nobody was woken."""
    if len(places) == len(wakes) == 1:
        return await _answer_one(connection, worker, places[0], wakes[0])
    (rows,) = await run_script(
        connection,
        statement("answer_callers"),
        {
            "worker": worker,
            **columns(places, ("buckets", "kinds", "keys", "fences")),
            **columns(wakes, ("channels", "payloads")),
        },
    )
    return [slot - 1 for (slot,) in rows]


async def _answer_one(
    connection: psycopg.AsyncConnection[Any], worker: str, place: Place, wake: tuple[str, str]
) -> list[int]:
    parameters = {"worker": worker, **place._asdict(), "channel": wake[0], "payload": wake[1]}
    (((owned,),),) = await run_script(connection, statement("answer_caller"), parameters)
    return [] if owned else [0]


async def hold(
    connection: psycopg.AsyncConnection[Any],
    worker: str,
    places: Sequence[Place],
    *,
    leaving: Sequence[bool],
    handled: Sequence[Mapping[int, str]],
) -> Hold:
    """Open a transaction and lock these entities, in their order; `handled` are messages: the id of each number.

    Those that leave lose their residence with the commit. A slot that is not among the held ones was lost.
    """
    numbers = [(slot, seq, name) for slot, names in enumerate(handled, 1) for seq, name in names.items()]
    _, ((xid,),), rows = await run_script(
        connection,
        statement("hold_residents"),
        {
            "worker": worker,
            **columns(places, ("buckets", "kinds", "keys", "fences")),
            "leaving": array(leaving),
            **columns(numbers, ("slots", "seqs", "ids")),
        },
    )
    return Hold(xid, [Held(row[0] - 1, *row[1:]) for row in rows])


async def release_dead(connection: psycopg.AsyncConnection[Any], worker: str, *, page: int) -> list[Hint]:
    """End the residence of entities whose owners are dead; return hints to those for which messages wait."""
    (rows,) = await run_script(connection, statement("release_dead"), {"worker": worker, "page": page})
    return [Hint._make((*row, RELEASED)) for row in rows]


def lines(replies: Sequence[tuple[Reply, str]], *, desk: str) -> list[tuple[str, str]]:
    """Return (channel, payload) by which callers hear replies that are not committed yet; each with its channel.

    A line is `id status@desk@digest version body`: whoever reads it says so on the channel `desk`.
    """
    pages: list[tuple[str, str]] = []
    open_pages: dict[str, tuple[list[str], int]] = {}
    for reply, channel in replies:
        line = line_of(reply, desk=desk)
        length = len(line.encode()) + 1
        page, size = open_pages.get(channel, ([], 0))
        if page and size + length > MAX_PAYLOAD:
            pages.append((channel, "\n".join(page)))
            page, size = [], 0
        page.append(line)
        open_pages[channel] = (page, size + length)
    return pages + [(channel, "\n".join(page)) for channel, (page, _) in open_pages.items()]


def line_of(reply: Reply, *, desk: str) -> str:
    """Return the line that carries a reply which is not committed yet."""
    digest = reply.digest.hex() if reply.digest is not None else ""
    return f"{reply.id} {reply.status}@{desk}@{digest} {reply.version} {reply.body}"


def fits(reply: Reply) -> bool:
    """Whether a reply can be heard: one that is too long for a notification has to be read in its row."""
    return len(reply.body.encode()) < MAX_PAYLOAD - 400 and "\n" not in reply.body


MAX_PAYLOAD = 7_900
"""Bytes of a notification."""
