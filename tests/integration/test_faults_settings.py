"""Settings that others chose, rows that others hold, and failures that nobody foresaw: work goes on, or says why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import ConfigurationError
from revenant.queue.claim import claim
from revenant.queue.connection import connect
from revenant.queue.diagnosis import Plans, diagnose
from revenant.queue.facts import gather
from revenant.queue.link import Link
from revenant.queue.records import Hint
from revenant.queue.script import run_script
from revenant.sql import migrate
from revenant.worker import janitor, sweeper
from revenant.worker.agenda import Agenda
from revenant.worker.janitor import Janitor
from revenant.worker.jobs import JobRunner
from revenant.worker.lanes.isolation import LaneConnection, LaneIsolation
from revenant.worker.sweeper import Sweeper
from revenant.worker.timing.alarm import SHORTEST_SLEEP
from revenant.worker.timing.ticker import Ticker
from tests.entities import ENTITIES, Account, jobs
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
DEFAULTS = {"DateStyle": "German", "client_encoding": "LATIN1", "idle_session_timeout": "300ms"}


async def spoil(connection: Connection) -> None:
    """Give the database defaults that stop who relies on the usual ones."""
    name = await value(connection, "select current_database()")
    for setting, default in DEFAULTS.items():
        await connection.execute(
            sql.SQL("alter database {} set {} = {}").format(
                sql.Identifier(name), sql.SQL(setting), sql.Literal(default)
            )
        )


async def test_a_worker_does_not_depend_on_the_databases_defaults(
    database: str, connection: Connection, settings: Settings
) -> None:
    await spoil(connection)
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        try:
            async with asyncio.timeout(10):
                await worker.ready()
            assert await app.ref(Account, "é😀").note("ÿ€") == ["ÿ€"]
        finally:
            await worker.stop(drain_timeout=1)
    async with await connect(database, role="test") as ours:
        assert await value(ours, "show DateStyle") == "ISO, MDY"
        assert await value(ours, "show client_encoding") == "UTF8"
        assert await value(ours, "show idle_session_timeout") == "0"


async def test_jobs_do_not_depend_on_the_databases_defaults(database: str, connection: Connection) -> None:
    await spoil(connection)
    runner = JobRunner(app=jobs, url=database, concurrency=1)
    async with runner._app.open_async() as opened:
        row = await opened.connector.execute_query_one_async("select now() as at, '€' as word")
    assert row["word"] == "€"


async def test_a_turn_is_read_committed_whatever_the_default(database: str) -> None:
    async with await connect(database, role="test") as connection:
        await connection.execute("set default_transaction_isolation = 'repeatable read'")
        await claim(connection, [Hint(7, "Account", "a", 0)], {"Account": 1})
        assert await value(connection, "show transaction_isolation") == "read committed"


@contextmanager
def encoded(server_url: str, encoding: str) -> Iterator[str]:
    name = sql.Identifier(f"revenant_t_{uuid4().hex}")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} encoding {} locale 'C' template template0").format(name, sql.Literal(encoding))
        )
        try:
            yield make_conninfo(server_url, dbname=name.as_string().strip('"'))
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_does_not_hold_any_text_is_refused_and_found(server_url: str, encoding: str) -> None:
    with encoded(server_url, encoding) as url:
        with pytest.raises(ConfigurationError, match=f"encoded in {encoding}.*encoding 'UTF8'"):
            await migrate(url)
        findings = {finding.check: finding for finding in diagnose(await gather(url), Plans(connections=1))}
    assert findings["encoding"].status == "fail"
    assert encoding in findings["encoding"].found


async def test_the_job_runner_survives_what_it_does_not_expect(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = JobRunner(app=jobs, url=database, concurrency=1)
    rounds = 0

    async def run_once() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("nobody thought of this")
        await asyncio.Event().wait()

    monkeypatch.setattr(runner, "run_once", run_once)
    await runner.start()
    await eventually(lambda: rounds == 2)
    await runner.stop()
    assert "nobody thought of this" in caplog.text


async def test_a_handler_can_neither_commit_nor_roll_back_a_turn(database: str) -> None:
    connection = await connect(database, role="test", opened=LaneConnection)
    assert isinstance(connection, LaneConnection)
    await run_script(connection, "begin")
    lent = LaneIsolation(connection).open()
    await lent.execute("create temporary table own_rows (value int)")
    for ending in (lent.commit, lent.rollback):
        with pytest.raises(ConfigurationError, match="cannot"):
            await ending()
    await connection.rollback_message()
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    await connection.close()


async def test_a_loan_ends_with_its_handler_though_it_was_not_used(database: str) -> None:
    connection = await connect(database, role="test", opened=LaneConnection)
    assert isinstance(connection, LaneConnection)
    isolation = LaneIsolation(connection)
    kept = isolation.open()
    isolation.end_loan()
    with pytest.raises(ConfigurationError, match="after its function had ended"):
        await kept.execute("select 1")
    await connection.close()


async def test_the_ticker_rests_while_somebody_else_holds_what_is_due(database: str, connection: Connection) -> None:
    await connection.execute(
        "insert into revenant.scheduled (bucket, id, due, kind, key, handler, args)"
        " values (7, %s, now() - interval '1 minute', 'Account', 'a', 'deposit', '{}')",
        (UUID(int=7),),
    )
    ticker = Ticker(desk=Link(url=database, role="desk"), agenda=Agenda(), kinds=["Account"])
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute("select from revenant.scheduled for update")
        assert await ticker.run_once(connection) >= SHORTEST_SLEEP
    await ticker.run_once(connection)
    assert await value(connection, "select count(*) from revenant.messages") == 1


async def tidied(connection: Connection) -> Any:
    """Tidy everything, as far as bucket 7 is everything; return where the next page of replies begins."""
    await connection.execute("select revenant.tidy_v1(100)")
    return await value(connection, "select revenant.tidy_replies_v1(7::smallint, %s, 100)", UUID(int=0))


async def test_tidying_waits_for_nobody(database: str, connection: Connection) -> None:
    held, free = UUID(int=7), UUID(int=256 + 7)
    for own in (held, free):
        await connection.execute(
            "insert into revenant.replies (bucket, id, status, version, body, expires_at)"
            " values (7, %s, 'ok', 1, '1', now() - interval '1 day')",
            (own,),
        )
        await connection.execute("insert into revenant.sends values (%s, now() - interval '1 day')", (own,))
        await connection.execute(
            "insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start, heartbeat_at)"
            " values (%s, 'h', 1, '{}', 1, 0, 1, now(), now() - interval '1 day')",
            (own,),
        )
    await connection.execute("set lock_timeout = '500ms'")
    tables = ("replies", "sends", "workers")
    async with await psycopg.AsyncConnection.connect(database) as other:
        for table in tables:
            await other.execute(f"select from revenant.{table} where id = %s for update".encode(), (held,))
        assert await tidied(connection) is None
    for table in tables:
        assert await rows(connection, f"select id from revenant.{table}") == [(held,)]
    await tidied(connection)
    for table in tables:
        assert await rows(connection, f"select id from revenant.{table}") == []


async def test_the_janitor_gets_to_every_reply_however_many_there_are(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "PAGE", 3)
    for number in range(1, 2001):
        own = UUID(int=number)
        await connection.execute(
            "insert into revenant.replies (bucket, id, status, version, body, expires_at)"
            " values (%s, %s, 'ok', 1, '1', now() + make_interval(hours => %s))",
            (number % 256, own, -1 if number % 3 else 1),
        )
    tidier = Janitor(desk=Link(url=database, role="desk"))
    rests = [await tidier.run_once(connection) for _ in range(3 * 256)]
    # Each bucket holds seven or eight: two whole pages, and one that ends it.
    assert rests.count(janitor.PAGE_SECONDS) == 2 * 256
    assert min(rest for rest in rests if rest != janitor.PAGE_SECONDS) >= janitor.REST_SECONDS / 2
    left = "select count(*), count(*) filter (where expires_at < now()) from revenant.replies"
    assert await rows(connection, left) == [(2000 // 3, 0)]


async def test_the_janitor_tidies_the_rest_once_a_walk(database: str, connection: Connection) -> None:
    await connection.execute("insert into revenant.sends values (%s, now() - interval '1 day')", (UUID(int=7),))
    tidier = Janitor(desk=Link(url=database, role="desk"))
    for _ in range(janitor.BUCKETS):
        await tidier.run_once(connection)
    assert await value(connection, "select count(*) from revenant.sends") == 0


async def test_the_net_rests_after_a_round_for_as_long_as_all_its_pages_are_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entities = [Hint(7, "Account", str(number), 0) for number in range(7)]

    async def waiting(_connection: Any, *, known: Sequence[str], after: Hint, page: int) -> list[Hint]:
        await asyncio.sleep(0.05)
        return [hint for hint in entities if hint > after][:page]

    monkeypatch.setattr(sweeper, "waiting", waiting)
    monkeypatch.setattr(sweeper, "PAGE", 2)
    net = Sweeper(desk=Link(url="", role="desk"), agenda=Agenda(), kinds=["Account"])
    connection: Any = None
    net._cursor = entities[-2]  # the first round begins in the middle, and the whole one follows at once
    assert await net.run_once(connection) == 0.0
    pauses = [await net.run_once(connection) for _ in range(4)]
    assert pauses[:3] == [0.0] * 3
    assert pauses[3] >= 4 * 0.05 * sweeper.SHARE
