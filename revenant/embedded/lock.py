"""One lock on one file. The kernel frees it whatever way its holder dies, and a fork shares it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Lock:
    """A `flock` on `path`, held by this process until `close`; `fd` takes over one that is already open.

    Not closed by garbage collection: a lock that nobody closes is held until the process ends.
    """

    def __init__(self, path: Path, *, fd: int | None = None) -> None:
        self._path = path
        self.fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if fd is None else fd

    def try_shared(self) -> bool:
        """Take the lock together with others; false if somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone; false if anybody else holds it."""
        return self._try(fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Give the lock back, for every process that shares this opening of the file."""
        assert self.fd is not None
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def is_on_disk(self) -> bool:
        """Whether the path still leads to the file we hold: not, when somebody has removed the folder."""
        assert self.fd is not None
        try:
            return os.path.samestat(os.fstat(self.fd), self._path.stat())
        except OSError:
            return False

    def close(self) -> None:
        """Let go; the lock is free once every process that shares this opening has. Safe to call twice."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)

    def _try(self, kind: int) -> bool:
        assert self.fd is not None
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
