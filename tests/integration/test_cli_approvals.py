"""`revenant approvals`: what waits is listed in every format, and an answer ends with a code that a script can tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from revenant.app import Revenant
from revenant.cli import main
from revenant.config import Settings
from revenant.worker.worker import Worker
from tests.waiting import WORKFLOWS, purchase


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
def url(database: str) -> str:
    return database


async def approvals(url: str, *words: str) -> Result:
    environment = {"DATABASE_URL": url, "REVENANT_APP": None}
    return await asyncio.to_thread(CliRunner().invoke, main, ["approvals", *words], env=environment)


async def test_what_waits_is_listed(app: Revenant, worker: Worker, url: str) -> None:
    for number, id in enumerate(("p-1", "p-2")):
        await app.start(purchase, number, id=id, timeout=30)
    listed = await approvals(url, "ls", "--assignee", "ann", "-o", "json")
    assert listed.exit_code == 0, listed.output
    first, second = json.loads(listed.stdout)
    assert (first["run_id"], second["run_id"]) == ("p-1", "p-2")
    assert first["about"] == {"price": 0}
    assert first["form"]["required"] == ["limit"]
    table = await approvals(url, "ls", "--workflow", "purchase", "--limit", "1")
    assert table.stdout.splitlines()[0].split() == [
        "WORKFLOW",
        "RUN",
        "ID",
        "NAME",
        "ASSIGNEE",
        "ABOUT",
        "ASKED",
        "AT",
        "DUE",
    ]
    assert len(table.stdout.splitlines()) == 2
    nobody = await approvals(url, "ls", "--assignee", "bob", "-o", "json")
    assert json.loads(nobody.stdout) == []


async def test_the_first_answer_counts_and_a_later_one_is_1_and_says_whose_it_was(
    app: Revenant, worker: Worker, url: str
) -> None:
    run = await app.start(purchase, 70, id="p-1", timeout=30)
    answer = ("p-1", "manager")
    wrong = await approvals(url, "approve", "purchase", *answer, "--by", "ann", "--form", '{"limit": "much"}')
    assert (wrong.exit_code, "limit: Input should be a valid integer" in wrong.stderr) == (1, True)
    given = await approvals(url, "approve", "purchase", *answer, "--by", "ann", "--form", '{"limit": 5}')
    assert (given.exit_code, given.stdout, given.stderr) == (0, "", "Approved.\n")
    assert await run.result(timeout=30) == [True, "ann", 5]
    late = await approvals(url, "reject", "purchase", *answer, "--by", "bob", "--reason", "no")
    assert (late.exit_code, "was approved by ann before" in late.stderr) == (1, True)
    missing = await approvals(url, "reject", "purchase", "p-9", "manager", "--by", "bob")
    assert (missing.exit_code, "There is no run 'p-9'" in missing.stderr) == (3, True)


async def test_a_form_that_is_no_json_is_wrong_usage(url: str) -> None:
    wrong = await approvals(url, "approve", "purchase", "p-1", "manager", "--by", "ann", "--form", "{")
    assert (wrong.exit_code, "This is not JSON" in wrong.stderr) == (2, True)
    nobody = await approvals(url, "approve", "purchase", "p-1", "manager")
    assert (nobody.exit_code, "Missing option '--by'" in nobody.stderr) == (2, True)
