"""The OS user that runs the server: ourselves, or, since Postgres refuses root, somebody root steps down to.

Nothing here creates a user or changes the mode of a folder that was there before us.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from revenant.errors import ConfigurationError

if sys.platform != "win32":
    import pwd

READ, ENTER = 4, 1


@dataclass(frozen=True, slots=True)
class Account:
    """An OS user. `other` means: not the user of this process, so that we must step down to it."""

    name: str
    uid: int
    gid: int

    @property
    def other(self) -> bool:
        """Whether starting a process as this user needs root."""
        return self.uid != os.geteuid()

    def may(self, path: Path, wanted: int) -> bool:
        """Whether the mode bits of `path` grant `wanted` (READ, ENTER or their sum), with no extra groups."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & wanted == wanted

    def reaches(self, path: Path) -> bool:
        """Whether this user may enter every folder above `path`. Of ourselves the kernel will tell: true."""
        return not self.other or all(self.may(folder, ENTER) for folder in path.resolve().parents)

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`, which we have just created."""
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def spawn(self, command: Sequence[str], *, output: BinaryIO, home: Path) -> subprocess.Popen[bytes]:
        """Start `command` as this user, in its own session, with an environment that holds no surprise."""
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(home)},
                start_new_session=True,
                user=self.uid if self.other else None,
                group=self.gid if self.other else None,
                extra_groups=[] if self.other else None,
            )
        except PermissionError as error:
            raise ConfigurationError(
                f"{command[0]} could not be started as the OS user {self.name}: {error}. "
                "Postgres does not run as root: name another user in REVENANT_PG_USER, or set DATABASE_URL."
            ) from error


def server_account(data: Path) -> Account:
    """The user for the server on the folder `data`.

    Ourselves, unless we are root; then the owner of `data` where it exists, else REVENANT_PG_USER, else
    `postgres`, else `nobody`.
    """
    if os.geteuid() != 0:
        return _account_of(os.geteuid())
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return _account_of(owner)
    wanted = os.environ.get("REVENANT_PG_USER")
    for name in [wanted] if wanted else ["postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"Postgres does not run as root, and the OS user {wanted or 'postgres or nobody'} cannot run it here "
        "(it does not exist, or is root again). Name another user in REVENANT_PG_USER, or set DATABASE_URL."
    )


def _account_of(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        raise ConfigurationError(
            f"The user id {uid} has no name on this machine, and Postgres insists on one. "
            "Add it to the list of users (in a container: /etc/passwd), or set DATABASE_URL."
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
