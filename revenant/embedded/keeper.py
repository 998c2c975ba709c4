"""The process that owns the server: `python -m revenant.embedded.keeper DIR`.

It starts the server, or takes over the one that runs, and stops it once nobody has held a lease for a while.
Whoever holds keeper.lock is the keeper; it ends still holding both locks, so that nobody comes in between.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from pathlib import Path

from revenant.embedded.home import Home
from revenant.embedded.lock import Lock
from revenant.embedded.server import Server
from revenant.errors import ConfigurationError

LINGER = "1.0"  # seconds without a lease before the server is stopped, unless REVENANT_PG_LINGER says
LONGEST_LINGER = 1e9
PAUSE = 0.25  # seconds between two looks


class Keeper:
    """Watches the server and its leases; `run` returns once the server has been stopped."""

    def __init__(self, *, server: Server, keeper: Lock, clients: Lock, linger: float) -> None:
        self._server = server
        self._keeper = keeper
        self._clients = clients
        self._linger = linger
        self._idle_since: float | None = None

    def run(self) -> None:
        """Keep the server until nobody needs it."""
        self._server.start(timeout=float("inf"))
        while self.run_once():
            time.sleep(PAUSE)

    def run_once(self) -> bool:
        """Look once. False when it is over; then the server is stopped and clients.lock is ours alone."""
        if not self._keeper.is_on_disk():
            self._server.stop("immediate")  # somebody removed the folder: there is nothing left to keep
            return False
        if self._is_over():
            self._server.stop()
            return False
        if not self._server.is_running():
            print("The server is gone while somebody holds a lease: starting it again.", flush=True)  # noqa: T201 - our log
            self._server.start(timeout=float("inf"))
        return True

    def _is_over(self) -> bool:
        if not self._clients.try_exclusive():
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = time.monotonic()
        if time.monotonic() - self._idle_since >= self._linger:
            return True
        self._clients.unlock()
        return False


def main(arguments: list[str]) -> int:
    """Keep the server in the folder arguments[0]; arguments[1], if given, is keeper.lock, open and locked.

    The exit code is 0 when the server was stopped or has another keeper, 1 (with a traceback) when it failed.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _go_on)
    home = Home.at(Path(arguments[0]))
    keeper = Lock(home.keeper_lock, fd=int(arguments[1]) if len(arguments) > 1 else None)
    if keeper.try_exclusive():
        linger = linger_seconds()
        clients = Lock(home.clients_lock)
        Keeper(server=Server(home.folder), keeper=keeper, clients=clients, linger=linger).run()
    return 0


def linger_seconds() -> float:
    """Return how long the server stays when nobody uses it.

    Raises:
        ConfigurationError: REVENANT_PG_LINGER is no such time.
    """
    given = os.environ.get("REVENANT_PG_LINGER", LINGER)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_LINGER:
        raise ConfigurationError(
            f"REVENANT_PG_LINGER is {given!r}, and takes seconds from 0 to {LONGEST_LINGER:,.0f}. Correct "
            "it, or unset it."
        )
    return seconds


def _go_on(_number: int, _frame: object) -> None:
    """Leases decide, not signals: a worker that drains on the same SIGTERM needs its database to the end."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
