"""Which folder the embedded server of this process lives in.

Below the state folder, its name holds the Postgres major (`pg18`), since 15 cannot open what 18 wrote.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from revenant.embedded.account import server_account
from revenant.embedded.copies import SHARED
from revenant.embedded.home import Home, make_folder
from revenant.errors import ConfigurationError


def state_folder() -> Path:
    """REVENANT_STATE_DIR, else `.revenant` where pyproject.toml or .git is, else the user's state folder."""
    if chosen := os.environ.get("REVENANT_STATE_DIR"):
        return Path(chosen)
    here = Path.cwd()
    if (here / "pyproject.toml").exists() or (here / ".git").exists():
        return here / ".revenant"
    return platformdirs.user_state_path("revenant")


def open_home(folder: Path | None, major: int) -> Home:
    """The home of the server for the state folder `folder` (default: state_folder()); made if it is missing.

    Root's server runs as another user. Where that user cannot enter `folder`, because a folder above it is
    private, `pgNN` is a symbolic link to a new folder below /var/lib/revenant; no mode is changed.
    """
    place = (folder or state_folder()).expanduser().absolute() / f"pg{major}"
    try:
        if not place.parent.exists():
            make_folder(place.parent)
            (place.parent / ".gitignore").write_text("*\n")
        if not place.exists() and not server_account(place / "data").reaches(place):
            _divert(place)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {place} for the embedded Postgres cannot be made: {error}. "
            "Name another one in REVENANT_STATE_DIR, or set DATABASE_URL."
        ) from error
    return Home.at(place)


def _divert(place: Path) -> None:
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(dir=SHARED, prefix=f"{place.parent.parent.name}-{place.name}-"))
    elsewhere.chmod(0o711)
    try:
        place.symlink_to(elsewhere)
    except FileExistsError:
        elsewhere.rmdir()  # somebody else was quicker: the link leads to theirs
