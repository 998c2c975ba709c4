"""Worker processes that can be killed, and proof of what ended them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg

from tests.nursery import Process, nursery
from tests.tools import eventually, rows


class Hand:
    """A worker process of its own, with the command that users run; its group is what gets the signals."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, except SIGTERM: that goes to the process alone."""
        if number == signal.SIGTERM:
            self.process.send_signal(number)
        elif self.running:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and proof that it was the signal that ended it."""
        assert self.running, f"it ended before it was killed; {self.last_words()}"
        self.signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL

    def last_words(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-3000:]

    def owns(self, pid: int) -> bool:
        """Whether that process is the worker, or a child of it."""
        with suppress(ProcessLookupError):
            return os.getpgid(pid) == self.process.pid
        return False


class Crew:
    """Hires workers, and sees to it that none of them outlives the test."""

    def __init__(self, url: str, folder: Path, *, app: str = "tests.entities:app") -> None:
        self.url = url
        self._folder = folder
        self._app = app
        self.hands: list[Hand] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for hand in self.hands:
            hand.signal(signal.SIGKILL)
        for hand in self.hands:
            hand.process.wait(10)

    async def hire(
        self,
        *options: str,
        url: str | None = None,
        app: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Hand:
        """Start a worker, and wait until it serves."""
        hand = self.spawn(*options, url=url, app=app, environment=environment)
        await self.serving(hand)
        return hand

    def spawn(
        self,
        *options: str,
        url: str | None = None,
        app: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Hand:
        """Start a worker."""
        log = self._folder / f"worker-{len(self.hands)}.log"
        kept = {name: word for name, word in os.environ.items() if not name.startswith("REVENANT_")}
        gate = {name: word for name, word in os.environ.items() if name == "REVENANT_TEST_GATE"}
        with log.open("wb") as file:
            process = nursery().begin(
                ["worker", "--app", app or self._app, *(options or ("--lanes", "2"))],
                environment={**kept, **gate, "DATABASE_URL": url or self.url, **(environment or {})},
                stdout=file,
                stderr=file,
                session=True,
            )
        hand = Hand(process, log)
        self.hands.append(hand)
        return hand

    async def serving(self, hand: Hand) -> None:
        """Wait until that worker's row is in the table."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:

            async def has_row() -> bool:
                assert hand.running, f"a worker ended with {hand.process.returncode}: {hand.last_words()}"
                return any(hand.owns(pid) for (pid,) in await rows(connection, "select pid from revenant.workers"))

            await eventually(has_row, what="the worker's row")
