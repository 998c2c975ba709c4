"""A copy of the programs for a server user who cannot enter the folder they were installed in.

Only root needs it: the wheel lies below root's home, which is private, and stays so.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from revenant.embedded.account import ENTER, READ, Account
from revenant.embedded.binaries import Binaries
from revenant.errors import ConfigurationError

SHARED = Path("/var/lib/revenant")  # where root puts what another user has to reach
PARTS = ("bin", "lib", "share")


def usable_binaries(binaries: Binaries, account: Account) -> Binaries:
    """The same programs where `account` can run them: as they are, or copied once (35 MB) below SHARED."""
    postgres = (binaries.folder / "postgres").resolve()
    if not account.other or (account.reaches(postgres) and account.may(postgres, READ + ENTER)):
        return binaries
    mark = hashlib.sha256(f"{postgres} {postgres.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    target = SHARED / f"binaries-{binaries.major}-{mark}"
    prefix = binaries.folder.parent
    try:
        if not target.exists():
            _copy(prefix, target)
    except OSError as error:
        raise ConfigurationError(
            f"The OS user {account.name} cannot run {postgres}, whose folder is private, and copying it to "
            f"{target} failed: {error}. Install it in a folder that everybody may enter, or set DATABASE_URL."
        ) from error
    return Binaries(target / prefix.parent.name / prefix.name / binaries.folder.name, binaries.major)


def _copy(prefix: Path, target: Path) -> None:
    """Copy an installation and, two levels up, the libraries that a wheel keeps beside its package."""
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=SHARED, prefix=f"{target.name}."))
    package = prefix.parent
    try:
        for part in PARTS:
            if (prefix / part).exists():
                shutil.copytree(prefix / part, draft / package.name / prefix.name / part, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        _open_up(draft)
        draft.rename(target)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():  # else somebody else copied it at the same moment
            raise


def _open_up(folder: Path) -> None:
    """Let everybody read and run our copy, whatever umask the original was installed with."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
