"""One Postgres server on one folder: make it, start it, or take over the one that runs; stop it, kill it.

It is a child process without a shell or pg_ctl between, so no path needs quoting and nobody else reaps it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from revenant.embedded.binaries import Binaries, find_binaries
from revenant.embedded.cluster import ensure_cluster
from revenant.embedded.copies import usable_binaries
from revenant.embedded.home import Home
from revenant.embedded.postmaster import PID_FILE, Postmaster, disown, is_process, socket_url
from revenant.errors import DatabaseUnavailable

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_parallel_workers_per_gather": "0",  # a container's shared memory may be too small for them
    "synchronous_commit": "on",
    "autovacuum": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
PAUSE = 0.01


class Server:
    """A server on `folder`; `settings` (postgresql.conf names and values) go over SETTINGS.

    `url` is the libpq URI of its socket. It listens on TCP only if the settings say so, and then trusts
    every user of this machine: for tests.

    >>> with Server(Path("/tmp/example"), settings={"max_connections": "20"}) as server:  # doctest: +SKIP
    ...     psycopg.connect(server.url)
    """

    def __init__(
        self, folder: Path, *, binaries: Binaries | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.home = Home.at(folder)
        self._binaries = usable_binaries(binaries or find_binaries(), self.home.account)
        self._settings = {**SETTINGS, **(settings or {})}
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The libpq URI, the same over every stop and start."""
        return socket_url(self.home.socket, int(self._settings["port"]))

    @property
    def pid(self) -> int | None:
        """The number of the server's first process, None while it is down."""
        postmaster = Postmaster.read(self.home.data)
        return postmaster.pid if postmaster and self.is_running() else None

    def is_running(self) -> bool:
        """Whether the process is there; it may still be starting, or recovering from a crash."""
        if self._child:
            return self._child.poll() is None
        postmaster = Postmaster.read(self.home.data)
        return postmaster is not None and postmaster.is_alive()

    def start(self, *, timeout: float = 60) -> None:
        """Return when the server answers; one that runs already is taken over. `timeout` is in seconds."""
        deadline = time.monotonic() + timeout
        ensure_cluster(self.home, self._binaries)
        while True:
            ours = not self.is_running()
            if ours:
                self._launch()
            if self._await_answer(deadline):
                return
            if ours:
                self.kill()  # somebody may have removed the folder under it
                raise DatabaseUnavailable(
                    f"The embedded Postgres in {self.home.folder} stopped while starting. "
                    f"Its log, {self.home.log}, ends:\n{self.home.last_words()}"
                )

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", *, timeout: float = 30) -> None:
        """Stop the server and wait; it gets rougher every `timeout` seconds. Safe to call twice."""
        postmaster = Postmaster.read(self.home.data)
        for attempt in (mode, "immediate"):
            self._signal(SIGNALS[attempt])
            deadline = time.monotonic() + timeout
            # Its file goes a moment before it does.
            while self.is_running() or (postmaster is not None and is_process(postmaster.pid, "postgres")):
                if time.monotonic() > deadline:
                    break
                time.sleep(PAUSE)
            else:
                self._child = None
                return
        self.kill()

    def kill(self) -> None:
        """Crash it: `kill -9` to all its processes. What was committed is there after the next start."""
        postmaster = Postmaster.read(self.home.data)
        children = postmaster.children() if postmaster and self.is_running() else []
        self._signal(signal.SIGKILL)
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it followed its parent
        while self.is_running() or any(map(is_process, children)):
            time.sleep(PAUSE)
        self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        self.home.make_socket_folder()
        for lock in (self.home.data / PID_FILE, self.home.socket / f".s.PGSQL.{self._settings['port']}.lock"):
            disown(lock, self.home.account)
        postgres, data, socket = self._binaries.tool("postgres"), str(self.home.data), str(self.home.socket)
        command = [postgres, "-D", data, "-k", socket]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.home.open_log() as log:
            self._child = self.home.account.spawn(command, output=log, home=self.home.folder)

    def _await_answer(self, deadline: float) -> bool:
        """True once the server answers, False if it ends before it does."""
        while self.is_running() and self.home.data.exists():
            if (postmaster := Postmaster.read(self.home.data)) and self._is_its(postmaster) and postmaster.answers():
                return True
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"The embedded Postgres in {self.home.folder} runs, but does not answer yet: it may be "
                    f"recovering from a crash. Try again. Its log, {self.home.log}, ends:\n"
                    f"{self.home.last_words()}"
                )
            time.sleep(PAUSE)
        return False

    def _is_its(self, postmaster: Postmaster) -> bool:
        return self._child is None or self._child.pid == postmaster.pid

    def _signal(self, number: signal.Signals) -> None:
        postmaster = Postmaster.read(self.home.data)
        if self._child:
            self._child.send_signal(number)  # does nothing once it has been reaped
        elif postmaster and postmaster.is_alive():
            os.kill(postmaster.pid, number)
