"""Crew: real workers as subprocesses, by the command that users run.

Invariant: no worker outlives `stop`, nor this process, however the trial ends; and no file does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, Self

import psycopg

from revenant.errors import RevenantError
from revenant.sql import statement
from revenant.trial.cpu import cpu_seconds

PAUSE = 0.01
START_SECONDS = 30.0
STOP_SECONDS = 28.0
LAST_WORDS = 2000
"""Bytes of a dead worker's log that are shown."""


class Killed(NamedTuple):
    """A worker that was killed, and when, by `time.perf_counter`."""

    pid: int
    at: float


class Report(NamedTuple):
    """What workers have done: `age` is the seconds since the oldest began to serve, by the database's clock."""

    age: float
    turns: int
    messages: int


class _Row(NamedTuple):
    id: str
    pid: int
    age: float
    turns: int
    messages: int


@dataclass(slots=True)
class _Member:
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    """What it writes; the file has no name, and is gone with whoever has it open."""
    mourned: bool = False
    """Whether its end is known, or asked for."""

    def last_words(self) -> str:
        size = os.fstat(self.log.fileno()).st_size
        text = os.pread(self.log.fileno(), LAST_WORDS, max(0, size - LAST_WORDS)).decode("utf-8", "replace").strip()
        return text or "(it wrote nothing)"


class Crew:
    """Starts workers for one application, kills them on request, and notices when one dies unasked.

    `app` is `module:attribute`, as for `revenant worker --app`; `say` gets words for people.
    """

    def __init__(self, *, app: str, url: str, size: int, say: Callable[[str], None]) -> None:
        self._app = app
        self._url = url
        self._size = size
        self._say = say
        self._members: list[_Member] = []
        self._known: set[str] = set()
        self._lifeline: tuple[int, int] | None = None
        """A pipe that the workers watch: it ends when this process does, even by SIGKILL."""
        self.died = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, connection: psycopg.AsyncConnection[Any], kind: str) -> None:
        """Start the workers, and wait until each has its row; it serves from then on.

        Raises:
            RevenantError: one ended instead; its last words are in the text.
        """
        await self.recruit(connection, kind, self._size)

    async def recruit(self, connection: psycopg.AsyncConnection[Any], kind: str, number: int = 1) -> None:
        """Start so many more, and wait as `start` does."""
        fresh = [self._spawn() for _ in range(number)]
        self._members += fresh
        # A process id may come again: a row that is there before the worker can be is not ours.
        self._known |= {row.id for row in await self._rows(connection, kind, fresh)}
        until, died = time.monotonic() + START_SECONDS, self.died
        wanted = {member.process.pid for member in fresh}
        while wanted - {row.pid for row in await self._rows(connection, kind, fresh)}:
            self.watch()
            if self.died > died or time.monotonic() > until:
                raise RevenantError(
                    f"The workers did not start within {START_SECONDS:g} s. Try `revenant worker --app {self._app}` "
                    f"by hand. The first one's last words:\n{fresh[0].last_words()}"
                )
            await asyncio.sleep(PAUSE)

    async def report(self, connection: psycopg.AsyncConnection[Any], kind: str) -> Report:
        """Return what the workers' rows say; the counts are those of each one's last heartbeat."""
        rows = await self._rows(connection, kind, self._members)
        return Report(max(row.age for row in rows), sum(row.turns for row in rows), sum(row.messages for row in rows))

    def cpu_seconds(self) -> float | None:
        """Return the processor time of all that live, in seconds; None where the system does not tell."""
        used = [cpu_seconds(pid) for pid in self.pids]
        known = [seconds for seconds in used if seconds is not None]
        return sum(known) if len(known) == len(used) else None

    @property
    def pids(self) -> list[int]:
        """The process ids of those that live, the oldest first."""
        return [member.process.pid for member in self._alive()]

    def kill(self, pid: int | None = None) -> Killed:
        """Send SIGKILL to the worker of that process id, else to the oldest; returns at once: `bury` it afterwards."""
        member = next(member for member in self._alive() if pid in (None, member.process.pid))
        member.mourned = True
        at = time.perf_counter()
        member.process.send_signal(signal.SIGKILL)
        return Killed(member.process.pid, at)

    async def bury(self, killed: Killed) -> None:
        """Wait for the end of a worker that was killed.

        Raises:
            RevenantError: it had ended before, so that nothing of what was measured is about a kill.
        """
        member = next(member for member in self._members if member.process.pid == killed.pid)
        while (status := member.process.poll()) is None:  # noqa: ASYNC110 # a process has no event to wait for
            await asyncio.sleep(PAUSE)
        if status != -signal.SIGKILL:
            raise RevenantError(
                f"Worker {killed.pid} ended with status {status} before it could be killed. Its last words:\n"
                f"{member.last_words()}"
            )

    def watch(self) -> None:
        """Say which workers died unasked.

        Raises:
            RevenantError: there is none left, so nothing would ever be handled.
        """
        for member in self._members:
            status = member.process.poll()
            if status is not None and not member.mourned:
                member.mourned = True
                self.died += 1
                self._say(
                    f"Worker {member.process.pid} died unexpectedly, with status {status}; the others go on. "
                    f"Its last words:\n{member.last_words()}"
                )
        if not self._alive():
            raise RevenantError("No worker is left, so nothing more would be handled. See above for why they died.")

    async def stop(self) -> None:
        """Let the workers drain, and kill what stays; safe before start and twice."""
        members, self._members = self._members, []
        try:
            for member in members:
                if member.process.poll() is None:
                    member.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_SECONDS):
                for member in members:
                    while member.process.poll() is None:  # noqa: ASYNC110 # a process has no event to wait for
                        await asyncio.sleep(PAUSE)
        except TimeoutError:
            self._say(f"A worker did not stop within {STOP_SECONDS:g} s, and was killed.")
        finally:
            for member in members:
                if member.process.poll() is None:
                    member.process.kill()
                    member.process.wait()
                member.log.close()
            if self._lifeline is not None:
                for end in self._lifeline:
                    os.close(end)
                self._lifeline = None

    def _alive(self) -> list[_Member]:
        return [member for member in self._members if member.process.poll() is None and not member.mourned]

    def _spawn(self) -> _Member:
        if self._lifeline is None:
            self._lifeline = os.pipe()
        ours, _ = self._lifeline
        command = [sys.executable, "-m", "revenant", "worker", "--app", self._app, "--processes", "0"]
        log = TemporaryFile()  # noqa: SIM115 # open for as long as its worker is a member
        process = subprocess.Popen(
            [*command, "--supervisor", str(ours)],
            pass_fds=[ours],
            env={**os.environ, "DATABASE_URL": self._url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for us, who then stop them in good order.
            start_new_session=True,
        )
        return _Member(process, log)

    async def _rows(
        self, connection: psycopg.AsyncConnection[Any], kind: str, members: Sequence[_Member]
    ) -> list[_Row]:
        pids = [member.process.pid for member in members]
        parameters = {"host": socket.gethostname(), "pids": pids, "kind": kind}
        cursor = await connection.execute(statement("list_crew"), parameters)
        return [_Row(*row) for row in await cursor.fetchall() if row[0] not in self._known]
