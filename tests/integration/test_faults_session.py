"""What a handler does to its session ends with its message; what would end the turn's transaction is not sent at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import ConfigurationError, HandlerError, Unstorable
from revenant.queue.connection import connect
from revenant.queue.script import run_script
from revenant.worker.lanes.isolation import LaneConnection
from revenant.worker.worker import Worker
from tests.entities import Ledger
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
LEFT = {
    "synchronous_commit": "select current_setting('synchronous_commit')",
    "search_path": "select current_setting('search_path')",
    "statement_timeout": "select current_setting('statement_timeout')",
    "TimeZone": "select current_setting('TimeZone')",
    "DateStyle": "select current_setting('DateStyle')",
    "role": "select current_setting('role') || ' ' || current_user || ' ' || session_user",
    "default read only": "select current_setting('default_transaction_read_only')",
    "read only": "select current_setting('transaction_read_only')",
    "own setting": "select coalesce(nullif(current_setting('own.setting', true), ''), 'none')",
    "prepared": "select count(*)::text from pg_prepared_statements where from_sql",
    "cursors": "select count(*)::text from pg_cursors where name <> ''",
    "temporary": "select count(*)::text from pg_class where relpersistence = 't' and relname like 'own%'",
    "listening": "select count(*)::text from pg_listening_channels()",
    "advisory": "select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and objid = 77",
}
"""How to see on a session that something was left there."""
STATEMENTS = [
    "set synchronous_commit = off",
    "set local synchronous_commit = off",
    "select set_config('synchronous_commit', 'off', false)",
    "select set_config('synchronous_commit', 'off', true)",
    "set search_path = pg_catalog",
    "set local search_path = pg_catalog",
    "set statement_timeout = '1min'",
    "set time zone 'Asia/Tokyo'",
    "set DateStyle = 'German'",
    "set role pg_read_all_data",
    "set local role pg_read_all_data",
    "set session authorization pg_read_all_data",
    "set session characteristics as transaction read only",
    "set transaction read only",
    "set own.setting = 'x'",
    "prepare own_find as select 1",
    "declare own_hold cursor with hold for select 1",
    "declare own_cursor cursor for select 1",
    "create temporary table own_rows (value int)",
    "create temporary table own_rows on commit drop as select 1",
    "listen own_channel",
    "select pg_advisory_lock(77)",
    "discard all",
]


class Session(Entity):
    """Looks at, and changes, the session that it runs on."""

    runs: int = 0

    @handler
    async def look(self) -> dict[str, str]:
        self.runs += 1
        found = {"cursor": type(self.turn.connection.cursor()).__name__}
        for what, query in LEFT.items():
            cursor = await self.turn.connection.execute(query)
            found[what] = (await cursor.fetchone() or ("",))[0]
        return found

    @handler
    async def run(self, statement: str, fail: bool = False) -> None:
        self.runs += 1
        await self.turn.connection.execute(statement)
        if fail:
            raise RuntimeError("after the statement")

    @handler
    async def run_as(self, statement: str, how: str) -> None:
        """Run a statement by another of psycopg's doors."""
        self.runs += 1
        connection = self.turn.connection
        match how:
            case "bytes":
                await connection.execute(statement.encode())
            case "composed":
                await connection.execute(sql.SQL("{}").format(sql.SQL(statement)))
            case "many":
                async with connection.cursor() as cursor:
                    await cursor.executemany(statement, [()])
            case "stream":
                async with connection.cursor() as cursor:
                    async for _ in cursor.stream(statement):
                        pass
            case "copy":
                async with connection.cursor() as cursor, cursor.copy(statement):
                    pass
            case _:
                async with connection.cursor("own_cursor") as server:
                    await server.execute(statement)

    @handler
    async def upset(self, how: str) -> None:
        """Change the connection's Python side."""
        self.runs += 1
        connection = self.turn.connection
        await connection.execute("select 1")
        match how:
            case "rows":
                connection.row_factory = dict_row
            case "cursors":
                connection.cursor_factory = psycopg.AsyncRawCursor
            case "adapters":
                connection.adapters.register_loader("text", Shouting)
            case "close":
                await connection.close()
            case _:
                async with connection:
                    raise RuntimeError("in the block")

    @handler
    async def insert_by(self, how: str) -> None:
        """Write by a cursor that the connection did not make, and fail."""
        made = psycopg.AsyncClientCursor if how == "client" else psycopg.AsyncRawCursor
        await made(self.turn.connection).execute("insert into own_rows values (1)")
        raise RuntimeError("after the insert")

    @handler
    async def end_unseen(self, word: str) -> None:
        """End the transaction behind psycopg's back."""
        self.runs += 1
        await self.turn.connection.execute("insert into own_rows values (2)")
        self.turn.connection.pgconn.exec_(word.encode())


class Shouting(Loader):
    """Loads text as nobody wants it."""

    def load(self, data: Any) -> str:
        return bytes(data).decode().upper()


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    """One lane, so that each turn has the session of the one before."""
    one = settings.model_copy(update={"lanes": 1})
    async with Revenant(entities=[Session, Ledger], database_url=database, settings=one) as application:
        yield application


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_nothing_that_a_handler_leaves_on_its_session_stays(
    app: Revenant, worker: Worker, statement: str, fail: bool
) -> None:
    before = await app.ref(Session, "a").look()
    run = app.ref(Session, "b").run(statement, fail)
    if statement == "discard all":
        with pytest.raises(HandlerError, match="transaction block"):
            await run
    elif fail:
        with pytest.raises(HandlerError, match="after the statement"):
            await run
    else:
        await run
    assert await app.ref(Session, "c").look() == before
    # In one turn with others, too.
    _, found = await asyncio.gather(
        app.ref(Session, "b").run(statement, fail), app.ref(Session, "c").look(), return_exceptions=True
    )
    assert found == before


REFUSING_LEDGERS = """
create function no_ledgers() returns trigger language plpgsql as $$
begin raise exception 'no ledgers' using errcode = '22000'; end $$;
create trigger no_ledgers before insert on revenant.entities for each row when (new.kind = 'Ledger')
execute function no_ledgers();
"""
"""Refuses what a turn leaves, when it is settled."""
LOGGING = """
create table own_rows (value int);
create table own_log (setting text);
create function own_log() returns trigger language plpgsql as $$
begin insert into own_log values (current_setting('synchronous_commit')); return null; end $$;
create constraint trigger own_log after insert on own_rows deferrable initially deferred
for each row execute function own_log();
"""
"""Writes down what `synchronous_commit` is when the transaction commits."""


@pytest.mark.parametrize("setting", STATEMENTS[:4])
async def test_the_commit_is_flushed_whatever_a_handler_has_set(
    app: Revenant, worker: Worker, connection: Connection, setting: str
) -> None:
    await connection.execute(LOGGING)
    assert await app.ref(Ledger, "l").run([setting, "insert into own_rows values (1)", setting]) == 1
    assert await rows(connection, "select setting from own_log") == [("on",)]


async def one_message(lane: LaneConnection, statement: str) -> tuple[Any, ...] | None:
    """Run a statement as a handler does, in a turn of its own; return its row, if it has one."""
    await run_script(lane, "begin")
    cursor = await lane.open().execute(statement.encode())
    row = await cursor.fetchone() if cursor.description else None
    await lane.release()
    await run_script(lane, "commit")
    return row


async def test_the_session_goes_back_to_what_the_address_says(database: str, connection: Connection) -> None:
    role = f"revenant_t_{uuid4().hex}"
    grant = sql.SQL("create role {0}; grant usage on schema revenant to {0}").format(sql.Identifier(role))
    await connection.execute(grant)
    lane = await connect(
        make_conninfo(database, options=f"-c role={role} -c statement_timeout=7s"), role="test", opened=LaneConnection
    )
    assert isinstance(lane, LaneConnection)
    look = "select current_user::text, current_setting('statement_timeout'), current_setting('application_name')"
    try:
        assert await one_message(lane, look) == (role, "7s", "revenant/test")
        for change in ("reset role", "set role none", "set statement_timeout = 0", "set application_name = 'mine'"):
            await one_message(lane, change)
            assert await one_message(lane, look) == (role, "7s", "revenant/test")
    finally:
        await lane.close()
        await connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))


async def test_statements_that_psycopg_has_prepared_stay(database: str) -> None:
    lane = await connect(database, role="test", opened=LaneConnection)
    assert isinstance(lane, LaneConnection)
    for _ in range(10):
        await one_message(lane, "select 1 where 'a' = 'a'")
    # It has been prepared by now, and it is still there.
    assert await one_message(lane, "select count(*) from pg_prepared_statements") == (1,)
    await lane.close()


@pytest.mark.parametrize("how", ["rows", "cursors", "adapters"])
async def test_what_a_handler_sets_on_the_connection_object_ends_with_it(
    app: Revenant, worker: Worker, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    before = await app.ref(Session, "a").look()
    await asyncio.gather(app.ref(Session, "b").upset(how), app.ref(Session, "c").look())
    assert await app.ref(Session, "d").look() == before
    assert [record.message for record in caplog.records] == [], "the engine stumbled over it, and made a new connection"


@pytest.mark.parametrize("how", ["close", "block"])
async def test_a_handler_cannot_close_the_connection(app: Revenant, worker: Worker, how: str) -> None:
    others = [app.ref(Session, str(n)).look() for n in range(5)]
    refused, *looks = await asyncio.gather(
        app.call(app.ref(Session, "b").upset(how), timeout=20), *others, return_exceptions=True
    )
    assert isinstance(refused, ConfigurationError)
    assert "cannot be closed" in str(refused)
    assert all(isinstance(look, dict) for look in looks)


@pytest.mark.parametrize("how", ["client", "raw"])
async def test_a_cursor_that_a_handler_made_by_itself_is_isolated_too(
    app: Revenant, worker: Worker, connection: Connection, how: str
) -> None:
    await connection.execute("create table own_rows (value int)")
    failed, *others = await asyncio.gather(
        app.ref(Session, "b").insert_by(how),
        *(app.ref(Session, str(n)).look() for n in range(5)),
        return_exceptions=True,
    )
    assert isinstance(failed, HandlerError)
    assert failed.type == "RuntimeError"
    assert all(isinstance(other, dict) for other in others)
    assert await value(connection, "select count(*) from own_rows") == 0


@pytest.mark.parametrize("how", ["bytes", "composed", "many", "stream", "copy", "server cursor"])
async def test_what_would_end_the_transaction_is_refused_by_every_door(app: Revenant, worker: Worker, how: str) -> None:
    with pytest.raises(ConfigurationError, match=r"COMMIT.*Nothing was sent"):
        await app.ref(Session, "b").run_as("commit", how)


@pytest.mark.parametrize("ending", ["commit", "ROLLBACK", "select 1; end", "/**/ abort", "begin", "start transaction"])
async def test_a_refused_ending_leaves_the_turn_of_the_others_alone(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    await connection.execute("create table own_rows (value int)")
    ledgers = [app.ref(Ledger, str(n)) for n in range(20)]
    inserts = [ledger.run(["insert into own_rows values (1)"]) for ledger in ledgers]
    refused, *counts = await asyncio.gather(
        app.ref(Ledger, "bad").run(["insert into own_rows values (2)", ending]), *inserts, return_exceptions=True
    )
    assert isinstance(refused, ConfigurationError)
    assert counts == [1] * 20
    assert await rows(connection, "select value, count(*) from own_rows group by 1") == [(1, 20)]
    assert "ended the turn's transaction" not in caplog.text


@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_an_ending_that_was_not_seen_fails_its_message_and_is_not_run_for_ever(
    app: Revenant, worker: Worker, connection: Connection, ending: str
) -> None:
    await connection.execute("create table own_rows (value int)")
    ended, *looks = await asyncio.gather(
        app.call(app.ref(Session, "bad").end_unseen(ending), timeout=20),
        *(app.ref(Session, str(n)).look() for n in range(20)),
        return_exceptions=True,
    )
    assert isinstance(ended, ConfigurationError)
    assert all(isinstance(look, dict) for look in looks)
    assert await value(connection, "select count(*) from own_rows") <= 1
    assert await rows(connection, "select key from revenant.entities where key = 'bad'") == []


async def test_an_ending_that_was_not_seen_ends_no_lane_while_a_failed_turn_is_run_apart(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute("create table own_rows (value int)")
    await connection.execute(REFUSING_LEDGERS)
    one = settings.model_copy(update={"lanes": 1, "turn_budget": 1e-9, "call_timeout": 30.0})
    async with Revenant(entities=[Session, Ledger], database_url=database, settings=one) as app:
        calls = asyncio.gather(
            *(app.ref(Ledger, f"l{n}").run(["insert into own_rows values (1)"]) for n in range(5)),
            app.ref(Session, "bad").end_unseen("commit"),
            *(app.ref(Ledger, f"m{n}").run(["insert into own_rows values (1)"]) for n in range(5)),
            return_exceptions=True,
        )
        await eventually(lambda: value(connection, "select count(*) = 11 from revenant.messages"))
        worker = app.worker()
        await worker.start()
        told = await calls
        assert isinstance(told.pop(5), ConfigurationError)
        assert [type(error) for error in told] == [Unstorable] * 10
        assert await app.ref(Session, "a").look()
        await worker.stop()


async def test_a_procedure_cannot_commit_inside_a_turn(app: Revenant, worker: Worker, connection: Connection) -> None:
    await connection.execute("create procedure finish() language plpgsql as $$ begin commit; end $$")
    for ending in ("call finish()", "do $$ begin commit; end $$"):
        with pytest.raises(HandlerError, match="invalid transaction termination"):
            await app.ref(Ledger, "l").run([ending])
