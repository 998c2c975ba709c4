"""MemoryArchive: a memory application's runs, kept as Postgres keeps them: rows and streams of events.

Invariant: what a run comes to becomes visible all at once, and its events read as Postgres would give them back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic_core import from_json

from revenant.codec import bucket_of
from revenant.entities.address import Address
from revenant.entities.context import Job
from revenant.entities.jsonb import as_stored
from revenant.queue.records import Hint, Settlement
from revenant.queue.runs import Head, Known, RunWrite, VisitedRun
from revenant.queue.runviews import SeenRun
from revenant.queue.tasks import TaskKey, TaskWrite
from revenant.queue.views import Row
from revenant.testing.seeing import seen_of
from revenant.testing.store import Store
from revenant.worker.runs.again import Again
from revenant.worker.runs.appending import Append, jobs_of, settlement_of, tasks_of
from revenant.worker.runs.progress import Progress
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.transacting import Transacting
from revenant.workflows.events import APPROVAL_GIVEN, ENDS, Event, event
from revenant.workflows.workflow import KIND

Told = tuple[int, str, int | None, datetime, str]
"""An event as it is kept: its data as JSON text."""
REPLY_SECONDS = 3600.0
"""For how long replies to messages that runs get are kept, by the clock."""


class MemoryArchive:
    """Implements a worker's `Archive` and a client's `Records` over a store."""

    transacting: Transacting | None = None
    """There is no SQL here."""

    def __init__(self, *, store: Store, now: Callable[[], datetime], deferred: list[Job]) -> None:
        self._store = store
        self.now = now
        self._deferred = deferred
        self._rows: dict[Address, RunWrite] = {}
        self._streams: dict[str, list[Told]] = {}
        self._tasks: dict[TaskKey, TaskWrite] = {}

    def row(self, address: Address) -> RunWrite | None:
        """Return where a run stands; None: there is none."""
        return self._rows.get(address)

    def history(self, address: Address) -> list[Event]:
        """Return the events of a run's present stream, as they were stored."""
        row = self._rows.get(address)
        return [] if row is None else self._stream(row.stream)

    def _stream(self, stream: str) -> list[Event]:
        return [event(*one) for one in self._streams.get(stream, ())]

    def waiting(self, kinds: Collection[str]) -> list[Hint]:
        """Return the messages that wait for runs of these kinds, in the order in which they came."""
        return [Hint(bucket_of(*to), *to, seq) for seq, to in self._store.waiting() if to.kind in kinds]

    async def is_anew(self) -> bool:
        """Nothing is ever lost here."""
        return False

    async def visit(
        self,
        hints: Sequence[Hint],
        known: Sequence[Known],
        *,
        forced: Sequence[bool],
        formats: Sequence[str | None],
    ) -> list[VisitedRun]:
        """Return what there is to be done about each of these runs."""
        return [self._visit(hint, as_known) for hint, as_known in zip(hints, known, strict=True)]

    def _visit(self, hint: Hint, known: Known) -> VisitedRun:
        address = Address(hint.kind, hint.key)
        row, deliveries = self._rows.get(address), self._store.claim(address).deliveries
        if row is None:
            return VisitedRun("free", None, known=False, deliveries=deliveries)
        head = Head(row.stream, row.seq, row.fence, row.status, row.version, row.recoveries, row.origin, row.digest)
        found = VisitedRun(
            "ours" if row.owned else "free", head, known=known[:2] == (row.stream, row.seq), deliveries=deliveries
        )
        if not found.known and row.status not in ENDS.values():
            found.events = list(self._streams[row.stream])
        return found

    async def note(self, hints: Sequence[Hint]) -> Mapping[int, int]:
        """Do nothing: no other worker can have died."""
        return {}

    async def clear(self, hints: Sequence[Hint]) -> None:
        """Do nothing: nothing was noted."""

    async def append(self, parts: Sequence[Append]) -> tuple[list[Append], list[Staged]]:
        """Keep what these runs have come to, all at once."""
        # All that may be refused comes before anything is kept; jobs are, as procrastinate refuses them.
        jobs = jobs_of(parts)
        for job in jobs:
            json.dumps(job.kwargs)
        told = [
            [(one.seq, one.type, one.op, one.at, as_stored(one.text)) for one in part.draft.events] for part in parts
        ]
        for part, events in zip(parts, told, strict=True):
            self._write(part, events)
        self._store.settle(settlement_of(parts, reply_ttl=REPLY_SECONDS))
        self._deferred += jobs
        self._change_tasks(parts)
        return list(parts), []

    def _change_tasks(self, parts: Sequence[Append]) -> None:
        gone, tasks = tasks_of(parts)
        for key in gone:
            self._tasks.pop(key, None)
        self._tasks.update({TaskKey(task.bucket, task.run, task.op): task for task in tasks})
        ended = {part.write.stream for part in parts if part.write.status in ENDS.values()}
        self._tasks = {key: task for key, task in self._tasks.items() if task.run not in ended}

    def _write(self, part: Append, events: list[Told]) -> None:
        write = part.write
        address = Address(write.kind, write.key)
        before = self._rows.get(address)
        self._streams.setdefault(write.stream, []).extend(events)
        kept = write._replace(fence=write.fence + int(write.take))
        if before is not None:
            # What has not changed is not written.
            kept = kept._replace(waits=write.waits or before.waits, view=write.view or before.view)
        self._rows[address] = kept
        part.committed()

    async def view(self, kind: str, key: str) -> str | None:
        """Return what a run's code shows, as JSON text; None: there is no such run."""
        row = self._rows.get(Address(kind, key))
        return None if row is None else row.view or "null"

    async def events(self, kind: str, key: str) -> list[Event]:
        """Return the events of a run's history, in order; none where there is no such run."""
        return self.history(Address(kind, key))

    async def see(self, kind: str, key: str) -> SeenRun | None:
        """Return a run with all its events; None: there is no such run."""
        row, waiting = self._rows.get(Address(kind, key)), self._store.claim(Address(kind, key)).deliveries
        if row is None:
            return None
        return seen_of(row, self._stream(row.stream), messages=len(waiting), earlier=self._earlier(row.stream))

    def _earlier(self, stream: str) -> list[str]:
        """Return the streams that this one goes on from, the latest first."""
        found: list[str] = []
        while (before := self._stream(stream)[0].data.get("continues")) is not None:
            found.append(before)
            stream = before
        return found

    async def approvals(self, *, assignee: str | None, kind: str | None, limit: int) -> Sequence[Row]:
        """Return the oldest approvals that wait, of one assignee and kind of runs if given."""
        found = (
            task
            for task in self._tasks.values()
            if task.type == "approval" and assignee in (None, task.assignee) and kind in (None, task.kind)
        )
        return [self._approval(task) for task in islice(found, limit)]

    def _approval(self, task: TaskWrite) -> Row:
        asked = from_json(task.input)
        return {
            "workflow": task.kind.removeprefix(KIND),
            "run_id": task.key,
            "name": task.name,
            "assignee": task.assignee,
            "about": asked.get("about"),
            "form": asked.get("form"),
            "asked_at": next(one.at for one in self.history(Address(task.kind, task.key)) if one.op == task.op),
            "due": None if task.due is None else datetime.fromisoformat(task.due),
            "stream": task.run,
            "op": task.op,
        }

    async def decision(
        self, kind: str, key: str, *, name: str, stream: str | None, op: int | None
    ) -> dict[str, Any] | None:
        """Return what was decided about an approval; None: nothing was."""
        given = [
            one.data["result"]
            for one in (self.history(Address(kind, key)) if stream is None else self._stream(stream))
            if one.type == APPROVAL_GIVEN and one.data["name"] == name and op in (None, one.op)
        ]
        return given[-1] if given else None

    async def settle_late(self, settlements: Sequence[Settlement]) -> None:
        """Answer messages that reach no run."""
        for settlement in settlements:
            if isinstance(settlement, Again):
                settlement.hear(self._stream(settlement.stream))
            self._store.settle(settlement)

    async def keep(self, progress: Progress, *, ended: Collection[tuple[Staged, int]], all: bool) -> None:
        """Do nothing: what attempts have said of themselves stands with their run in memory."""

    async def reset(self, error: BaseException | None = None) -> None:
        """Do nothing: there is nothing to hang up."""

    async def stop(self) -> None:
        """Do nothing: it keeps what it has."""
