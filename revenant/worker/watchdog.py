"""Watchdog: a thread that notices when a handler or a step blocks the event loop: it says where, then ends the process.

Invariant: no loop that stands still keeps entities or runs from others, even where the interpreter's lock is held.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

log = logging.getLogger("revenant.watchdog")
BEAT_SECONDS = 0.5
NOTICE_SECONDS = 3.0
"""How long the loop may stand still before its stack is logged."""
GRACE_SECONDS = 3.0
"""Beyond `handler_timeout`: a handler that waits is cancelled by then, so this one cannot be."""
STDERR = 2
HUNG = 1
"""Exit code of a process that ended itself because its event loop stood still."""


class Watchdog:
    """Watches the running event loop from a thread; made in the loop's own thread.

    `limit` (seconds) is how long the loop may stand still. `running` says which message or step has it.
    """

    def __init__(self, *, handler_timeout: float, running: Callable[[], str]) -> None:
        self._limit = handler_timeout + GRACE_SECONDS
        self._running = running
        self._watched = threading.get_ident()
        self._beat = time.monotonic()
        self._told = False
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; a process that dies by a signal, such as SIGSEGV, says from now on where it was."""
        faulthandler.enable(file=STDERR, all_threads=False)
        self._live()
        threading.Thread(target=self._watch, name="revenant-watchdog", daemon=True).start()

    def wrong(self) -> str:
        """Return what is wrong with the event loop now; empty when it runs. For any thread."""
        still = time.monotonic() - self._beat
        return f"the event loop has stood still for {still:.1f} s" if still > NOTICE_SECONDS else ""

    def stop(self) -> None:
        """End; safe before start and twice."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        faulthandler.cancel_dump_traceback_later()

    def _live(self) -> None:
        self._beat = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._live)

    def _watch(self) -> None:
        slept_at = time.monotonic()
        while not self._stopped.wait(BEAT_SECONDS):
            now = time.monotonic()
            if now - slept_at > BEAT_SECONDS + NOTICE_SECONDS:
                # This thread stood still as well: the whole process was stopped, or its machine slept.
                self._beat = now
            slept_at = now
            self.run_once(now - self._beat)
            # Where one call of C holds the interpreter's lock, this thread stands still too: faulthandler's does not.
            faulthandler.dump_traceback_later(2 * self._limit, exit=True, file=STDERR)

    def run_once(self, still: float) -> None:
        """Judge a loop that has stood still for so many seconds."""
        if still < NOTICE_SECONDS:
            if self._told:
                log.warning("The event loop goes on.")
            self._told = False
            return
        if not self._told:
            self._told = True
            log.warning(
                "The event loop has stood still for %.1f s, and all else with it: something blocks it. Handled: "
                "%s. Use `await`, or asyncio.to_thread for what blocks. It is here:\n%s",
                *(still, self._running(), self._stack()),
            )
        if still > self._limit:
            log.critical(
                "The event loop has stood still for %.1f s: this process ends now, so that others get its entities and "
                "runs. Handled: %s. It is here:\n%s",
                *(still, self._running(), self._stack()),
            )
            os._exit(HUNG)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return "".join(traceback.format_stack(frame)[-30:]) if frame is not None else "(no frame)"
