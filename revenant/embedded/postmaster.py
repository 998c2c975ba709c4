"""What `postmaster.pid` says about a running server, and whether it is still true."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from revenant.embedded.account import Account

PID_FILE = "postmaster.pid"
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # every Postgres answers it with one byte, before any login
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The server process on the folder `data`, as it described itself; `socket` and `port` lead to it."""

    pid: int
    data: Path
    socket: Path
    port: int
    ready: bool

    @classmethod
    def read(cls, data: Path) -> Postmaster | None:
        """Read the file; None when there is none, or Postgres is about to write it."""
        try:
            lines = (data / PID_FILE).read_text().splitlines()
            lines += [""] * (8 - len(lines))
            return cls(
                pid=abs(int(lines[0])),
                data=data,
                socket=Path(lines[4]),
                port=int(lines[3] or 0),
                ready=lines[7].strip() == "ready",
            )
        except (OSError, ValueError, IndexError):
            return None

    @property
    def url(self) -> str:
        """The libpq URI of its socket."""
        return socket_url(self.socket, self.port)

    def is_alive(self) -> bool:
        """Whether that process is a Postgres at work on this folder, not a zombie, not a stranger."""
        if PROC.joinpath("self").exists():
            return is_process(self.pid, "postgres") and self._works_here()
        listed = subprocess.run(
            ["/bin/ps", "-ww", "-o", "stat=,command=", "-p", str(self.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return "postgres" in listed and str(self.data) in listed and not listed.startswith("Z")

    def answers(self) -> bool:
        """Whether the server says it is ready and its socket answers."""
        if not self.ready:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket / f".s.PGSQL.{self.port}"))
                connection.sendall(SSL_REQUEST)
                return connection.recv(1) in {b"N", b"S"}
        except OSError:
            return False

    def children(self) -> list[int]:
        """The numbers of the server's own processes, where the system tells (Linux)."""
        try:
            return [int(word) for word in (PROC / f"{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def _works_here(self) -> bool:
        try:
            return (PROC / str(self.pid) / "cwd").samefile(self.data)
        except OSError:
            return False  # gone, or another user's: ours runs as a user whose processes we may inspect


def socket_url(socket: Path, port: int) -> str:
    """The libpq URI, complete, so that no PG* variable of the reader's environment can bend it."""
    return f"postgresql://postgres@/postgres?host={quote(str(socket), safe='')}&port={port}"


def is_process(pid: int, name: str = "") -> bool:
    """Whether that process, its name beginning with `name`, exists and is no zombie, going by /proc."""
    try:
        found, _, rest = (PROC / str(pid) / "stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False
    return found.startswith(name) and rest.split()[0] not in {"Z", "X"}


def disown(lock: Path, account: Account) -> None:
    """Write our own number into a lock file of a dead server, whose number may be a stranger's by now.

    Postgres takes its parent's number for a stale one, and goes on to check that nobody uses the shared
    memory that postmaster.pid names: a check that would be lost with the file.
    """
    # Neither read nor written through a link: the folder is the server user's, and we may be root.
    try:
        with open(os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            rest = file.read().partition("\n")[2]
    except FileNotFoundError:
        return
    fresh = lock.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(fresh, flags, 0o600), "w") as file:
        file.write(f"{os.getpid()}\n{rest}")
    account.give(fresh)
    fresh.replace(lock)
