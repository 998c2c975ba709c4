"""`revenant run` in words: what is refused before it is sent, and what is said when there is nothing, or no answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from revenant.app import Revenant
from revenant.cli import main
from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.worker.worker import Worker
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.acceptance import command
from tests.flows import served
from tests.moves import move, move_by_air, stay

KNOWN = "This application has: idle, move, stay."


LONG = "no bank, " * 500


async def charge() -> None:
    """Fail at length."""
    raise ValueError(LONG)


@workflow
async def fails(flow: Flow, where: str) -> None:
    """Fails in a step, or in its own code."""
    if where == "undone":
        await flow.sleep(0)
        await flow.on_failure(give_back)
    if where in ("step", "undone"):
        await flow.step(charge, retry=Retry(attempts=1))
    raise LookupError(LONG)


async def give_back() -> None:
    """Undo what was taken."""


@workflow
async def careful(flow: Flow) -> None:
    """Has something to be undone while it waits."""
    await flow.on_failure(give_back)
    await flow.signal("go")


@workflow(name="careful", version=2)
async def careless(flow: Flow) -> None:
    """Newer code, without the older one beside it."""
    await flow.signal("go")


async def lose() -> None:
    """Undo nothing."""
    raise OSError("the stock is gone")


@workflow
async def unlucky(flow: Flow, ends: str) -> None:
    """Cannot undo what it did."""
    await flow.on_failure(give_back)
    await flow.on_failure(lose, retry=Retry(attempts=1))
    if ends == "failed":
        raise LookupError("no such card")
    await flow.signal("go")


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(
        workflows=[move, move_by_air, stay, fails], database_url=database, settings=settings
    ) as application:
        yield application


async def revenant(url: str, *words: str) -> Result:
    environment = {"DATABASE_URL": url, "REVENANT_APP": None}
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), env=environment)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "start", "mvoe", "m", '"a vase"'),
        ("approvals", "approve", "mvoe", "m", "manager", "--by", "ann"),
        ("approvals", "reject", "mvoe", "m", "manager", "--by", "ann"),
        ("approvals", "ls", "--workflow", "mvoe"),
        ("run", "ls", "--workflow", "mvoe"),
        ("run", "stuck", "--workflow", "mvoe"),
        ("run", "export", "--workflow", "mvoe"),
    ],
)
def test_a_workflow_that_the_application_does_not_have_is_2_and_those_that_it_has_are_named(
    database: str, words: tuple[str, ...]
) -> None:
    refused = command.revenant(*words, url=database, REVENANT_APP="tests.moves:both")
    assert refused.returncode == 2, refused.stdout
    assert f"No workflow is called 'mvoe'. {KNOWN}" in refused.stderr


@pytest.mark.parametrize("words", [("run", "ls"), ("run", "stuck"), ("run", "export"), ("approvals", "ls")])
async def test_without_an_application_an_empty_list_of_what_nobody_serves_gets_a_word(
    app: Revenant, worker: Worker, database: str, words: tuple[str, ...]
) -> None:
    unknown = await revenant(database, *words, "--workflow", "mvoe")
    assert unknown.exit_code == 0
    assert "Nothing was found, and no live worker serves a workflow called 'mvoe'." in unknown.stderr
    assert "these workflows: fails, move, stay." in unknown.stderr
    served = await revenant(database, *words, "--workflow", "stay")
    assert (served.exit_code, "Nothing was found" in served.stderr) == (0, False)


async def test_nothing_is_sent_to_the_approval_of_a_run_that_there_is_not(database: str) -> None:
    # No worker serves it: what is sent would wait for its time-out.
    missing = await revenant(database, "approvals", "approve", "move", "m-9", "manager", "--by", "ann")
    assert (missing.exit_code, "There is no run 'm-9'" in missing.stderr) == (3, True)


async def test_an_input_that_does_not_fit_is_refused_in_words_for_a_new_run(
    app: Revenant, worker: Worker, database: str
) -> None:
    start = ("run", "start", "move", "m", "7")
    here = await asyncio.to_thread(command.revenant, *start, url=database, REVENANT_APP="tests.moves:both")
    there = await revenant(database, *start)
    assert (here.returncode, there.exit_code) == (2, 1)
    for said in (here.stderr, there.stderr):
        assert (
            "Workflow move cannot be started with that input: Input should be a valid string. Nothing was started; "
            "give it an input that fits its annotation. The code that has this name here is that of module tests.moves."
            in said
        )
    none = await revenant(database, "run", "ls", "-o", "json")
    assert json.loads(none.stdout) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "stay", "s", '"here"'), "The same start again is safe, and is the same run: the id is the key."),
        (("signal", "m", "go"), "The same signal again, without an id, may count twice"),
        (("signal", "m", "go", "--id", "g"), "The same signal again is safe: with its id it counts once."),
        (("park", "m"), "To park it again is safe: it is done once."),
        (("cancel", "m"), "blocked before it could undo what it did is ended by another cancel, and does not undo it."),
    ],
)
async def test_when_no_answer_comes_it_says_what_may_be_typed_again(
    app: Revenant, database: str, words: tuple[str, ...], said: str
) -> None:
    serving = app.worker()
    await serving.start()
    await app.start(move, "a vase", id="m", timeout=20)
    await serving.stop()
    late = await revenant(database, "run", *words, "--timeout", "0.3")
    assert late.exit_code == 1
    assert said in late.stderr
    assert "idempotency_key" not in late.stderr


async def test_names_and_ids_that_are_empty_are_refused(app: Revenant, worker: Worker, database: str) -> None:
    await app.start(move, "a vase", id="m", timeout=20)
    for words in (("signal", "m", ""), ("signal", "m", "go", "--id", "")):
        empty = await revenant(database, "run", *words)
        assert (empty.exit_code, "text that is not empty, and this one is ''" in empty.stderr) == (2, True)


async def test_what_to_type_about_a_stuck_run_works_as_it_is_printed(
    app: Revenant, worker: Worker, database: str
) -> None:
    ids = ["same", "-dash", "new\nline", "it's", "é\x1b[31m"]
    for id in ids:
        await (await app.start(move, "a vase", id=id, timeout=20)).park("an audit")
    await (await app.start(stay, "here", id="same", timeout=20)).park("an audit")
    for output in ("json", "table"):
        shown = await revenant(database, "run", "stuck", "-o", output)
        assert shown.exit_code == 0, shown.stderr
    cures = {row["what_to_type"] for row in json.loads((await revenant(database, "run", "stuck", "-o", "json")).stdout)}
    assert "revenant run resume same --workflow move" in cures
    assert "revenant run resume -- -dash" in cures
    assert len(cures) == 6
    for cure in cures:
        words = await asyncio.to_thread(subprocess.check_output, ["bash", "-c", f"printf '%s\\0' {cure}"])
        _, *typed = words.decode().split("\0")[:-1]
        done = await revenant(database, *typed)
        assert (done.exit_code, "goes on" in done.stderr) == (0, True), (typed, done.stderr)
    assert json.loads((await revenant(database, "run", "stuck", "-o", "json")).stdout) == []


async def test_one_run_is_written_in_the_singular(app: Revenant, worker: Worker, database: str) -> None:
    await (await app.start(stay, "here", id="s", timeout=20)).cancel()
    written = await revenant(database, "run", "export")
    assert written.stderr == "1 run written.\n"


async def test_what_is_stuck_stays_a_table_however_long_its_errors_and_forks_only_help_where_a_step_failed(
    app: Revenant, worker: Worker, database: str
) -> None:
    for where in ("step", "code", "undone"):
        with pytest.raises(RunFailed):
            await (await app.start(fails, where, id=f"in {where}", timeout=20)).result(timeout=20)
    table = await revenant(database, "run", "stuck")
    assert max(map(len, table.stdout.splitlines())) < 250
    assert "…  revenant run" in table.stdout
    lines = await revenant(database, "run", "stuck", "-o", "ndjson")
    found = [json.loads(line) for line in lines.stdout.splitlines()]
    assert {row["id"]: row["what_to_type"] for row in found} == {
        "in step": "revenant run fork 'in step' 'in step-again'",
        "in code": "revenant run show 'in code'",
        "in undone": "revenant run show 'in undone'",
    }
    assert all(LONG in row["problem"] for row in found)
    refused = await revenant(database, "run", "fork", "in undone", "u2")
    assert (refused.exit_code, "has undone what it did (give_back)" in refused.stderr) == (2, True)
    assert "--step 1" in refused.stderr
    for words in (("--step", "1"), ("--even-undone",)):
        assert (await revenant(database, "run", "fork", "in undone", f"u{words[0]}", *words)).exit_code == 0


def test_an_input_that_the_workflow_does_not_take_and_an_id_that_is_none_are_refused(database: str) -> None:
    taken = command.revenant("run", "start", "idle", "i", "5", url=database, REVENANT_APP="tests.moves:both")
    assert (taken.returncode, "Workflow idle takes no input. Nothing was started" in taken.stderr) == (2, True)
    nobody = command.revenant("run", "start", "idle", "", url=database, REVENANT_APP="tests.moves:both")
    assert (nobody.returncode, "The id of a run of idle is empty." in nobody.stderr) == (2, True)


async def test_a_fork_onto_code_that_nobody_has_says_which_code_it_waits_for(
    app: Revenant, worker: Worker, database: str
) -> None:
    with pytest.raises(RunFailed):
        await (await app.start(fails, "step", id="f", timeout=20)).result(timeout=20)
    waits = await revenant(database, "run", "fork", "f", "f2", "--version", "7", "--timeout", "0.3")
    assert (waits.exit_code, "a live worker that serves version 7 of fails" in waits.stderr) == (1, True)


async def done(url: str, *words: str) -> str:
    """Return what a command said that went well."""
    ended = await revenant(url, "run", *words)
    assert ended.exit_code == 0, ended.stderr
    return ended.stderr.strip()


async def test_what_changed_nothing_is_said_to_have_changed_nothing(
    app: Revenant, worker: Worker, database: str
) -> None:
    await app.start(move, "a vase", id="m", timeout=20)
    assert await done(database, "resume", "m") == "Run 'm' of move was not parked; nothing was done."
    assert await done(database, "requeue", "m") == (
        "Run 'm' of move is not blocked, and nothing of it waits for another attempt; nothing was done."
    )
    assert await done(database, "migrate", "m") == "Run 'm' of move is of version 2 already; nothing was done."
    assert await done(database, "park", "m", "--reason", "an audit") == "Run 'm' of move is parked."
    assert await done(database, "park", "m", "--reason", "a fire") == (
        "Run 'm' of move was parked before, with the reason 'an audit', which stands; nothing was done."
    )
    assert await done(database, "migrate", "m", "--to", "1") == "Run 'm' of move has moved to version 1."
    assert await done(database, "resume", "m") == "Run 'm' of move goes on."
    assert await done(database, "signal", "m", "other", "--id", "o") == "Run 'm' of move has the signal 'other'."
    assert await done(database, "signal", "m", "other", "--id", "o") == (
        "Run 'm' of move had a signal with the id 'o' before; nothing was done."
    )
    assert await done(database, "cancel", "m") == "Run 'm' of move is cancelled."


async def test_a_cancellation_that_is_blocked_says_so_and_how_it_ends(database: str, settings: Settings) -> None:
    async with served(database, settings, careful) as app:
        await app.start(careful, id="c", timeout=20)
    async with served(database, settings, careless):
        said = await done(database, "cancel", "c", "--timeout", "20")
        assert said.startswith("Run 'c' of careful is to be cancelled, and is blocked: No live worker has version 1")
        assert "another `revenant run cancel` ends it as it is, and names what was not undone." in said
        assert said.endswith("See `revenant run show c`.")
        listed = json.loads((await revenant(database, "run", "stuck", "-o", "json")).stdout)
        assert "another `revenant run cancel`" in listed[0]["problem"]
        assert (await done(database, "cancel", "c", "--timeout", "20")).startswith("Run 'c' of careful is cancelled.")


async def test_a_cancellation_that_undoes_first_says_that_it_does(database: str, settings: Settings) -> None:
    async with served(database, settings, careful) as app:
        await app.start(careful, id="c", timeout=20)
        assert await done(database, "cancel", "c") == (
            "Run 'c' of careful is being cancelled: what it registered is undone first. See `revenant run show c`."
        )


async def stuck(url: str) -> dict[str, Any]:
    listed = json.loads((await revenant(url, "run", "stuck", "-o", "json")).stdout)
    return {row["id"]: row for row in listed}


async def runs_of(url: str) -> tuple[str, str]:
    found = {row["check"]: row for row in json.loads((await revenant(url, "check", "-o", "json")).stdout)}["runs"]
    return found["status"], found["found"]


async def test_what_could_not_be_undone_is_stuck_until_somebody_says_that_it_was_seen_to(
    database: str, settings: Settings, connection: psycopg.AsyncConnection[Any]
) -> None:
    async with served(database, settings, unlucky, fails) as app:
        cancelled = await app.start(unlucky, "cancelled", id="a 1", timeout=20)
        await cancelled.cancel("the customer went")
        for run in (cancelled, await app.start(unlucky, "failed", id="a2", timeout=20)):
            with pytest.raises(RunFailed):
                await run.result(timeout=20)
        with pytest.raises(RunFailed):
            await (await app.start(fails, "code", id="plain", timeout=20)).result(timeout=20)
        # It stays listed for as long as it is kept, unlike one that has only failed.
        await connection.execute("update revenant.run_heads set ended_at = ended_at - interval '3 days'")
        listed = await stuck(database)
        assert {id: row["reason"] for id, row in listed.items()} == {"a 1": "not undone", "a2": "not undone"}
        assert listed["a 1"]["problem"] == (
            "It left what was not undone: lose (for operation 2) failed with OSError: the stock is gone."
        )
        assert listed["a 1"]["what_to_type"] == (
            "revenant run show 'a 1', mend it, then revenant run resolve --by WHO 'a 1'"
        )
        assert (await runs_of(database))[0] == "warn"
        assert "2 that ended and left what was not undone" in (await runs_of(database))[1]
        shown = (await revenant(database, "run", "show", "a 1")).stdout
        assert "what to do: mend that, then `revenant run resolve --by WHO 'a 1'`" in shown
        said = await done(database, "resolve", "a 1", "--by", "ann", "--note", "put back by hand")
        assert said == "Run 'a 1' of unlucky is resolved, and not listed as stuck any more."
        assert (await done(database, "resolve", "a 1", "--by", "bob")).startswith(
            "Run 'a 1' of unlucky was resolved by ann before, at "
        )
        assert set(await stuck(database)) == {"a2"}
        assert "resolved: by ann" in (await revenant(database, "run", "show", "a 1")).stdout
        # One that has only failed is taken off the list before its day is over in the same way.
        await connection.execute("update revenant.run_heads set ended_at = now() where key = 'plain'")
        assert set(await stuck(database)) == {"a2", "plain"}
        await done(database, "resolve", "plain", "--by", "ann")
        await done(database, "resolve", "a2", "--by", "ann")
        assert await stuck(database) == {}
        assert (await runs_of(database))[0] == "ok"
        assert ((await cancelled.describe()).resolved or {})["note"] == "put back by hand"


async def test_what_leaves_nothing_to_be_seen_to_is_not_resolved(app: Revenant, worker: Worker, database: str) -> None:
    await app.start(stay, "here", id="goes on", timeout=20)
    await (await app.start(stay, "here", id="ended", timeout=20)).cancel()
    for id, status in (("goes on", "waiting"), ("ended", "cancelled")):
        refused = await revenant(database, "run", "resolve", id, "--by", "ann")
        assert (refused.exit_code, f"Run '{id}' of stay is {status}, and leaves nothing" in refused.stderr) == (1, True)
    missing = await revenant(database, "run", "resolve", "nobody", "--by", "ann")
    assert (missing.exit_code, "There is no run 'nobody'" in missing.stderr) == (3, True)
    nobody = await revenant(database, "run", "resolve", "ended", "--by", "")
    assert (nobody.exit_code, "Say by whom" in nobody.stderr) == (2, True)
