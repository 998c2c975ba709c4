"""`revenant mailbox`: what waits is seen, and taken out for a dead letter; its caller is told, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from revenant.app import Revenant
from revenant.cli import main
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import IdempotencyConflict, MessageBuried
from revenant.worker.worker import Worker
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import Account
from tests.relaxed import Lamp
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


hung, let_go = asyncio.Event(), asyncio.Event()


class Oven(Entity):
    """Hangs when it is told to."""

    baked: int = 0

    @handler
    async def hang(self) -> None:
        self.baked += 100
        hung.set()
        await let_go.wait()

    @handler
    async def bake(self) -> int:
        self.baked += 1
        return self.baked


@workflow
async def asks(flow: Flow) -> str:
    """Calls an entity that nobody serves."""
    try:
        await flow.call(Revenant().ref("Nobody", "n").deposit(amount=1))
    except MessageBuried:
        return "buried"
    return "answered"


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    given = settings.model_copy(update={"handler_timeout": 60.0})
    async with Revenant(
        entities=[Account, Lamp, Oven], workflows=[asks], database_url=database, settings=given
    ) as application:
        yield application


async def revenant(url: str, *words: str) -> Result:
    environment = {"DATABASE_URL": url, "REVENANT_APP": None}
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), env=environment)


async def waiting(url: str, kind: str, key: str) -> list[dict[str, Any]]:
    found = await revenant(url, "mailbox", "ls", kind, key, "-o", "json")
    return list(json.loads(found.stdout))


async def test_one_message_is_taken_out_and_the_others_are_handled(
    app: Revenant, database: str, connection: Connection
) -> None:
    ada = app.ref(Account, "ada")
    sent = [await app.cast(ada.deposit(amount)) for amount in (1, 10, 100)]
    listed = await waiting(database, "Account", "ada")
    assert [(one["id"], one["handler"], one["args"], one["sent_as"]) for one in listed] == [
        (id, "deposit", {"amount": amount}, "cast") for id, amount in zip(sent, (1, 10, 100), strict=True)
    ]
    bury = ("mailbox", "bury", "Account", "ada", sent[0], sent[1], "--by", "ann", "--reason", "a wrong sum")
    done = await revenant(database, *bury)
    assert (done.exit_code, done.stdout.split()) == (0, sent[:2])
    assert done.stderr == "2 taken out, and kept as dead letters.\n"
    # The same again is done already.
    again = await revenant(database, *bury)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "0 taken out, and kept as dead letters; 2 had been before.\n"
    assert [one["id"] for one in await waiting(database, "Account", "ada")] == sent[2:]
    (letter,) = await rows(connection, "select error, attempts from revenant.dead where id = %s", sent[0])
    assert (letter[0]["type"], letter[0]["by"], letter[1]) == ("MessageBuried", "ann", 1)
    assert "was taken out of its mailbox by ann: a wrong sum." in letter[0]["message"]
    assert await rows(connection, "select * from revenant.residents") == []
    retried = await revenant(database, "dead", "retry", sent[1])
    assert retried.exit_code == 0
    worker = app.worker()
    await worker.start()
    try:
        assert await ada.read() == 110
    finally:
        await worker.stop()
    gone = await revenant(database, "mailbox", "bury", "Account", "ada", sent[2], "--by", "ann")
    assert (gone.exit_code, "or handled meanwhile" in gone.stderr) == (3, True)


async def test_whoever_waits_for_the_reply_is_told_and_the_idempotency_key_stands_for_that(
    app: Revenant, database: str
) -> None:
    ada = app.ref(Account, "ada")
    call = asyncio.create_task(app.call(ada.deposit(1), timeout=20))
    keyed = asyncio.create_task(app.call(ada.deposit(2), timeout=20, idempotency_key="k"))
    await eventually(lambda: _count(database, 2))
    done = await revenant(database, "mailbox", "bury", "Account", "ada", "--all", "--by", "ann", "--reason", "no kind")
    assert done.exit_code == 0, done.stderr
    for sent in (call, keyed):
        with pytest.raises(MessageBuried, match="taken out of its mailbox by ann: no kind"):
            await sent
    # They are kept, and are not put back by --all: their callers know.
    listed = json.loads((await revenant(database, "dead", "ls", "-o", "json")).stdout)
    assert [row["answered"] for row in listed] == [True, True]
    left = await revenant(database, "dead", "retry", "--all")
    assert left.stderr == (
        "0 sent again.\n2 were left out: the callers were told that they failed. Name these by id.\n"
    )
    worker = app.worker()
    await worker.start()
    try:
        with pytest.raises(MessageBuried):
            await app.call(ada.deposit(2), timeout=20, idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            await app.call(ada.deposit(3), timeout=20, idempotency_key="k")
        assert await ada.read() == 0
    finally:
        await worker.stop()


async def _count(url: str, number: int) -> bool:
    return len(await waiting(url, "Account", "ada")) == number


async def test_a_message_whose_handler_hangs_is_taken_out_and_what_it_did_is_not_kept(
    app: Revenant, worker: Worker, database: str, connection: Connection
) -> None:
    hung.clear()
    let_go.clear()
    oven = app.ref(Oven, "o")
    hangs = asyncio.create_task(app.call(oven.hang(), timeout=30))
    await asyncio.wait_for(hung.wait(), 20)
    (first,) = await waiting(database, "Oven", "o")
    done = await revenant(database, "mailbox", "bury", "Oven", "o", first["id"], "--by", "ann")
    assert done.exit_code == 0, done.stderr
    with pytest.raises(MessageBuried):
        await hangs
    assert await value(connection, "select count(*) from revenant.messages") == 0
    # The turn that has it in hand still runs, and is refused when it ends.
    let_go.set()
    assert await oven.bake() == 1


async def test_what_lives_in_a_workers_memory_is_left_to_it(
    app: Revenant, worker: Worker, database: str, connection: Connection
) -> None:
    assert await app.ref(Lamp, "l").shine() == 1
    ((id,),) = await rows(connection, "select id::text from revenant.messages where kind = 'Lamp'")
    refused = await revenant(database, "mailbox", "bury", "Lamp", "l", id, "--by", "ann")
    assert (refused.exit_code, "lives in the memory of worker" in refused.stderr) == (1, True)
    await app.passivate(app.ref(Lamp, "l"))
    assert await app.ref(Lamp, "l").shine() == 2


async def test_a_run_whose_call_is_taken_out_goes_on_with_that_as_its_answer(
    app: Revenant, worker: Worker, database: str
) -> None:
    run = await app.start(asks, None, id="r", timeout=20)
    (call,) = await eventually(lambda: _called(database))
    assert call["sent_as"] == "call by a run"
    done = await revenant(database, "mailbox", "bury", "Nobody", "n", call["id"], "--by", "ann")
    assert done.exit_code == 0, done.stderr
    assert await run.result(timeout=20) == "buried"


async def _called(url: str) -> Any:
    return await waiting(url, "Nobody", "n") or None


async def test_all_messages_of_a_kind_that_nobody_will_ever_serve_are_taken_out_and_check_is_content(
    app: Revenant, worker: Worker, database: str
) -> None:
    for key in ("a", "b", "c"):
        await app.cast(app.ref("Acount", key).deposit(amount=1))
    (told,) = [row for row in await _checked(database) if "Acount" in row["found"]]
    assert told["what_to_type"].endswith("revenant mailbox bury Acount --all --by WHO")
    done = await revenant(database, "mailbox", "bury", "Acount", "--all", "--by", "ann")
    assert (done.exit_code, len(done.stdout.split())) == (0, 3)
    assert [row for row in await _checked(database) if "Acount" in row["found"]] == []


async def _checked(url: str) -> list[dict[str, str]]:
    return list(json.loads((await revenant(url, "check", "-o", "json")).stdout))


async def test_the_start_of_a_run_that_nobody_takes_is_taken_out_and_not_listed_as_stuck_any_more(
    app: Revenant, database: str, connection: Connection
) -> None:
    await connection.execute("select revenant.start('mvoe', 'm', '{}')")
    assert len(json.loads((await revenant(database, "run", "stuck", "-o", "json")).stdout)) == 1
    done = await revenant(database, "mailbox", "bury", "run:mvoe", "m", "--all", "--by", "ann")
    assert done.exit_code == 0, done.stderr
    assert json.loads((await revenant(database, "run", "stuck", "-o", "json")).stdout) == []


@pytest.mark.parametrize(
    "words",
    [("Account",), ("Account", "a"), ("Account", "a", "0199c0ff-ee00-7000-8000-000000000000", "--all")],
)
async def test_what_is_to_be_taken_out_is_named(database: str, words: tuple[str, ...]) -> None:
    unclear = await revenant(database, "mailbox", "bury", *words, "--by", "ann")
    assert (unclear.exit_code, "Give KIND, KEY and the ids of messages, or --all." in unclear.stderr) == (2, True)
