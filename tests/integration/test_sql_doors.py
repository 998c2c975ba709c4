"""Plain SQL: `revenant.call` and `revenant.reply`, and what `revenant check` says to roles that may do little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.queue.diagnosis import Finding, Plans, diagnose
from revenant.queue.facts import gather
from revenant.worker.worker import Worker
from tests.pages import DOCS, blocks
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
CALL = "select revenant.call('Account', 'a', %s, %s::json)"
REPLY = "select status, version, body from revenant.reply(%s)"


async def test_a_call_in_sql_has_its_reply_once_it_is_handled(app: Revenant, connection: Connection) -> None:
    asked = await value(connection, CALL, "deposit", '{"amount": 5}')
    assert await rows(connection, REPLY, asked) == []
    worker = app.worker()
    await worker.start()
    found = await eventually(lambda: rows(connection, REPLY, asked), what="the reply")
    assert found == [("ok", 1, 5)]
    assert await rows(connection, REPLY, asked) == found, "looking takes nothing away"
    assert await app.reply(str(asked)) == 5
    failed = await value(connection, CALL, "fail", '{"amount": 5, "text": "too much"}')
    ((status, version, body),) = await eventually(lambda: rows(connection, REPLY, failed), what="the error")
    assert (status, version, body["error"], body["message"]) == ("error", 1, "HandlerError", "too much")
    await worker.stop(drain_timeout=5)


async def test_a_call_in_sql_exists_if_and_only_if_its_transaction_commits(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    async with connection.transaction(force_rollback=True):
        await connection.execute(CALL, ("deposit", '{"amount": 100}'))
    async with connection.transaction():
        asked = await value(connection, CALL, "deposit", "[1]")
    assert await eventually(lambda: rows(connection, REPLY, asked), what="the reply") == [("ok", 1, 1)]


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role with a few connections and no rights."""
    name = f"little_{uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'secret' connection limit 5").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def grants_of(word: str) -> str:
    """What the reference grants to the role of that name."""
    return next(block.text for block in blocks(DOCS / "reference/sql.md") if f" to {word};" in block.text)


async def check(database: str, role: str) -> dict[str, Finding]:
    facts = await gather(make_conninfo(database, user=role, password="secret"))
    return {finding.check: finding for finding in diagnose(facts, Plans(connections=20))}


@pytest.mark.parametrize(
    ("word", "may"),
    [
        ("sender", "may send from SQL; not run workers, send from Python or read all tables"),
        ("client", "may send from Python and send from SQL; not run workers or read all tables"),
        ("reader", "may read all tables; not run workers, send from Python or send from SQL"),
    ],
)
async def test_check_says_what_a_role_may_do_and_raises_no_alarm_about_the_rest(
    database: str, connection: Connection, role: str, word: str, may: str
) -> None:
    await connection.execute(grants_of(word).replace(f" to {word};", f" to {role};").encode())
    found = await check(database, role)
    assert found["role"].found == f"{role} {may}"
    del found["durability"]  # it is the server's, and what that has is not the role's to change
    assert {name: finding.status for name, finding in found.items() if finding.status != "ok"} == {}


async def test_check_finds_a_role_that_may_do_nothing(database: str, role: str) -> None:
    found = await check(database, role)
    assert found["role"].found == f"{role} may do nothing here"
    assert found["role"].status == found["schema"].status == "fail"


async def test_check_says_that_the_owner_may_do_everything(database: str) -> None:
    found = {finding.check: finding for finding in diagnose(await gather(database), Plans(connections=1))}
    assert found["role"].found.endswith("may run workers, send from Python, send from SQL and read all tables")


LONG, MANY = "repeat('x', 600)", "repeat('x', 125)"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("revenant.cast(null, 'a', 'h')", "a kind is text of 1 to 128 bytes, and NULL is none"),
        ("revenant.cast('', 'a', 'h')", "a kind is text"),
        (f"revenant.cast({LONG}, 'a', 'h')", "a kind is text"),
        ("revenant.cast('K', null, 'h')", "a key is text of 1 to 512 bytes, and NULL is none"),
        ("revenant.cast('K', '', 'h')", "a key is text"),
        (f"revenant.call('K', {LONG}, 'h')", "a key is text"),
        ("revenant.cast('K', 'a', null)", "needs a handler, and NULL is none"),
        ("revenant.call('K', 'a', '')", "needs a handler"),
        ("revenant.cast('K', 'a', 'h', null)", "the arguments of 'h' are null"),
        ("revenant.start(null, 'a')", "the name of a workflow is text of 1 to 124 bytes, and NULL is none"),
        ("revenant.start('', 'a')", "the name of a workflow is text"),
        (f"revenant.start({MANY}, 'a')", "the name of a workflow is text"),
        ("revenant.start('w', null)", "the id of a run is text of 1 to 512 bytes, and NULL is none"),
        ("revenant.cancel_run('w', '')", "the id of a run is text"),
        ("revenant.signal('w', null, 'n')", "the id of a run is text"),
        ("revenant.signal('w', 'a', null)", "a signal needs a name"),
        ("revenant.signal('w', 'a', '')", "a signal needs a name"),
        ("revenant.signal('w', 'a', 'n', '1', '')", "a signal needs a name"),
    ],
)
async def test_what_cannot_be_sent_is_refused_in_words_that_say_what_to_do(
    connection: Connection, call: str, words: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=words) as refused:
        await connection.execute(f"select {call}")
    assert "nothing was sent" in str(refused.value)
    assert refused.value.diag.message_hint
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_the_longest_addresses_can_be_sent_to(connection: Connection) -> None:
    for call in (
        "revenant.cast(repeat('k', 128), repeat('x', 512), 'h')",
        "revenant.start(repeat('w', 124), repeat('x', 512), null)",
        "revenant.signal(repeat('w', 124), 'a', 'n', null, null)",
    ):
        await connection.execute(f"select {call}")
    assert await value(connection, "select count(*) from revenant.messages") == 3


@pytest.mark.fresh
async def test_nobody_drops_histories_by_a_clock_of_their_own(database: str, connection: Connection, role: str) -> None:
    """What makes and drops their partitions has the rights of its owner, and everybody may call it."""
    await connection.execute(sql.SQL("grant usage on schema revenant to {}").format(sql.Identifier(role)))
    await connection.execute("insert into revenant.history_kinds values ('K', interval '30 days')")
    await connection.execute("select revenant.keep_history_v1()")
    await connection.execute(
        "insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state, message, handler) "
        "values (1, 'K', 'a', now(), 1, 1, 1, '{}', gen_random_uuid(), 'h')"
    )
    url = make_conninfo(database, user=role, password="secret")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as little:
        await little.execute("set revenant.testing = 'on'")
        await little.execute("set revenant.fake_now = '2100-01-01'")
        assert await value(little, "select revenant.keep_history_v1()") == 0
    assert await value(connection, "select count(*) from revenant.history") == 1
    # Whoever could drop them anyway may move the clock, as tests do.
    await connection.execute("set revenant.testing = 'on'")
    await connection.execute("set revenant.fake_now = '2100-01-01'")
    assert await value(connection, "select revenant.keep_history_v1()") > 0
    assert await value(connection, "select count(*) from revenant.history") == 0
