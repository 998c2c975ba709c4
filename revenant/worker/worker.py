"""Worker: one process that serves entities: it starts the lanes and loops, hears wake-ups, and drains."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from pydantic_core import from_json

from revenant.codec import new_id
from revenant.config import Settings
from revenant.entities.registry import Registry
from revenant.queue.link import Link
from revenant.queue.listener import Listener
from revenant.queue.mailbox import WAKE_CHANNEL, notify
from revenant.queue.records import Hint
from revenant.worker.agenda import Agenda
from revenant.worker.fleet import Fleet
from revenant.worker.heartbeat import CHANGED, Heartbeat
from revenant.worker.janitor import Janitor
from revenant.worker.jobs import JobRunner
from revenant.worker.lane import Counters, Lane
from revenant.worker.ledger import Ledger
from revenant.worker.loop import Loop
from revenant.worker.sweeper import Sweeper
from revenant.worker.ticker import Ticker
from revenant.worker.watch import Watch

log = logging.getLogger("revenant.worker")


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
        settings: Settings,
        jobs: JobRunner | None,
        tracebacks: bool = False,
    ) -> None:
        self.id = new_id(0)
        self.counters = Counters()
        self._url = url
        self._settings = settings
        self._kinds = sorted(registry.kinds)
        self._jobs = jobs
        self._desk = Link(url=url, role="desk")
        self._agenda = Agenda()
        self._fleet = Fleet(own_id=self.id)
        self._sweeper = Sweeper(desk=self._desk, agenda=self._agenda, kinds=self._kinds)
        self._heartbeat = Heartbeat(
            desk=self._desk,
            fleet=self._fleet,
            worker_id=self.id,
            kinds=registry.described(),
            lanes=settings.lanes,
            jobs=jobs.concurrency if jobs else 0,
            counters=self.counters,
        )
        self._watch = Watch(desk=self._desk, agenda=self._agenda, on_miss=self._heartbeat.nudge)
        self.loops: Sequence[Loop] = (
            self._watch,
            self._sweeper,
            Ticker(desk=self._desk),
            Janitor(desk=self._desk),
        )
        condemned: dict[str, str] = {}
        self._lanes = [
            Lane(
                url=url,
                number=number,
                registry=registry,
                settings=settings,
                agenda=self._agenda,
                watch=self._watch,
                fleet=self._fleet,
                ledger=Ledger(settings, tracebacks),
                counters=self.counters,
                condemned=condemned,
                ready=self._heartbeat.beaten,
            )
            for number in range(1, settings.lanes + 1)
        ]
        self._listener = Listener(
            url=url,
            role="worker-listener",
            channels=[f"revenant_worker_{os.urandom(8).hex()}", WAKE_CHANNEL],
            ping=self._ping,
            on_payload=self._hear,
            on_connect=self._look_at_everything,
        )

    async def start(self) -> None:
        """Begin to serve; Postgres need not be reachable yet."""
        await self._listener.start()
        await self._heartbeat.start()
        for loop in self.loops:
            await loop.start()
        for lane in self._lanes:
            await lane.start()
        if self._jobs is not None:
            await self._jobs.start()
        log.info("Worker %s serves %s with %d lanes.", self.id, ", ".join(self._kinds), len(self._lanes))

    async def ready(self) -> None:
        """Wait until the worker hears wake-ups and its row is in the table."""
        await self._listener.ready()
        await self._heartbeat.beaten.wait()

    async def stop(self, *, drain_timeout: float | None = None) -> None:
        """Take nothing new, finish what runs within `drain_timeout` seconds, and leave. Safe before start and twice."""
        seconds = self._settings.drain_timeout if drain_timeout is None else drain_timeout
        until = time.monotonic() + seconds
        await self._tell(self._heartbeat.drain())
        for loop in self.loops:
            await loop.stop()
        await asyncio.gather(
            *(lane.stop(timeout=seconds) for lane in self._lanes),
            *([self._jobs.stop(timeout=seconds)] if self._jobs is not None else []),
        )
        await self._listener.stop()
        await self._heartbeat.stop()
        if time.monotonic() < until + 2:
            await self._tell(self._heartbeat.leave())
        await self._desk.reset()
        log.info("Worker %s stopped after %d turns.", self.id, self.counters.turns)

    async def _tell(self, news: Any) -> None:
        try:
            async with asyncio.timeout(2):
                await news
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("The fleet was not told (%s); it finds out by the missing heartbeat.", error)

    def _hear(self, channel: str, payload: str) -> None:
        if channel != WAKE_CHANNEL:
            return
        if payload == CHANGED:
            self._heartbeat.nudge()
        elif payload.startswith("["):
            self._sort(Hint(*row) for row in from_json(payload))
        else:
            self._look_at_everything()

    def _sort(self, hints: Any) -> None:
        """Keep the hints for which this worker goes first; watch the others."""
        mine: list[Hint] = []
        others: list[Hint] = []
        for hint in hints:
            if hint.kind in self._kinds:
                (mine if self._fleet.goes_first(hint.kind, hint.bucket) else others).append(hint)
        self._agenda.add(mine)
        self._watch.add(others)

    def _look_at_everything(self) -> None:
        self._sweeper.nudge()
        self._heartbeat.nudge()

    async def _ping(self, channel: str, payload: str) -> None:
        connection = await self._desk.connection(seconds=1)
        await notify(connection, [(channel, payload)])
