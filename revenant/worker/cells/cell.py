"""Cell: a child process in which attempts run that were beside deaths: what kills it there costs no worker.

Invariant: no cell outlives the worker that started it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from revenant.eventloop import end
from revenant.worker.cells.channel import Channel

log = logging.getLogger("revenant.cell")
COMMAND = ("-m", "revenant.cli.cell")
"""What Python is to run; the last word is the number of the socket."""
START_SECONDS = 60.0
"""How long the application may take to be imported."""
DYING_SECONDS = 1.0
"""How long a process that has closed its end may take to be gone: how it went is worth knowing."""
REAP_SECONDS = 5.0
ALIVE_SECONDS = 1.0
"""How often a cell says that it lives."""
LAST_WORDS_SECONDS = 0.1
"""What a process has said before it ended is read meanwhile."""


class NotStarted(BaseException):
    """A cell could not be started, and why."""


class Gone(BaseException):
    """A cell is gone, whatever killed it."""


class Surroundings(NamedTuple):
    """What a process takes over from who starts it."""

    folder: str | None
    environment: dict[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Return those of this process as they are now: code of users may change them."""
        try:
            folder = os.getcwd()  # as text
        except OSError:
            folder = None  # it was removed
        return cls(folder, dict(os.environ))


class Room:
    """One attempt's place in a cell: what it is told there, and what it tells."""

    def __init__(self, cell: Cell, number: int, *, deaths: int, settle: Callable[[], None]) -> None:
        self.cell = cell
        self.number = number
        self.deaths = deaths
        """How many cells have died before with the same attempt in them."""
        self.begun = False
        """Whether it is so far that something of its own may run there: then it may be what a cell dies of."""
        self.settled = False
        """Whether it has run there for a while, and the cell lives."""
        self.told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._settle = settle

    def take(self, told: dict[str, Any] | None) -> None:
        """Take in what it tells; None: the cell is gone."""
        match told:
            case {"begun": _}:
                self.begun = self.cell.used = True
            case {"settled": _}:
                self.settled = True
                self._settle()
            case _:
                self.told.put_nowait(told)

    @property
    def prime(self) -> bool:
        """Whether its attempt is the likeliest to have killed the cell, of all that were in it."""
        return self.cell.prime is self

    @property
    def only(self) -> bool:
        """Whether nothing else has ever been in the cell."""
        return self.cell.latest == self.number == 1

    async def tell(self, **words: Any) -> None:
        """Tell it something."""
        await self.cell.channel.send({"room": self.number, **words})

    async def hear(self) -> dict[str, Any]:
        """Return the next thing that it tells.

        Raises:
            Gone: the cell is.
        """
        told = await self.told.get()
        if told is None:
            raise Gone
        return told


class Cell:
    """The worker's end of one."""

    def __init__(self, process: Process, channel: Channel, *, patience: float | None = None) -> None:
        self._process = process
        self.channel = channel
        self._patience = patience
        """Seconds without a word from it after which it hangs; None: it may for ever."""
        self.rooms: dict[int, Room] = {}
        self.latest = 0
        """The number of the latest room: they are counted from 1."""
        self.used = False
        """Whether anything has ever begun in it."""
        self.gone = False
        self.prime: Room | None = None
        """Who is the likeliest to have killed it, once it is gone."""
        self.idle_since = time.monotonic()
        self._hearing = asyncio.create_task(self._hear(), name="revenant-cell")
        self._outliving = asyncio.create_task(self._outlive(), name="revenant-cell-exit")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    async def start(
        cls, hello: Mapping[str, Any], *, patience: float | None = None, surroundings: Surroundings | None = None
    ) -> Cell:
        """Start one, and wait until it has read the application; `patience` seconds without a word end it.

        Raises:
            NotStarted: there is no such process, or it ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable or "python3", *COMMAND, str(theirs.fileno())),
                    stdin=DEVNULL,
                    pass_fds=[theirs.fileno()],
                    cwd=surroundings and surroundings.folder,
                    env=surroundings and surroundings.environment,
                    # What its code sends to its whole process group is for its own, and not for the worker.
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                ours.close()
                raise NotStarted(f"{type(error).__name__}: {error}") from error
        channel = await Channel.over(ours)
        try:
            async with asyncio.timeout(START_SECONDS):
                await channel.send(hello)
                ready = await channel.receive()
        except BaseException as error:
            await asyncio.shield(cls(process, channel).end())
            if isinstance(error, TimeoutError):
                raise NotStarted(f"it was not ready within {START_SECONDS:g} s") from error
            raise
        cell = cls(process, channel, patience=patience)
        if ready is None:
            raise NotStarted(f"it ended before it was ready: {await cell.fate()}")
        return cell

    def enter(self, *, deaths: int = 0, settle: Callable[[], None] = lambda: None) -> Room:
        """Return a place for one more; `settle` is called when it has run there for a while."""
        self.latest += 1
        room = self.rooms[self.latest] = Room(self, self.latest, deaths=deaths, settle=settle)
        if self.gone:
            room.take(None)
        return room

    def leave(self, room: Room) -> None:
        """Give a place up; safe twice."""
        self.rooms.pop(room.number, None)
        self.idle_since = time.monotonic()

    async def fate(self) -> str:
        """Return how its process has ended, or was made to end now."""
        reaping = asyncio.create_task(self._process.wait())
        await asyncio.wait({reaping}, timeout=DYING_SECONDS)
        await end(reaping)
        await self.end()
        code = self._process.returncode
        if code is None:
            return "it does not end"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def end(self) -> None:
        """End it at once, if it has not ended; safe twice."""
        self.channel.close()
        if self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                pass  # it has ended by itself
        reaping = asyncio.create_task(self._process.wait())
        await asyncio.wait({reaping}, timeout=REAP_SECONDS)
        await end(reaping, self._hearing, self._outliving)

    async def _outlive(self) -> None:
        """Hang up when it has ended: what its code has forked may hold its end of the socket open for ever."""
        await self._process.wait()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        self.channel.close()

    async def _hear(self) -> None:
        """Take in what it tells, until it is gone."""
        try:
            while True:
                async with asyncio.timeout(self._patience):
                    told = await self.channel.receive()
                if told is None:
                    break
                room = self.rooms.get(told["room"])
                if room is not None:
                    room.take(told)
        except TimeoutError:
            log.error("Cell %d has said nothing for %g s, and is killed: its code hangs.", self.pid, self._patience)  # noqa: TRY400 # there is no more to say
            self._process.kill()
        self.gone = True
        here = list(self.rooms.values())
        begun = [room for room in here if room.begun]
        fresh = [room for room in begun if not room.settled]
        self.prime = max(fresh or begun, key=lambda room: (room.deaths, room.number), default=None)
        for room in here:
            room.take(None)
