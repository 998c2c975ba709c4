"""Postgres' data folder: whole, or not there. initdb works beside it, and a rename makes it appear."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from revenant.embedded.binaries import Binaries
from revenant.embedded.home import Home
from revenant.errors import DatabaseUnavailable

DRAFT = "data.new."


def ensure_cluster(home: Home, binaries: Binaries) -> None:
    """Run initdb unless it has been run, and remove what is left of one that was killed."""
    for leftover in home.folder.glob(f"{DRAFT}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # its initdb may still be writing: then the next start does it
    if not home.data.exists():
        _create(home, binaries)


def _create(home: Home, binaries: Binaries) -> None:
    draft = Path(tempfile.mkdtemp(dir=home.folder, prefix=DRAFT))
    home.account.give(draft)
    command = [binaries.tool("initdb"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
    with home.open_log() as log:
        initdb = home.account.spawn([*command, "--no-instructions", "-D", str(draft)], output=log, home=draft)
    if initdb.wait() != 0:
        raise DatabaseUnavailable(
            f"initdb could not make a database in {home.folder}. Mend what it complains about and start "
            f"again. Its log, {home.log}, ends:\n{home.last_words()}"
        )
    draft.rename(home.data)
    folder = os.open(home.folder, os.O_RDONLY)
    try:
        os.fsync(folder)  # initdb has synced the files; now their folder's name
    finally:
        os.close(folder)
