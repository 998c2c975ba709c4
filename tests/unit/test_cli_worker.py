"""What `revenant worker` says before it serves."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from revenant.app import Revenant
from revenant.cli.worker import _prepare
from revenant.config import Settings


@dataclass
class Held:
    """A lease on a server that is not there."""

    url: str = "postgresql://me:secret@localhost:5999/mine"

    def release(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("given", [None, "postgresql://me:secret@db.example:5432/mine"])
async def test_the_log_says_which_database_it_is(
    given: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def migrated(_url: str) -> None:
        return

    monkeypatch.setattr("revenant.app.lease", Held)
    monkeypatch.setattr("revenant.app.migrate", migrated)
    caplog.set_level(logging.INFO, logger="revenant")
    app = Revenant(settings=Settings(database_url=given))
    await _prepare(app)
    where = (
        "me@db.example:5432/mine" if given else "me@localhost:5999/mine, the embedded server, as no DATABASE_URL is set"
    )
    assert [(record.levelname, record.message) for record in caplog.records] == [("INFO", f"Database: {where}.")]
