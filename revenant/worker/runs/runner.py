"""Runner: one connection, and the runs that go on over it: visited, taken on, and appended to in one commit.

Invariant: an attempt begins after the commit that records it; what somebody else has gone on with is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import psycopg

from revenant.config import Settings
from revenant.eventloop import end
from revenant.queue.records import Hint
from revenant.queue.runs import VisitedRun
from revenant.worker.agenda import Key
from revenant.worker.cells.cells import Cells
from revenant.worker.cells.confined import Confinement
from revenant.worker.cells.probes import Probes
from revenant.worker.docket import Docket
from revenant.worker.lanes.lane import Counters
from revenant.worker.runs.admitting import Admitting
from revenant.worker.runs.apart import REFUSED_SECONDS, Apart
from revenant.worker.runs.appending import Append, part_of
from revenant.worker.runs.archive import Archive
from revenant.worker.runs.came import Came
from revenant.worker.runs.holding import Holding
from revenant.worker.runs.progress import Progress
from revenant.worker.runs.stage import Stage, Staged
from revenant.worker.runs.stepping import Stepping
from revenant.worker.runs.wanted import Wanted
from revenant.workflows import events as e
from revenant.workflows.ending import release

log = logging.getLogger("revenant.runs")
BATCH_RUNS = 256
"""Runs that are visited at once."""
FOREIGN_SECONDS = 1.0
"""How long a run that another worker has attempts of is left to it by the net."""


class Runner:
    """Takes its share of this worker's runs on."""

    def __init__(
        self,
        *,
        name: str,
        archive: Archive,
        worker: str,
        settings: Settings,
        admitting: Admitting,
        counters: Counters,
        watch: Callable[[Iterable[Hint]], None],
        ready: asyncio.Event,
        cells: Cells | None = None,
        cautious: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._archive = archive
        self._admitting = admitting
        self._counters = counters
        self._watch = watch
        self._ready = ready
        self.stage = Stage()
        self.docket = Docket(lambda key: True)
        self._came: deque[Came] = deque()
        self._wanted = Wanted(stage=self.stage, format_of=admitting.format_of, has_code=admitting.has_code)
        self._progress = Progress(worker=worker, wake=self.docket.wake)
        self._holding = Holding(stage=self.stage, docket=self.docket, came=self._came)
        self._apart = Apart(
            archive=archive, stage=self.stage, docket=self.docket, holding=self._holding, read_again=self._read_again
        )  # fmt: skip
        self._probes = Probes(archive=archive, cells=cells, cautious=cautious, again=self._probed)
        self._stepping = Stepping(
            settings=settings, came=self._note, said=self._progress.note, within=(archive.transacting, self._holding),
            confinement=None if cells is None else Confinement(cells, self._holding),
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None
        self._anew: list[Key] = []
        """Runs that go on with a fresh history, which is not recorded yet."""
        self._draining = self._stopped = False

    async def start(self) -> None:
        """Begin to serve."""
        if self.task is None:
            self._draining = self._stopped = False
            self.task = asyncio.create_task(self._forever(), name=f"revenant-{self._name}")

    async def stop(self, *, timeout: float = 0.0) -> None:
        """Let attempts end within `timeout` seconds, hand the rest over, and hang up; safe before start and twice."""
        self._draining = True
        task, self.task = self.task, None
        if task is not None:
            until = time.monotonic() + timeout
            while self._stepping.busy and time.monotonic() < until and not task.done():  # noqa: ASYNC110 # bounded
                await asyncio.sleep(0.01)
            self._stopped = True
            self.docket.wake()
            await asyncio.wait({task}, timeout=max(0.5, until - time.monotonic()))
            await end(task)
        await self._stepping.close()
        await self._probes.stop()
        for staged in self.stage:
            self.stage.drop(staged)
        await self._archive.stop()

    def has(self, key: Key) -> bool:
        """Whether this runner has attempts of that run under way."""
        staged = self.stage.find(key)
        return staged is not None and staged.owned

    @property
    def pending(self) -> bool:
        """Whether there is anything to be gone on with now."""
        return bool(self._came or self._anew or self._progress.due or self._holding.waits or len(self.docket))

    @property
    def attempts(self) -> set[asyncio.Task[None]]:
        """The tasks of the attempts that are under way."""
        return self._stepping.tasks

    def _note(self, came: Came) -> None:
        self._came.append(came)
        self.docket.wake()

    async def _forever(self) -> None:
        failures = 0
        # Until this worker's row is there, nobody would take it for alive.
        await self._ready.wait()
        while True:
            if not (self.pending or self._stopped):
                await self.docket.wait(None)
            last = self._stopped
            try:
                await self.run_once()
                failures = 0
            except Exception as error:
                if not isinstance(error, psycopg.Error | OSError):
                    log.exception("Going on with runs failed in a way that it should not; trying again.")
                await self._archive.reset(error)
                await asyncio.sleep(random.uniform(0, min(2.0, 0.01 * 2**failures)))  # noqa: S311 # jitter, not a secret
                failures = min(failures + 1, 12)
            if last:
                return

    async def run_once(self) -> None:
        """Visit what is hinted at, take in what attempts came to, and commit what follows from both."""
        touched: dict[Staged, None] = {}
        try:
            await self._round(touched)
        except BaseException:
            # What they were taken to is not known to be recorded: they are read again.
            for staged in touched:
                self._give_back(staged)
            raise
        self.stage.tidy()

    async def _round(self, touched: dict[Staged, None]) -> None:
        await self._keep_progress()
        hints = [] if self._stopped else self._holding.put_off(self.docket.take(BATCH_RUNS), draining=self._draining)
        if hints:
            try:
                await self._visit(hints, touched)
            except BaseException:
                self.docket.add(hints)
                raise
        self._take_came(touched)
        while self._anew:
            if (fresh := self.stage.find(self._anew.pop())) is not None:
                touched[fresh] = None
        if self._stopped:
            for staged in self.stage:
                if staged.held is None and (staged.owned or not staged.live.draft.empty):
                    touched[staged] = None
        if late := self._admitting.take_late():
            await self._archive.settle_late(late)
        await self._go_on(touched)
        self._holding.let_through(self._archive.now, stopped=self._stopped)
        await self._probes.over()

    async def _keep_progress(self) -> None:
        """Write what steps have said of themselves, before anything that follows from their ends."""
        if self._progress.waits:
            ended = {(came.staged, came.op) for came in self._came if came.error is not None}
            await self._archive.keep(self._progress, ended=ended, all=self._stopped)
        self._progress.due = False

    async def _visit(self, hints: Sequence[Hint], touched: dict[Staged, None]) -> None:
        if await self._archive.is_anew():
            self._wanted.forget()
        asked = self._wanted.of(hints)
        found = await self._archive.visit(hints, asked.known, forced=asked.forced, formats=asked.formats)
        self._wanted.read(hints, found)
        probed = await self._probes.look(hints, found)
        # What is done counts as done, also where a message that has come meanwhile ends the run.
        self._take_came(touched)
        for hint, visited in zip(hints, found, strict=True):
            if (hint.kind, hint.key) in probed:
                self.docket.pass_by((hint.kind, hint.key), FOREIGN_SECONDS)
                continue
            try:
                staged = self._admit(hint, visited)
            except Exception:
                log.exception("Run %s(%r) could not be read; its messages stay.", hint.kind, hint.key)
                self.docket.pass_by((hint.kind, hint.key), REFUSED_SECONDS)
                continue
            if staged is not None:
                touched[staged] = None
            if visited.more:
                self.docket.add([hint])

    def _admit(self, hint: Hint, visited: VisitedRun) -> Staged | None:
        self.stage.current = key = (hint.kind, hint.key)
        known = self.stage.find(key)
        if visited.verdict == "elsewhere":
            if known is not None:
                self.stage.drop(known)
            self.docket.pass_by(key, FOREIGN_SECONDS)
            self._watch([hint])
            return None
        if visited.verdict == "later":
            self.docket.add([hint])
            return None
        if known is not None and not visited.known:
            log.warning("Run %s(%r) was gone on with elsewhere; it is read again.", hint.kind, hint.key)
            self.stage.drop(known)
            known = None
        staged = self._read(hint, visited, known)
        if staged is None:
            self._wanted.leave(key, visited)
            if visited.deliveries or visited.verdict == "dead":
                self.docket.pass_by(key, REFUSED_SECONDS)
            return None
        self.stage.add(staged)
        return staged

    def _read(self, hint: Hint, visited: VisitedRun, known: Staged | None) -> Staged | None:
        key, now = (hint.kind, hint.key), self._archive.now()
        try:
            if (fate := self._probes.fate(key)) is not None:
                return self._admitting.condemn(hint, visited, fate, now=now)
            return self._admitting.admit(hint, visited, known, now=now)
        except Exception as error:
            if known is None and visited.snapshot is not None:
                log.exception("The snapshot of run %s(%r) cannot be read; its events are.", *key)
                self._wanted.whole(key)
                self.docket.add([hint])
                return None
            log.exception("Run %s(%r) cannot be read; it is blocked, and nothing else suffers.", *key)
            if known is not None:
                self.stage.drop(known)
            return self._admitting.block(hint, visited, error, now=now)

    def _take_came(self, touched: dict[Staged, None]) -> None:
        for _ in range(len(self._came)):
            self._take_in(self._came.popleft(), touched)

    def _take_in(self, came: Came, touched: dict[Staged, None]) -> None:
        staged = came.staged
        self.stage.current = staged.key
        if self.stage.find(staged.key) is not staged or not self._holding.take(came):
            return
        if came.lost:
            self._lose(staged)
            return
        staged.tasks.pop(came.op, None)
        self._progress.forget(staged, came.op)
        staged.live.now = self._archive.now()
        came.take_in()
        touched[staged] = None

    async def _go_on(self, touched: dict[Staged, None]) -> None:
        parts = [part for staged in touched if (part := self._advanced(staged)) is not None]
        again = self._holding.take_postponed(last=self._stopped)
        touched.update(dict.fromkeys(part.staged for part in again))
        parts += again
        if not parts:
            return
        done, lost = await self._apart.append(parts)
        for staged in lost:
            self._lose(staged)
        for part in done:
            self._after(part)
        self._counters.turns += 1
        self._counters.messages += sum(len(part.draft.consumed) for part in done)

    def _advanced(self, staged: Staged) -> Append | None:
        """Take a run as far as it goes, and return what is to be appended; None: nothing is."""
        staged.live.now = self._archive.now()
        try:
            if not staged.unreadable:
                self.stage.advance(staged)
            if self._stopped or (self._draining and not staged.tasks):
                release(staged.live)
            return None if staged.live.draft.empty else part_of(staged)
        except Exception as error:
            log.exception("Run %s(%r) cannot be gone on with; it is blocked, and nothing else suffers.", *staged.key)
            return self._apart.block(staged, error)

    def _after(self, part: Append) -> None:
        """What is recorded is done: attempts begin, others end."""
        staged, draft = part.staged, part.draft
        self._holding.written(staged)
        self.stage.used(staged)
        for op in draft.stops:
            self._stepping.stop(staged, op)
        if staged.live.view.over or staged.unreadable:
            self.stage.drop(staged)
            return
        if draft.events and draft.events[-1].type == e.RUN_CONTINUED:
            self.stage.add(self._admitting.begin_anew(staged, now=self._archive.now()))
            self._anew.append(staged.key)
            self.docket.wake()
            return
        if draft.reloads:
            self._give_back(staged)
            return
        if not self._draining:
            for start in draft.starts:
                self._stepping.start(staged, start)

    def _probed(self, hint: Hint) -> None:
        """Read a run whose code was probed in a cell."""
        key = (hint.kind, hint.key)
        if self._probes.fate(key) is not None and (staged := self.stage.find(key)) is not None:
            self.stage.drop(staged)
        self._wanted.force(key)
        self.docket.add([hint._replace(seq=1)])

    def _lose(self, staged: Staged) -> None:
        if staged.owned:
            log.warning("Run %s(%r) is gone on with elsewhere; what its steps came to here is dropped.", *staged.key)
        else:
            log.info("Run %s(%r) was gone on with by another worker at the same time; it is read again.", *staged.key)
        self._give_back(staged)

    def _give_back(self, staged: Staged) -> None:
        """Forget a run, and read it again if there is anything to be done about it."""
        self.stage.drop(staged)
        self._read_again(staged)

    def _read_again(self, staged: Staged) -> None:
        self._wanted.force(staged.key)
        self.docket.add([Hint(*staged.live.address, 1)])
