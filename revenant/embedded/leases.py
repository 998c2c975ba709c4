"""A lease on the embedded server: while any process holds one, the server runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from revenant.embedded import boot
from revenant.embedded.binaries import Binaries, find_binaries
from revenant.embedded.home import Home
from revenant.embedded.keeper import linger_seconds
from revenant.embedded.lock import Lock
from revenant.embedded.postmaster import Postmaster
from revenant.embedded.state import open_home
from revenant.errors import ConfigurationError, DatabaseUnavailable

PAUSE = 0.01
RETRIES = (
    0.0,
    0.2,
    0.5,
    1.0,
    2.0,
)  # seconds after starting a keeper; a keeper that cannot go on ends at once


class Lease:
    """The right to use the server at `url` (a libpq URI) until `release`, or the end of the process.

    A lease that is merely forgotten is held on, and a forked child shares it. Also a context manager.
    """

    def __init__(self, *, url: str, home: Home, binaries: Binaries, clients: Lock) -> None:
        self.url = url
        self._home = home
        self._binaries = binaries
        self._clients = clients

    def release(self) -> None:
        """Need the server no more; it stops soon after the last lease is gone. Safe to call twice."""
        if self._clients.fd is None:
            return
        try:
            postmaster = Postmaster.read(self._home.data)
            if postmaster and postmaster.is_alive():
                _ensure_keeper(self._home, self._binaries)  # one that was killed left nobody to stop the server
        except OSError:
            pass  # somebody removed the folder, and the server goes with it
        finally:
            self._clients.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lease(folder: Path | None = None, *, timeout: float = 60) -> Lease:
    """Join the embedded server of the state folder `folder`, starting it if need be; return when it answers.

    The default folder is REVENANT_STATE_DIR, else `.revenant` in a project, else the user's state folder.
    The server stops when nobody has held a lease for REVENANT_PG_LINGER seconds (1, if unset).
    `timeout` is in seconds. Raises ConfigurationError when there is nothing to start or no place for it,
    DatabaseUnavailable when the server does not come up.

    >>> with lease() as held:  # doctest: +SKIP
    ...     psycopg.connect(held.url)
    """
    _check_platform()
    linger_seconds()  # the keeper reads it, and has nobody to tell
    deadline = time.monotonic() + timeout
    binaries = find_binaries()
    home = open_home(folder, binaries.major)
    try:
        clients = Lock(home.clients_lock)
    except PermissionError as error:
        raise ConfigurationError(
            f"The embedded Postgres in {home.folder} belongs to another OS user ({error.strerror}). Use a "
            "folder of your own (REVENANT_STATE_DIR), or share a Postgres through DATABASE_URL."
        ) from error
    try:
        while not clients.try_shared():  # a keeper that is stopping the server holds it alone
            _pause(home, deadline)
        return Lease(url=_join(home, binaries, deadline), home=home, binaries=binaries, clients=clients)
    except BaseException:
        clients.close()
        raise


def _join(home: Home, binaries: Binaries, deadline: float) -> str:
    """The URI of the server, once it has both a keeper and an answer; call while holding clients.lock."""
    started = 0
    while True:
        if _ensure_keeper(home, binaries):
            if started == len(RETRIES):
                raise DatabaseUnavailable(
                    f"The embedded Postgres in {home.folder} cannot be started. Mend what it complains about "
                    f"and start again. Its log, {home.log}, ends:\n{home.last_words()}"
                )
            time.sleep(RETRIES[started])
            started += 1
        elif (postmaster := Postmaster.read(home.data)) and postmaster.answers():
            return postmaster.url
        _pause(home, deadline)


def _pause(home: Home, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DatabaseUnavailable(
            f"The embedded Postgres in {home.folder} did not answer in time: it may still be starting, "
            f"stopping or recovering. Try again. Its log, {home.log}, ends:\n{home.last_words()}"
        )
    time.sleep(PAUSE)


def _ensure_keeper(home: Home, binaries: Binaries) -> bool:
    """Start a keeper unless there is one (then False). Its lock passes from hand to hand, never free."""
    lock = Lock(home.keeper_lock)
    try:
        if not lock.try_exclusive():
            return False
        assert lock.fd is not None
        with home.open_log() as log:
            subprocess.run(
                [sys.executable, "-I", "-S", boot.__file__, str(home.folder), str(lock.fd)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "REVENANT_PG_BIN": str(binaries.folder)},
                pass_fds=[lock.fd],
                start_new_session=True,
                check=False,  # what went wrong is in the log, and the lock is free again
            )
        return True
    finally:
        lock.close()


def _check_platform() -> None:
    if sys.platform == "win32":
        raise ConfigurationError(
            "The embedded Postgres does not run on Windows yet. Set DATABASE_URL to a running Postgres."
        )
    if not sys.executable or getattr(sys, "frozen", False):
        raise ConfigurationError(
            "The embedded Postgres needs a Python interpreter to start its keeper, and this program is "
            "packed without one. Set DATABASE_URL to a running Postgres."
        )
