"""The folder of one embedded server: its data, its locks, its log and, where the path allows, its socket."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from revenant.embedded.account import Account, server_account
from revenant.errors import ConfigurationError

SOCKET_LIMIT = 100  # bytes; the kernel's is 107 on Linux and 103 on macOS
SOCKET_NAME = ".s.PGSQL.65535"  # the longest there is
LOG_LIMIT = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Home:
    """The places of one server, and the OS user (`account`) that runs it."""

    folder: Path
    account: Account

    @classmethod
    def at(cls, folder: Path) -> Home:
        """Make the folder unless it is there; ConfigurationError if the server's user could not enter it."""
        try:
            make_folder(folder)
            home = cls(folder.resolve(), server_account(folder / "data"))
        except OSError as error:
            raise ConfigurationError(
                f"The folder {folder} for the embedded Postgres cannot be used: {error}. "
                "Name another one in REVENANT_STATE_DIR, or set DATABASE_URL."
            ) from error
        if not home.account.reaches(home.data):
            raise ConfigurationError(
                f"Postgres does not run as root, and the OS user {home.account.name}, who would run it, "
                f"cannot enter {home.folder}: a folder above it is private. Name another folder in "
                "REVENANT_STATE_DIR, another user in REVENANT_PG_USER, or set DATABASE_URL."
            )
        return home

    @property
    def data(self) -> Path:
        """Postgres' own folder, written by its user only."""
        return self.folder / "data"

    @property
    def clients_lock(self) -> Path:
        """Held (shared) by every process that uses the server: a lease."""
        return self.folder / "clients.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the one keeper, for its whole life."""
        return self.folder / "keeper.lock"

    @property
    def log(self) -> Path:
        """What the keeper, initdb and Postgres had to say."""
        return self.folder / "server.log"

    def open_log(self) -> BinaryIO:
        """Open the log to append to it; one that has grown large is put aside, in place of the one before."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.old"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return open(os.open(self.log, flags, 0o600), "ab")

    def last_words(self) -> str:
        """The end of the log, for an error's text."""
        if not self.log.exists():
            return "(it wrote no log)"
        return self.log.read_text(errors="replace")[-600:].strip() or "(its log is empty)"

    @property
    def socket(self) -> Path:
        """The folder of the socket.

        It is inside the home, unless the path is too long for a socket or holds what Postgres or libpq take
        for a list of hosts; then it is in the machine's temporary folder, named by a hash.
        """
        inside = self.folder / "socket"
        name = os.fsencode(inside / SOCKET_NAME)
        fits = len(name) <= SOCKET_LIMIT and not set(name) & set(b',"\n')
        return inside if fits else self._far_socket()

    def make_socket_folder(self) -> None:
        """Make the folder of the socket; only the server's user may enter it."""
        folder = self.socket
        try:
            folder.mkdir(mode=0o700)
            self.account.give(folder)
        except FileExistsError:
            status = folder.lstat()
            private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
            if not private or status.st_uid != self.account.uid:
                raise ConfigurationError(
                    f"{folder} is needed for the socket of the embedded Postgres, but it is not a private "
                    f"folder of the OS user {self.account.name}. Find out who made it, and remove it."
                ) from None

    def _far_socket(self) -> Path:
        name = f"revenant-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        for place in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - a 0700 folder in it, checked above
            folder = place / name
            if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_LIMIT and self.account.reaches(folder):
                return folder
        raise ConfigurationError(
            f"No temporary folder has a path short enough for a socket that {self.account.name} may use. "
            "Set TMPDIR to one (/tmp, say), or set DATABASE_URL."
        )


def make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, for us alone; root lets others pass, but not look."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return  # made by somebody else at the same moment (or a file: the caller will hit it)
    if os.geteuid() == 0:
        folder.chmod(0o711)
