"""The command in processes of its own: run to its end, or kept running and watched.

They begin in the nursery, which spares them the imports; `anew` is for tests of how the command starts: as users do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from tests.nursery import Process, nursery

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "revenant"]
APP = "tests.entities:app"


def environment(url: str | None, **more: str) -> dict[str, str]:
    """Return this environment, without what the tester has set for Revenant."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REVENANT_")}
    kept.pop("DATABASE_URL", None)
    return {**kept, **({"DATABASE_URL": url} if url else {}), **more}


def revenant(*words: str, url: str | None, anew: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = _begin(words, environment(url, **more), stdout, stderr, anew=anew)
        try:
            code = process.wait(100)
        finally:
            process.kill()
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess([*COMMAND, *words], code, stdout.read(), stderr.read())


def _begin(
    words: Sequence[str], environment: dict[str, str], stdout: IO[str], stderr: IO[str], *, anew: bool
) -> Process:
    if anew:
        return subprocess.Popen([*COMMAND, *words], cwd=ROOT, env=environment, stdout=stdout, stderr=stderr)
    return nursery().begin(words, environment=environment, stdout=stdout, stderr=stderr)


class Running:
    """A command that runs; its stderr is in a file, so that it never blocks."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        """Return what it has said on stderr so far."""
        return self._log.read_text()

    def until_said(self, words: str, times: int = 1) -> None:
        """Wait until it has said so, so often."""
        wait_for(lambda: self.said().count(words) >= times, what=f"{words!r} in the log:\n{self.said()}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self, *, within: float = 30.0) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(timeout=within)


@contextmanager
def running(*words: str, url: str, anew: bool = False, **more: str) -> Iterator[Running]:
    """Start the command, and see to it that it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "stderr"
        with log.open("w") as stderr, open(os.devnull, "w") as nothing:
            process = _begin(words, environment(url, **more), nothing, stderr, anew=anew)
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], T], *, seconds: float = 30.0, what: str = "the condition") -> T:
    """Wait until the condition is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.parent.parent.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc/self").exists()
