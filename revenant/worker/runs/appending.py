"""Appending: what runs have come to, written in one commit; one of them that somebody else has costs only itself.

Invariant: what is not known to be committed is looked up, and appended again only where it certainly was not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import psycopg

from revenant.config import Settings
from revenant.entities.context import Job
from revenant.queue.connection import refuses_data
from revenant.queue.link import Link, brief
from revenant.queue.mailbox import notify
from revenant.queue.progress import drop_progress
from revenant.queue.records import Settlement
from revenant.queue.runs import EventWrite, Lost, RunWrite, append_runs, read_heads, result_channel
from revenant.queue.settle import id_payloads
from revenant.queue.snapshots import SnapshotWrite, write_snapshots
from revenant.queue.tasks import TaskKey, TaskWrite, forget_streams, write_tasks
from revenant.worker.jobs import defer_jobs
from revenant.worker.runs.late import known_replies, unknown
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.telling import tell_committed
from revenant.workflows.draft import Draft
from revenant.workflows.events import RUN_MIGRATED, STEP_ENDS, STEP_SUCCEEDED, Event
from revenant.workflows.results import result_reply
from revenant.workflows.snapshot import FORMAT

log = logging.getLogger("revenant.runs")
LOST = (psycopg.OperationalError, psycopg.InterfaceError, OSError)


@dataclass(slots=True)
class Append:
    """One run's part in a commit."""

    staged: Staged
    draft: Draft
    write: RunWrite

    def committed(self) -> None:
        """Take note that it is in the database."""
        staged, write = self.staged, self.write
        staged.stream, staged.seq, staged.owned = write.stream, write.seq, write.owned
        staged.fence = write.fence + int(write.take)
        tell_committed(staged.live, self.draft.events)


class Appending:
    """Writes what the runs of one runner have come to."""

    def __init__(self, *, link: Link, worker: str, settings: Settings) -> None:
        self._link = link
        self._worker = worker
        self._settings = settings

    async def append(self, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
        """Commit what these runs have come to; return the parts that are committed, and the runs that others have.

        Raises:
            psycopg.Error: Postgres refused what one of them holds; nothing was written.
            Exception: one of them holds what cannot be written, or a job that cannot be deferred; nor was anything.
        """
        left = sorted(parts, key=lambda part: part.write[:3])
        lost: list[Staged] = []
        while left:
            connection = await self._link.connection()
            try:
                refused = await self._commit(connection, left)
            except psycopg.errors.UniqueViolation as error:
                await self._leave_out_known_replies(left, error)
                continue
            except LOST as error:
                if refuses_data(error) or isinstance(error, psycopg.errors.LockNotAvailable):
                    raise
                await self._link.reset(error, only=connection)
                written = await self._written(left)
                if not written:
                    continue
                # All of them were one transaction: those that differ have been gone on with by somebody else since.
                lost += [part.staged for part in left if part not in written]
                left = written
            else:
                if refused is not None and not refused.slots and len(left) > 1:
                    return await self._one_by_one(left, lost)
                if refused is not None:
                    gone = set(refused.slots) or {0}
                    lost += [part.staged for slot, part in enumerate(left) if slot in gone]
                    left = [part for slot, part in enumerate(left) if slot not in gone]
                    continue
            for part in left:
                part.committed()
            break
        return left, lost

    async def _one_by_one(self, parts: Sequence[Append], lost: list[Staged]) -> tuple[list[Append], list[Staged]]:
        """One of these is not as it was read, and nobody knows which."""
        done: list[Append] = []
        for part in parts:
            written, gone = await self.append([part])
            done += written
            lost += gone
        return done, lost

    async def append_within(self, connection: psycopg.AsyncConnection[Any], part: Append) -> bool:
        """Commit one run's part in the transaction that is open there; return false if somebody else has the run.

        Raises:
            psycopg.Error: nothing was written; or nobody knows, and the next append will be refused if it was.
        """
        try:
            refused = await self._commit(connection, [part], begun=True)
        except LOST:
            # On a connection that lives it was refused, as a deadlock is; on one that is lost its answer may have been.
            if not connection.closed or not await self._written([part]):
                raise
        else:
            if refused is not None:
                return False
        part.committed()
        return True

    async def _commit(
        self, connection: psycopg.AsyncConnection[Any], parts: Sequence[Append], *, begun: bool = False
    ) -> Lost | None:
        settlement, events, jobs = (
            settlement_of(parts, reply_ttl=self._settings.reply_ttl),
            events_of(parts),
            jobs_of(parts),
        )
        more: list[Any] = [partial(_defer, jobs=jobs)] if jobs else []
        gone, tasks = tasks_of(parts)
        if gone or tasks:
            more.append(partial(write_tasks, gone=gone, tasks=tasks))
        if done := _ended_with_progress(parts):
            more.append(partial(drop_progress, gone=done))
        if ended := [part for part in parts if part.staged.unreadable and part.staged.live.view.over]:
            # What it had asked for is not known here.
            more.append(partial(forget_streams, streams=[(part.write.bucket, part.write.stream) for part in ended]))
        if snapshots := snapshots_of(parts):
            more.append(partial(write_snapshots, format=FORMAT, snapshots=snapshots))
        writes = [part.write for part in parts]
        return await append_runs(connection, self._worker, writes, events, settlement, before_commit=more, begun=begun)

    async def _leave_out_known_replies(self, parts: Sequence[Append], error: psycopg.Error) -> None:
        """An id came twice, which only happens where somebody gave it by hand: the first one's reply stands."""
        connection = await self._link.connection()
        known = await known_replies(connection, [part.draft.replies for part in parts], error)
        for part in parts:
            part.draft.replies = unknown(part.draft.replies, known)

    async def _written(self, parts: list[Append]) -> list[Append]:
        """An append got no answer: return those that turn out to be written, and tell their callers to look."""
        while True:
            connection = await self._link.connection()
            try:
                heads = await read_heads(connection, [part.write for part in parts])
                break
            except LOST as error:
                await self._link.reset(error, only=connection)
        written = [part for slot, part in enumerate(parts) if heads.get(slot) == _after(part)]
        log.warning("An append got no answer; of %d runs %d turn out to be written.", len(parts), len(written))
        if written:
            settlement = Settlement()
            for part in written:
                for reply, channel in part.draft.replies:
                    settlement.wakes.setdefault(channel, []).append(reply)
            wakes = [(channel, page) for channel, replies in settlement.wakes.items() for page in id_payloads(replies)]
            try:
                await notify(connection, wakes)
            except LOST as error:
                log.warning("Callers were not told (%s); they look for themselves.", brief(error))
        return written


def part_of(staged: Staged) -> Append:
    """Take what a run has come to since its last append."""
    live, draft = staged.live, staged.live.draft
    first = draft.events[0].seq if draft.events else staged.seq + 1
    if first != (staged.seq + 1 if staged.stream in (None, live.run) else 1):
        raise RuntimeError(f"Run {live.key!r} goes on at event {first}, and {staged.seq} are recorded.")
    view = live.view
    busy = staged.busy
    status = view.status if view.status != "running" else "running" if busy else "waiting"
    write = RunWrite(
        *live.address, staged.stream, live.run, staged.seq, view.seq, staged.fence,
        not staged.owned, busy, view.version, status, view.recoveries, staged.digest,
        staged.origin, staged.parent, staged.waits_now(), draft.view, view.problem, live.workflow.keep,
    )  # fmt: skip
    # Only now: whoever blocks a run that cannot be told needs what it has come to.
    return Append(staged, live.take_draft(), write)


def part_of_event(staged: Staged, op: int, attempt: int, result: Any) -> Append:
    """Return the one event that an attempt succeeded, to be appended before the run takes it in."""
    live = staged.live
    view = live.view
    event = Event(staged.seq + 1, STEP_SUCCEEDED, op, live.now, {"attempt": attempt, "result": result})
    write = RunWrite(
        *live.address, staged.stream, live.run, staged.seq, event.seq, staged.fence,
        not staged.owned, True, view.version, view.status, view.recoveries, staged.digest,
        staged.origin, staged.parent, None, None, view.problem, live.workflow.keep,
    )  # fmt: skip
    return Append(staged, Draft(events=[event]), write)


def settlement_of(parts: Sequence[Append], *, reply_ttl: float) -> Settlement:
    """Return what leaves these runs with the commit, besides their events and jobs."""
    settlement = Settlement()
    for part in parts:
        draft = part.draft
        settlement.taken += draft.consumed
        for reply, channel in draft.replies:
            settlement.replies.append((reply, reply_ttl))
            settlement.wakes.setdefault(channel, []).append(reply)
        settlement.sends += draft.sends
        settlement.schedules += draft.schedules
        settlement.cancels += draft.cancels
        _tell_result(part, settlement)
    return settlement


def events_of(parts: Sequence[Append]) -> list[EventWrite]:
    """Return the events of these runs."""
    moments: dict[datetime, str] = {}
    """As text: many events share one."""
    return [
        EventWrite(
            slot, one.seq, one.type, one.op, moments.get(one.at) or moments.setdefault(one.at, one.at.isoformat()),
            one.text,
        )
        for slot, part in enumerate(parts, 1)
        for one in part.draft.events
    ]  # fmt: skip


def jobs_of(parts: Sequence[Append]) -> list[Job]:
    """Return the jobs that these runs defer."""
    return [Job(job.task, job.kwargs, part.staged.live.run) for part in parts for job in part.draft.jobs]


def tasks_of(parts: Sequence[Append]) -> tuple[list[TaskKey], list[TaskWrite]]:
    """Return the tasks of these runs that are gone now, and those that are new."""
    gone = [TaskKey(part.write.bucket, part.write.stream, op) for part in parts for op in part.draft.withdrawn]
    tasks = [
        TaskWrite(
            part.write.bucket, part.write.stream, task.op, part.write.kind, part.write.key,
            task.type, task.name, task.attempt, task.assignee, task.input, task.due, task.idempotency,
        )
        for part in parts
        for task in part.draft.tasks.values()
    ]  # fmt: skip
    return gone, tasks


def snapshots_of(parts: Sequence[Append]) -> list[SnapshotWrite]:
    """Return where the runs stand that have a snapshot due, and of which streams none is good any more.

    They have ended, or go on with other code, which is run along all that has happened.
    """
    found: list[SnapshotWrite] = []
    for part in parts:
        write, live = part.write, part.staged.live
        if live.snapshot_seq and (live.view.over or any(one.type == RUN_MIGRATED for one in part.draft.events)):
            found.append(SnapshotWrite(write.bucket, write.stream, 0, None))
        elif part.draft.snapshot is not None:
            found.append(SnapshotWrite(write.bucket, write.stream, *part.draft.snapshot))
    return found


def _after(part: Append) -> tuple[str, int, int, datetime | None]:
    """Return where its stream stands if this was written, and by whom: two workers that append as many events to the
    same one do so at other moments."""
    write = part.write
    at = part.draft.events[-1].at if part.draft.events else part.staged.live.view.now
    return write.stream, write.seq, write.fence + int(write.take), at


def _ended_with_progress(parts: Sequence[Append]) -> list[TaskKey]:
    """Return the steps that end here and have said how far they are."""
    return [
        TaskKey(part.write.bucket, part.write.stream, one.op)
        for part in parts
        if part.staged.progress
        for one in part.draft.events
        if one.op in part.staged.progress and one.type in STEP_ENDS
    ]


def _tell_result(part: Append, settlement: Settlement) -> None:
    """Tell whoever started a run, and waits, how it has ended; the events say it for good."""
    live, origin = part.staged.live, part.staged.origin
    channel = result_channel(origin) if origin is not None and live.view.over else None
    if channel is not None:
        settlement.wakes.setdefault(channel, []).append(result_reply(live.address.kind, live.key, live.view))


async def _defer(connection: psycopg.AsyncConnection[Any], *, jobs: Sequence[Job]) -> None:
    await defer_jobs(connection, jobs)
