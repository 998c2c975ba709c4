"""Supervisor: keeps worker processes running: restarts what crashes, with back-off, and drains all at once.

Invariant: no child outlives it. Each holds the reading end of a pipe whose writing end only the supervisor has.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence

from revenant.worker.process import GRACE, await_schema, until_told
from revenant.worker.shutdown import OVERRUN, Shutdown

log = logging.getLogger("revenant.supervisor")
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
HEALTHY_SECONDS = 10.0
"""A child that has lived this long has not failed to start: its successor begins without back-off."""


class Supervisor:
    """Runs `processes` children; `command` says how number n (from 0) is started, but for its last word.

    That is the number of the pipe's reading end.
    """

    def __init__(self, *, command: Callable[[int], Sequence[str]], processes: int, drain_timeout: float) -> None:
        self._command = command
        self._processes = processes
        self._drain_timeout = drain_timeout
        self._children: set[Process] = set()
        # Close-on-exec both: a child gets the reading end by `pass_fds`, and nobody gets the other.
        self._reader, self._writer = os.pipe()

    def hear(self) -> Shutdown:
        """Begin to hear signals."""
        shutdown = Shutdown(patience=self._drain_timeout + 2 * GRACE, at_once=self._kill)
        shutdown.install()
        return shutdown

    async def run(self, url: str, shutdown: Shutdown) -> int:
        """Keep the children running until the shutdown; return the exit code.

        Raises:
            SchemaMismatch: the schema is missing, or does not fit this code; nothing was started.
        """
        if not await until_told(shutdown, await_schema(url)):
            return 0
        log.info("Supervisor %d keeps %d worker process%s.", os.getpid(), self._processes, "es" * (self._processes > 1))
        keepers = [asyncio.create_task(self._keep(number, shutdown)) for number in range(self._processes)]
        await shutdown.requested.wait()
        for child in self._children:
            _signal(child, signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._drain_timeout + GRACE + 1)
        if late:
            self._kill()
            await asyncio.wait(late)
            return OVERRUN
        return 0

    async def _keep(self, number: int, shutdown: Shutdown) -> None:
        """Keep one child running; a successor waits a little longer after each that did not live long."""
        failures = 0
        while not shutdown.requested.is_set():
            began = time.monotonic()
            await self._live(number, shutdown)
            if shutdown.requested.is_set():
                return
            failures = 0 if time.monotonic() - began > HEALTHY_SECONDS else failures + 1
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**failures) * random.uniform(0.75, 1.25)  # noqa: S311 # jitter
            log.warning("Starting another in %.1f s.", pause)
            try:
                async with asyncio.timeout(pause):
                    await shutdown.requested.wait()
            except TimeoutError:
                pass  # the pause is over

    async def _live(self, number: int, shutdown: Shutdown) -> None:
        """Start a child and see it end."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command(number),
                str(self._reader),
                stdin=DEVNULL,
                pass_fds=[self._reader],
                # Of a session of its own: Ctrl-C in a terminal reaches it once, through the supervisor.
                start_new_session=True,
            )
        except OSError as error:
            log.warning("A worker process could not be started (%s).", error)
            return
        self._children.add(child)
        log.info("Started worker process %d.", child.pid)
        try:
            if shutdown.requested.is_set():
                _signal(child, signal.SIGTERM)
            code = await child.wait()
        finally:
            self._children.discard(child)
        if not shutdown.requested.is_set():
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            log.warning("Worker process %d %s.", child.pid, how)

    def _kill(self) -> None:
        for child in tuple(self._children):
            _signal(child, signal.SIGKILL)


def _signal(child: Process, number: signal.Signals) -> None:
    try:
        child.send_signal(number)
    except ProcessLookupError:
        pass  # it has ended by itself
