"""The end of a process in good order: the first signal drains it, the second ends it at once, as does a drain overrun.

Invariant: a process whose supervisor has died ends too, whatever its handlers are doing to the event loop.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

OVERRUN = 1
"""Exit code of a process that had to be ended although it was draining."""


class Shutdown:
    """Turns SIGTERM, SIGINT and the supervisor's death into `requested`; made inside the running event loop.

    `patience` (seconds) is how long the process may take from then on. `supervisor` is the reading end of a pipe
    whose other end only the supervisor holds. `at_once` runs before an immediate end.
    """

    def __init__(
        self, *, patience: float, supervisor: int | None = None, at_once: Callable[[], None] | None = None
    ) -> None:
        self.requested = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._supervisor = supervisor
        self._at_once = at_once
        self._asked = False
        self._ear, self._mouth = os.pipe()

    def install(self) -> None:
        """Begin to hear signals, in the main thread."""
        threading.Thread(target=self._watch, name="revenant-shutdown", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        # A plain signal handler runs between two bytecodes even where a handler blocks the event loop.
        if self._asked:
            os.write(2, f"Second signal ({signal.Signals(number).name}): ending at once.\n".encode())
            self._end(128 + number)
        self._asked = True
        os.write(self._mouth, b"!")

    def _watch(self) -> None:
        sources = [self._ear] if self._supervisor is None else [self._ear, self._supervisor]
        select.select(sources, [], [])
        self._asked = True
        try:
            self._loop.call_soon_threadsafe(self.requested.set)
        except RuntimeError:
            return  # the loop has ended, and the process is about to
        time.sleep(self._patience)
        os.write(2, f"Not drained after {self._patience:g} s: ending now. Nothing committed is lost.\n".encode())
        self._end(OVERRUN)

    def _end(self, code: int) -> None:
        if self._at_once is not None:
            self._at_once()
        os._exit(code)
