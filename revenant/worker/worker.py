"""Worker: one process that serves entities: it starts the lanes and loops, hears wake-ups, and drains."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg

from revenant.codec import new_id
from revenant.config import Settings
from revenant.entities.failure import Sentence
from revenant.entities.registry import Registry
from revenant.entities.schedule import Schedule
from revenant.eventloop import running_task
from revenant.offspring import end_offspring
from revenant.queue.link import Link
from revenant.worker.agenda import Agenda
from revenant.worker.caution import Caution
from revenant.worker.cells.cells import Cells
from revenant.worker.chronicler import Chronicler
from revenant.worker.doing import Doing
from revenant.worker.fleet import Fleet
from revenant.worker.hearing import Hearing
from revenant.worker.heartbeat import Heartbeat
from revenant.worker.janitor import Janitor
from revenant.worker.jobs import JobRunner
from revenant.worker.lanes.ahead import Ahead
from revenant.worker.lanes.cache import Cache
from revenant.worker.lanes.lane import Counters, Lane
from revenant.worker.lanes.ledger import Ledger
from revenant.worker.lanes.partners import Partners
from revenant.worker.loop import Loop
from revenant.worker.residents.estate import Estate
from revenant.worker.residents.home import Home
from revenant.worker.residents.host import Host
from revenant.worker.residents.residence import Residence
from revenant.worker.retention import Retention
from revenant.worker.runs.admitting import Admitting
from revenant.worker.runs.archive import PostgresArchive
from revenant.worker.runs.runner import Runner
from revenant.worker.runs.scanner import Scanner
from revenant.worker.suspects import Suspects
from revenant.worker.sweeper import Sweeper
from revenant.worker.switchboard import Switchboard
from revenant.worker.timing.clockwork import Clockwork
from revenant.worker.underway import under_way
from revenant.worker.watch import Watch
from revenant.workflows.registry import Workflows

log = logging.getLogger("revenant.worker")
RUNNERS = 2
"""Connections over which the runs of workflows go on: one is flushed while another reckons."""
RESIDENCES = 2
"""Connections on which relaxed entities live: one is flushed while another is visited."""


class Errands(Protocol):
    """What steps send in this process through the application that they are of."""

    async def start(self, url: str) -> None:
        """Have steps of the running event loop send to that database."""

    async def stop(self) -> None:
        """Hang up; safe before start and twice."""


class Worker:
    """Serves entities until it is stopped. Several may run anywhere; Postgres arbitrates.

    Example:
        >>> worker = app.worker()
        >>> await worker.start()
        >>> await worker.stop()
    """

    def __init__(
        self,
        *,
        url: str,
        registry: Registry,
        workflows: Workflows,
        settings: Settings,
        jobs: JobRunner | None,
        schedules: Sequence[Schedule] = (),
        tracebacks: bool = False,
        origin: str | None = None,
        errands: Errands | None = None,
    ) -> None:
        self.id = new_id(0)
        self.counters = Counters()
        self._settings = settings
        self._url = url
        self._errands = errands
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kinds = sorted((*registry.kinds, *workflows.kinds))
        self._jobs = jobs
        self._desk = Link(url=url, role="desk")
        self._agenda = Agenda()
        self._fleet = Fleet(own_id=self.id)
        self._ahead = Ahead(fleet=self._fleet, vsns={kind: one.entity_vsn for kind, one in registry.kinds.items()})
        self._cache = Cache(limit=settings.cache_bytes)
        self._homes = [Home() for _ in range(min(settings.lanes, RESIDENCES))]
        self._switchboard = Switchboard(
            registry=registry, workflows=workflows, agenda=self._agenda, fleet=self._fleet, homes=self._homes
        )
        condemned: dict[str, Sentence] = {}
        suspects = Suspects(url=url, worker_id=self.id)
        self._caution = Caution(
            own_id=self.id, kinds=self._kinds, agenda=self._switchboard, suspects=suspects, condemned=condemned
        )  # fmt: skip
        self._heartbeat = self._make_heartbeat({**registry.described(), **workflows.described()})
        self._watch, self._sweeper = self._make_nets()
        self.clockwork = Clockwork(
            desk=self._desk,
            agenda=self._switchboard,
            fleet=self._fleet,
            registry=registry,
            kinds=self._kinds,
            schedules=schedules,
        )
        self._lanes = self._make_lanes(url, registry, condemned, tracebacks=tracebacks)
        self._hearing = Hearing(
            url=url,
            desk=self._desk,
            switchboard=self._switchboard,
            watch=self._watch,
            heartbeat=self._heartbeat,
            clockwork=self.clockwork,
            sweeper=self._sweeper,
        )
        self._residences = self._make_residences(url, registry, condemned, tracebacks=tracebacks)
        self._cells = Cells(application=origin, url=url, worker=self.id, settings=settings)
        self._runners = self._switchboard.runners = self._make_runners(url, workflows)
        self.loops = self._make_loops(registry, workflows)

    def _make_heartbeat(self, kinds: dict[str, Any]) -> Heartbeat:
        return Heartbeat(
            desk=self._desk,
            fleet=self._fleet,
            worker_id=self.id,
            kinds=kinds,
            lanes=self._settings.lanes,
            jobs=self._jobs.concurrency if self._jobs else 0,
            counters=self.counters,
            caution=self._caution,
            doing=self._in_hand,
        )

    def _in_hand(self) -> Doing:
        attempts = sum(len(runner.attempts) for runner in self._runners)
        return Doing(attempts, self._cells.count, tuple(self._cells.waiting.values()))

    def _make_loops(self, registry: Registry, workflows: Workflows) -> list[Loop]:
        scanner = Scanner(
            desk=self._desk,
            worker_id=self.id,
            newest={kind: max(versions) for kind, versions in workflows.kinds.items()},
            fleet=self._fleet,
            inlet=self._switchboard,
            look=self._look_at_fleet,
        )
        return [
            self._watch,
            self._sweeper,
            *self.clockwork.loops,
            Janitor(desk=self._desk),
            Chronicler(desk=self._desk, kinds=registry.histories()),
            Estate(desk=self._desk, worker_id=self.id),
            *([scanner, Retention(desk=self._desk)] if workflows else []),
        ]

    def _make_nets(self) -> tuple[Watch, Sweeper]:
        desk, inlet, leaves = self._desk, self._switchboard, self._switchboard.leaves
        watch = Watch(desk=desk, agenda=inlet, on_miss=self._heartbeat.look, leaves=leaves)
        return watch, Sweeper(desk=desk, agenda=inlet, kinds=self._kinds, leaves=leaves, watch=watch.add)

    def _make_lanes(
        self, url: str, registry: Registry, condemned: dict[str, Sentence], *, tracebacks: bool
    ) -> list[Lane]:
        partners = Partners(kinds=self._kinds, agenda=self._agenda)
        return [
            Lane(
                url=url,
                number=number,
                registry=registry,
                settings=self._settings,
                agenda=self._agenda,
                partners=partners,
                watch=self._watch,
                fleet=self._fleet,
                ahead=self._ahead,
                ledger=Ledger(self._settings, tracebacks),
                counters=self.counters,
                condemned=condemned,
                caution=self._caution,
                cache=self._cache,
                ready=self._heartbeat.beaten,
            )
            for number in range(1, self._settings.lanes + 1)
        ]

    def _make_residences(
        self, url: str, registry: Registry, condemned: dict[str, Sentence], *, tracebacks: bool
    ) -> list[Residence]:
        return [
            Residence(
                url=url,
                number=number,
                home=home,
                worker=self.id,
                desk=self._hearing.channel,
                registry=registry,
                settings=self._settings,
                host=Host(settings=self._settings, fleet=self._fleet, condemned=condemned),
                ahead=self._ahead,
                ledger=Ledger(self._settings, tracebacks),
                counters=self.counters,
                condemned=condemned,
                caution=self._caution,
                watch=self._watch.add,
                look=self._look_at_fleet,
                ready=self._heartbeat.beaten,
            )
            for number, home in enumerate(self._homes if self._switchboard.relaxed else [], 1)
        ]

    def _make_runners(self, url: str, workflows: Workflows) -> list[Runner]:
        return [
            Runner(
                name=f"runner-{number}",
                archive=PostgresArchive(url=url, role=f"runner-{number}", worker=self.id, settings=self._settings),
                worker=self.id,
                settings=self._settings,
                admitting=Admitting(workflows=workflows, settings=self._settings, fleet=self._fleet),
                counters=self.counters,
                watch=self._watch.add,
                ready=self._heartbeat.beaten,
                cells=self._cells,
                cautious=lambda: self._caution.on,
            )
            for number in range(1, RUNNERS + 1 if workflows else 1)
        ]

    async def start(self) -> None:
        """Begin to serve; Postgres need not be reachable yet."""
        self._loop = asyncio.get_running_loop()
        end_offspring()
        await self._hearing.start()
        await self._heartbeat.start()
        for loop in self.loops:
            await loop.start()
        for lane in self._lanes:
            await lane.start()
        for residence in self._residences:
            await residence.start()
        await self._cells.start()
        if self._errands is not None:
            await self._errands.start(self._url)
        for runner in self._runners:
            await runner.start()
        if self._jobs is not None:
            await self._jobs.start()
        log.info("Worker %s serves %s with %d lanes.", self.id, ", ".join(self._kinds), len(self._lanes))

    def running(self) -> str:
        """Return which message, step or run has the event loop, for a person to read; for any thread."""
        turning: list[Lane | Residence] = [*self._lanes, *self._residences]
        return under_way(
            None if self._loop is None else running_task(self._loop),
            attempts=[task for runner in self._runners for task in runner.attempts],
            runs={runner.task: runner.stage.current for runner in self._runners},
            messages=[one.current for one in turning if one.current],
        )

    def wrong(self) -> str:
        """Return why this worker does not take messages now; empty when it does. For any thread."""
        if not self._heartbeat.beaten.is_set():
            return "the worker has not started to serve"
        if self._heartbeat.draining:
            return "the worker is draining"
        return "" if self._hearing.listening else "the worker hears no wake-ups: its LISTEN connection is lost"

    async def ready(self) -> None:
        """Wait until the worker hears wake-ups and its row is in the table."""
        await self._hearing.ready()
        await self._heartbeat.beaten.wait()

    def hurry(self) -> None:
        """Have all that relaxed entities have not written yet flushed now."""
        for home in self._homes:
            home.hurry()

    async def stop(self, *, drain_timeout: float | None = None) -> None:
        """Take nothing new, finish what runs within `drain_timeout` seconds, and leave. Safe before start and twice."""
        seconds = self._settings.drain_timeout if drain_timeout is None else drain_timeout
        until = time.monotonic() + seconds
        self._cells.drain()
        await self._tell(self._heartbeat.drain())
        for loop in self.loops:
            await loop.stop()
        await asyncio.gather(
            *(lane.stop(timeout=seconds) for lane in self._lanes),
            *(residence.stop(timeout=seconds) for residence in self._residences),
            *(runner.stop(timeout=seconds) for runner in self._runners),
            *([self._jobs.stop(timeout=seconds)] if self._jobs is not None else []),
        )
        await self._cells.close()
        if self._errands is not None:
            await self._errands.stop()
        await self._caution.stop()
        await self._hearing.stop()
        await self._heartbeat.stop()
        if time.monotonic() < until + 2:
            await self._tell(self._heartbeat.leave())
        self._cache.clear()
        await self._desk.reset()
        log.info("Worker %s stopped after %d turns.", self.id, self.counters.turns)

    async def _tell(self, news: Any) -> None:
        try:
            async with asyncio.timeout(2):
                await news
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("The fleet was not told (%s); it finds out by the missing heartbeat.", error)

    async def _look_at_fleet(self) -> None:
        await self._heartbeat.look(await self._desk.connection())
