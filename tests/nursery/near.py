"""The near end: asks the process that has imported the package for children, and waits for their ends."""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent.parent
LENGTH = struct.Struct("!I")
NUMBER = struct.Struct("!i")


class Process(Protocol):
    """What tests do with a process, wherever it comes from: a part of `subprocess.Popen`."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """How it ended; None: nobody has found that it has."""

    def poll(self) -> int | None:
        """Return how it ended; None: it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, in seconds."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""


class Child:
    """A process that a nursery has started; `report` is the pipe through which its end is told."""

    def __init__(self, words: Sequence[str], report: int) -> None:
        self.words = words
        self.returncode: int | None = None
        self._report = report
        self._lock = threading.Lock()
        self.pid = self._read()

    def poll(self) -> int | None:
        """Return how it ended; None: it runs."""
        return self._hear(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, in seconds; subprocess.TimeoutExpired if it does not come."""
        code = self._hear(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(list(self.words), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it is ending, and that is not told yet
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _hear(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._report], [], [], timeout)[0]:
                self.returncode = os.waitstatus_to_exitcode(self._read())
                os.close(self._report)
            return self.returncode

    def _read(self) -> int:
        told = os.read(self._report, NUMBER.size)
        assert told, "the nursery is gone, and with it what it had started"
        number: int = NUMBER.unpack(told)[0]
        return number


class Nursery:
    """The near end: asks the process with the imports for children."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._for_python = _for_python(os.environ)
        self._door, far = socket.socketpair()
        with far:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery.mother", str(far.fileno())],
                cwd=ROOT,
                env=_plain(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
            )

    def begin(
        self, words: Sequence[str], *, environment: Mapping[str, str], stdout: Any, stderr: Any, session: bool = False
    ) -> Child:
        """Start `revenant` with these words, in the folder of the project; files (or numbers) take its output."""
        assert _for_python(environment) == self._for_python, "Python reads PYTHON… when it starts: start it anew"
        order = json.dumps({"words": list(words), "environment": dict(environment), "session": session}).encode()
        reader, writer = os.pipe()
        files = array.array("i", [_fileno(stdout), _fileno(stderr), writer])
        with self._lock:
            self._door.sendmsg([LENGTH.pack(len(order))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            self._door.sendall(order)
        os.close(writer)
        return Child(words, reader)

    def close(self) -> None:
        """End it, and what it has started and still runs."""
        self._door.close()
        self._process.wait()


class _Shared:
    """The nursery of this process, opened when somebody first wants something from it."""

    lock = threading.Lock()
    opened: Nursery | None = None


def nursery() -> Nursery:
    """Return the nursery of this process."""
    with _Shared.lock:
        if _Shared.opened is None:
            _Shared.opened = Nursery()
            atexit.register(_Shared.opened.close)
        return _Shared.opened


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if not name.startswith("REVENANT_")}
    kept.pop("DATABASE_URL", None)
    return kept


def _for_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


def _fileno(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())
