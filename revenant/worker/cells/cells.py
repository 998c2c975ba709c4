"""Cells: the processes in which one worker runs what was beside deaths; started when needed, ended when idle.

Invariant: a death is a verdict only where nothing else had run in that cell, and this worker lives to tell.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from revenant import telemetry
from revenant.config import Settings
from revenant.eventloop import end
from revenant.logs import JsonFormatter
from revenant.worker.cells.cell import Cell, Gone, NotStarted, Room, Surroundings
from revenant.worker.cells.door import Door, Draining
from revenant.worker.doing import Waiting

T = TypeVar("T")
log = logging.getLogger("revenant.cell")
IDLE_SECONDS = 2.0
"""How long a cell is kept for the next one."""
MOST_TOGETHER = 5
"""Deaths of the common cell that something may have been in before it runs in a cell of its own."""
VERDICT_SECONDS = 0.5
"""How long this worker has to outlive a cell: what kills all processes of a host at once is nobody's doing in one."""
HANGING_SECONDS = 15.0
"""How long after its handlers' time a cell may say nothing: its own watchdog ends it before, where that can run."""
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Before another try, where a cell could not be started."""


class KilledCell(BaseException):
    """What ran in a cell has ended it; how it ended."""

    def __init__(self, fate: str) -> None:
        super().__init__(fate)
        self.fate = fate


@dataclass(slots=True)
class Deaths:
    """What something has seen of cells that died with it."""

    number: int = 0
    apart: bool = False
    """Whether it is likely enough to be why, and runs in a cell of its own from then on."""
    fate: str | None = None
    """How one has ended in which nothing else had been."""


class Cells:
    """One that many are in, and others for one each. `application`, as `module:attribute`, is what they import."""

    def __init__(self, *, application: str | None, url: str, worker: str, settings: Settings) -> None:
        self._application = application
        self._url = url
        self._worker = worker
        self._surroundings = Surroundings.here()
        self._patience = settings.handler_timeout + HANGING_SECONDS
        self._door = Door(1)
        """To the common cell: they enter one after another."""
        self._single = Door(settings.cells - 1)
        """To the cells for one each."""
        self._common: Cell | None = None
        self._draining = asyncio.Event()
        self._pause = 0.0
        self._ending: set[asyncio.Task[None]] = set()
        self._all: set[Cell] = set()
        self.waiting: dict[object, Waiting] = {}
        """The attempts that have no place yet, by whoever brings them."""

    async def start(self) -> None:
        """Have cells started from now on, when they are needed."""
        self._draining.clear()

    def drain(self) -> None:
        """Begin nothing new."""
        self._draining.set()

    async def close(self) -> None:
        """End what is left; safe twice."""
        self.drain()
        common, self._common = self._common, None
        if common is not None:
            await common.end()
        if self._ending:
            await asyncio.wait(self._ending)

    @property
    def count(self) -> int:
        """How many there are."""
        self._all = {cell for cell in self._all if not cell.gone}
        return len(self._all)

    @property
    def possible(self) -> bool:
        """Whether another process can import the application."""
        return self._application is not None

    async def run(self, talk: Callable[[Room], Awaitable[T]]) -> T:
        """Have something run in the common cell, and if that dies, in one of its own; return what `talk` returns.

        `talk` tells a room what to do there, and raises `Gone` when the cell is gone; it may be called several times.

        Raises:
            KilledCell: a cell died in which nothing else had been.
            Draining: this worker takes nothing new, or is about to end.
        """
        deaths = Deaths()
        while True:
            try:
                return await self.run_once(talk, deaths)
            except Gone:
                pass  # by something that ran there

    async def run_once(self, talk: Callable[[Room], Awaitable[T]], deaths: Deaths) -> T:
        """Have something run in one cell, and note in `deaths` if that dies; otherwise as `run`.

        Raises:
            Gone: the cell died, and others may be why.
        """
        async with self.apart() if deaths.apart else self.together(deaths=deaths.number) as room:
            try:
                return await talk(room)
            except Gone:
                if room.begun and room.only:
                    fate = await room.cell.fate()
                    await self._outlive()
                    deaths.fate = fate
                    raise KilledCell(fate) from None
                if room.begun:
                    deaths.number += 1
                    deaths.apart = room.prime or deaths.number >= MOST_TOGETHER
                if room.cell.used:
                    raise
                fate = await room.cell.fate()
            finally:
                if room.begun:
                    self._pause = 0.0
        # Not by what was to run there: nothing of that had begun.
        await self._rest(f"it ended before anything ran in it: {fate}")
        raise Gone

    @asynccontextmanager
    async def together(self, *, deaths: int) -> AsyncIterator[Room]:
        """Give a place in the common cell, where others are, too, to what so many cells have died with.

        The next one enters when this one has ended, or has run there for a while and the cell lives.

        Raises:
            Draining: before there was one.
        """
        leave_door = await self._door.enter(self._draining)
        try:
            cell = self._common
            if cell is None or cell.gone:
                cell = self._common = await self._start()
            room = cell.enter(deaths=deaths, settle=leave_door)
            try:
                yield room
            finally:
                cell.leave(room)
                asyncio.get_running_loop().call_later(IDLE_SECONDS, self._dismiss, cell)
        finally:
            leave_door()

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Room]:
        """Give a cell of its own, in which nothing has run before.

        Raises:
            Draining: before there was one.
        """
        leave_door = await self._single.enter(self._draining)
        try:
            cell = await self._start()
            try:
                yield cell.enter()
            finally:
                await asyncio.shield(cell.end())
        finally:
            leave_door()

    async def _outlive(self) -> None:
        """Wait until it is clear that a cell died by itself.

        Raises:
            Draining: this worker is about to end, too.
        """
        try:
            async with asyncio.timeout(VERDICT_SECONDS):
                await self._draining.wait()
        except TimeoutError:
            return
        raise Draining

    async def _rest(self, why: str) -> None:
        """Say that a cell is of no use, and leave the next one some time.

        Raises:
            Draining: this worker takes nothing new.
        """
        self._lengthen_pause(why)
        try:
            async with asyncio.timeout(self._pause):
                await self._draining.wait()
        except TimeoutError:
            return
        raise Draining

    def _lengthen_pause(self, why: str) -> None:
        self._pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, self._pause * 2))
        log.error(
            "No cell can be started (%s): attempts that may kill their process wait for one, and nothing else "
            "does. Tried again in %g s.",
            *(why, self._pause),
        )
        telemetry.emit("cell.fail", {"pause": self._pause}, {"error": why})

    async def _start(self) -> Cell:
        """Start a cell, however often that has to be tried.

        Raises:
            Draining: before there was one.
        """
        starting, told = asyncio.create_task(self._until_started()), asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise Draining
            return starting.result()
        finally:
            await end(starting, told)

    async def _until_started(self) -> Cell:
        while True:
            try:
                cell = await self._try()
            except NotStarted as error:
                self._lengthen_pause(str(error))
                await asyncio.sleep(self._pause)
            else:
                self._all.add(cell)
                telemetry.emit("cell.start", {}, {"pid": cell.pid})
                log.info("Started cell %d: attempts that were under way when workers died run there.", cell.pid)
                return cell

    async def _try(self) -> Cell:
        if self._application is None:
            raise NotStarted(
                "no module holds this application by a name, such as app = Revenant(…): others cannot import it"
            )
        return await Cell.start(
            {
                "application": self._application,
                "path": sys.path,
                "parent": os.getpid(),
                "url": self._url,
                "worker": self._worker,
                "level": logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower(),
                "form": "json" if _logs_json() else "text",
            },
            patience=self._patience,
            surroundings=self._surroundings,
        )

    def _dismiss(self, cell: Cell) -> None:
        """End the common cell if nobody has been in it for a while."""
        if cell.rooms or (not cell.gone and cell.idle_since + IDLE_SECONDS > time.monotonic() + 0.01):
            return
        if self._common is cell:
            self._common = None
        ending = asyncio.create_task(cell.end(), name="revenant-cell-end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _logs_json() -> bool:
    return any(isinstance(one.formatter, JsonFormatter) for one in logging.getLogger().handlers)
