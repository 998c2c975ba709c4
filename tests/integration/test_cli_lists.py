"""Lists of entities and of dead letters: laid out together, and with a word where the kind's name may be the mistake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from revenant.app import Revenant
from revenant.cli import main
from revenant.config import Settings
from revenant.worker.worker import Worker
from tests.acceptance import command
from tests.diary import Diary
from tests.entities import Account


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Account, Diary], database_url=database, settings=settings) as application:
        yield application


async def revenant(url: str, *words: str) -> Result:
    environment = {"DATABASE_URL": url, "REVENANT_APP": None}
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), env=environment)


async def test_entities_of_many_buckets_are_laid_out_as_one_table(app: Revenant, worker: Worker, database: str) -> None:
    keys = ["a", "a rather long key", "b", "c", "d"]
    for key in keys:
        await app.ref(Account, key).deposit(1)
    lines = (await revenant(database, "ls", "Account")).stdout.splitlines()
    assert len(lines) == 1 + len(keys)
    place = lines[0].index("VERSION")
    assert {line[place - 2 : place + 1] for line in lines[1:]} == {"  1"}


@pytest.mark.parametrize("words", [("ls", "Acount"), ("dead", "ls", "--kind", "Acount")])
async def test_a_kind_of_which_there_is_nothing_and_that_nobody_knows_gets_a_word(
    app: Revenant, worker: Worker, database: str, words: tuple[str, ...]
) -> None:
    unknown = await revenant(database, *words)
    assert unknown.exit_code == 0
    assert "Nothing was found, and no live worker serves the kind 'Acount'." in unknown.stderr
    known = await revenant(database, *(word.replace("Acount", "Account") for word in words))
    assert (known.exit_code, known.stderr) == (0, "")
    refused = await asyncio.to_thread(command.revenant, *words, url=database, REVENANT_APP=command.APP)
    assert refused.returncode == 2
    assert "No entity is of kind 'Acount'. This application has: " in refused.stderr


async def test_an_empty_list_of_a_kind_whose_workers_are_away_does_not_deny_its_entities(
    app: Revenant, database: str
) -> None:
    serving = app.worker()
    await serving.start()
    await app.ref(Account, "a").deposit(1)
    await serving.stop()
    empty = await revenant(database, "dead", "ls", "--kind", "Account")
    assert empty.exit_code == 0
    assert empty.stderr.startswith("Nothing was found, and no live worker serves the kind 'Account'.")


async def test_a_history_that_has_nothing_of_that_time_is_not_said_to_be_empty(
    app: Revenant, worker: Worker, database: str
) -> None:
    await app.ref(Diary, "d").write("it")
    later = await revenant(database, "history", "Diary", "d", "--since", "2100-01-01T00:00:00Z")
    assert (later.exit_code, "has no version of that time in its history" in later.stderr) == (3, True)


async def test_who_looks_for_runs_among_entities_is_told_where_they_are(
    app: Revenant, worker: Worker, database: str
) -> None:
    listed = await revenant(database, "ls", "run:move")
    assert "Runs are listed by `revenant run ls --workflow move`." in listed.stderr
    shown = await revenant(database, "show", "run:move", "m")
    assert (shown.exit_code, "shown by `revenant run show ID`" in shown.stderr) == (3, True)
