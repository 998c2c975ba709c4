"""Flush: all that some residents have done since their last flush, in one transaction, if this worker still owns them.

Invariant: what another worker has taken over is left out, and its memory dropped; an ambiguous commit is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from revenant.errors import Conflict
from revenant.queue.claim import give_back
from revenant.queue.link import Link
from revenant.queue.records import Claim, Settlement
from revenant.queue.residence import Held, Hold, hold
from revenant.queue.traces import take_traces
from revenant.worker.jobs import defer_jobs
from revenant.worker.lanes.commit import commit
from revenant.worker.residents.resident import Resident


@dataclass(slots=True)
class Flushed:
    """What became of the residents of one flush."""

    written: list[Resident] = field(default_factory=list)
    lost: list[tuple[Resident, Conflict]] = field(default_factory=list)
    """Those that this worker may not write any more, and why."""


async def flush(link: Link, worker: str, residents: Sequence[Resident]) -> Flushed:
    """Flush these residents; those that leave lose their residence with the same commit.

    Raises:
        Conflict: nothing was written; the memory may be kept, and flushed again.
        psycopg.Error: as Conflict.
    """
    connection = await link.connection()
    ordered = sorted(residents, key=lambda resident: resident.place)
    held = await hold(
        connection,
        worker,
        [resident.place for resident in ordered],
        leaving=[resident.leaving for resident in ordered],
        handled=[resident.seqs for resident in ordered],
    )
    flushed = Flushed()
    settlement = _settlement(ordered, held, flushed)
    jobs = [job for resident in flushed.written for job in resident.jobs]
    if not flushed.written:
        await give_back(connection)
        return flushed
    if traced := [name for resident in flushed.written for name in resident.traced]:
        # Not before: whoever handles the messages again, should this worker die, links to the same senders.
        await take_traces(connection, traced)
    if jobs:
        await defer_jobs(connection, jobs)
    entities = [resident.instance.claimed for resident in flushed.written]
    await commit(connection, Claim(entities, xid=held.xid), settlement, link=link)
    return flushed


def _settlement(ordered: Sequence[Resident], held: Hold, flushed: Flushed) -> Settlement:
    settlement = Settlement()
    found = {one.slot: one for one in held.held}
    for slot, resident in enumerate(ordered):
        conflict = _conflict(resident, found.get(slot))
        if conflict is not None:
            flushed.lost.append((resident, conflict))
            continue
        resident.write_to(settlement, found[slot])
        flushed.written.append(resident)
    return settlement


def _conflict(resident: Resident, held: Held | None) -> Conflict | None:
    what = f"{resident.place.kind}({resident.place.key!r})"
    dropped = "Nothing was written, what this worker kept of it is dropped, and its messages are handled again."
    if held is None:
        return Conflict(f"{what} is owned by another worker now, which took it for dead: {dropped}")
    if held.version != resident.stored or len(held.message_tids) != len(resident.seqs):
        return Conflict(
            f"{what} was changed by somebody else: its row is at version {held.version}, and was at {resident.stored}; "
            f"{len(resident.seqs) - len(held.message_tids)} of its messages are gone. {dropped}"
        )
    return None
