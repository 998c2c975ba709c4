"""A state folder of an embedded server under test, the clients that hold leases on it, and what runs there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from revenant import embedded
from revenant.embedded import find_binaries
from revenant.embedded.postmaster import Postmaster

BINARIES = find_binaries()
ROOT = Path(embedded.__file__).parents[2]
CLIENT = """
import sys
from pathlib import Path
from revenant.embedded import lease
sys.stdin.readline()
print(lease(Path(sys.argv[1])).url, flush=True)
sys.stdin.readline()
"""


def eventually(condition: Callable[[], object], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def running(folder: Path, program: str = "") -> list[int]:
    """The processes whose command line names a folder of ours: the keeper (boot.py), initdb, postgres."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if os.fsencode(folder) in command and program.encode() in command:
            found.append(int(process.name))
    return found


class Client:
    """A process that takes a lease when told to, and holds it until it is told to end, or killed."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **environment},
            text=True,
        )

    def take(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def url(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def end(self, number: signal.Signals | None = None) -> int:
        if number:
            self._process.send_signal(number)
            self._process.wait()
        self._process.communicate("end\n" if self._process.poll() is None else None)
        return self._process.returncode


class State:
    """A state folder that the server's user reaches, and the processes at work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: list[Client] = []

    def client(self, **environment: str) -> Client:
        self.clients.append(Client(self.folder, **environment))
        return self.clients[-1]

    @property
    def home(self) -> Path:
        return (self.folder / f"pg{BINARIES.major}").resolve()

    @property
    def server(self) -> int:
        postmaster = Postmaster.read(self.home / "data")
        assert postmaster is not None
        assert postmaster.is_alive()
        return postmaster.pid

    @property
    def keeper(self) -> int:
        (pid,) = running(self.home, "boot.py")
        return pid

    def processes(self) -> list[int]:
        return running(self.home)


@contextmanager
def state_ending_idle(folder: Path) -> Iterator[State]:
    """Hand out a state, and see to it that nothing is left running afterwards."""
    state = State(folder)
    try:
        yield state
        eventually(lambda: not state.processes())
    finally:
        for client in state.clients:
            client.end(signal.SIGKILL)
        for pid in state.processes():
            os.kill(pid, signal.SIGKILL)
