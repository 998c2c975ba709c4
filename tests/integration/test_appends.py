"""Appends to the streams of runs: fenced by what their writer knows, all or nothing, and in the order of the runs' keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.queue.records import Settlement, Taken
from revenant.queue.runs import EventWrite, Lost, RunWrite, append_runs
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.flows import served
from tests.integration.test_locks import is_waiting
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
KIND = "run:w"
FIRST, SECOND = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
STREAMS = {key: new_id(bucket_of(KIND, key)) for key in ("a", "b", "c", "new")}
EVENTS = "select h.key, e.seq, e.type from revenant.run_heads h join revenant.run_events e using (run) order by 1, 2"
HEADS = "select key, seq, fence, owner::text from revenant.run_heads order by 1"
BEGUN = [(key, 1, 1, FIRST) for key in "abc"]
HOLD = "select 1 from revenant.run_heads where key = %s for no key update"


def write(key: str, *, seq: int, fence: int, stream: str | None = None, take: bool = False) -> RunWrite:
    """One event more for a run that is known to have `seq` of them; 0: it is begun."""
    run = (stream or STREAMS[key]) if seq else None
    return RunWrite(
        bucket=bucket_of(KIND, key), kind=KIND, key=key, run=run, stream=run or STREAMS[key], expected=seq, seq=seq + 1,
        fence=fence, take=take, owned=True, version=1, status="running", recoveries=0, digest=b"", origin=None,
        parent=None, waits=None, view=None, problem=None, keep=None,
    )  # fmt: skip


async def append(
    connection: Connection, worker: str, *heads: RunWrite, word: str = "x", settlement: Settlement | None = None
) -> Lost | None:
    events = [EventWrite(slot, head.seq, word, None, "2026-01-01Z", "{}") for slot, head in enumerate(heads, 1)]
    return await append_runs(connection, worker, heads, events, settlement or Settlement())


@pytest_asyncio.fixture
async def begun(connection: Connection) -> Connection:
    """The runs a, b and c, of one event each, which the first worker owns."""
    assert await append(connection, FIRST, *(write(key, seq=0, fence=0, take=True) for key in "abc")) is None
    return connection


async def test_an_append_counts_its_events_and_the_owners(begun: Connection) -> None:
    assert await rows(begun, HEADS) == BEGUN
    assert await append(begun, FIRST, write("a", seq=1, fence=1)) is None
    assert await append(begun, SECOND, write("b", seq=1, fence=1, take=True)) is None
    assert await rows(begun, HEADS) == [("a", 2, 1, FIRST), ("b", 2, 2, SECOND), ("c", 1, 1, FIRST)]


STALE = {
    "it has fewer events": write("b", seq=1, fence=2),
    "somebody else has owned it since": write("b", seq=2, fence=1),
    "it goes on in another stream": write("b", seq=2, fence=2, stream=new_id(bucket_of(KIND, "b"))),
    "it is there already": write("b", seq=0, fence=0),
}


@pytest.mark.parametrize("why", STALE)
async def test_what_a_writer_knows_no_longer_is_refused_with_all_of_its_batch(begun: Connection, why: str) -> None:
    assert await append(begun, SECOND, write("b", seq=1, fence=1, take=True), word="taken") is None
    before = [await rows(begun, query) for query in (HEADS, EVENTS)]
    lost = await append(begun, FIRST, write("a", seq=1, fence=1), STALE[why], write("c", seq=1, fence=1))
    assert lost == Lost([1], "the streams of 1 runs are not as they were read")
    assert [await rows(begun, query) for query in (HEADS, EVENTS)] == before
    # The others are as they were, and go on without it.
    assert await append(begun, FIRST, write("a", seq=1, fence=1), write("c", seq=1, fence=1)) is None


async def test_of_two_who_append_to_a_run_at_once_one_is_refused(begun: Connection, database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        told = await asyncio.gather(
            append(begun, FIRST, write("a", seq=1, fence=1), word="first"),
            append(other, SECOND, write("a", seq=1, fence=1, take=True), word="second"),
        )
        again = await asyncio.gather(*(append(one, FIRST, write("new", seq=0, fence=0)) for one in (begun, other)))
    for one in (told, again):
        assert sorted(lost is None for lost in one) == [False, True]
    assert [seq for key, seq, _ in await rows(begun, EVENTS) if key == "a"] == [1, 2]


async def test_whoever_had_to_wait_for_a_run_is_refused_what_has_changed_meanwhile(
    begun: Connection, database: str
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as waiter,
        await psycopg.AsyncConnection.connect(database) as holder,
    ):
        await holder.execute("update revenant.run_heads set fence = 2 where key = 'a'")
        waiting = asyncio.ensure_future(append(waiter, FIRST, write("a", seq=1, fence=1)))
        await eventually(lambda: is_waiting(begun), what="the wait")
        await holder.commit()
        assert await waiting == Lost([0], "the streams of 1 runs are not as they were read")


@pytest.mark.parametrize("order", ["abc", "cba"])
async def test_whoever_waits_for_a_run_holds_only_those_that_it_named_before(
    begun: Connection, database: str, order: str
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as waiter,
        await psycopg.AsyncConnection.connect(database) as holder,
    ):
        await holder.execute(HOLD, ("b",))
        waiting = asyncio.ensure_future(append(waiter, FIRST, *(write(key, seq=1, fence=1) for key in order)))
        await eventually(lambda: is_waiting(begun), what="the wait")
        free = f"{HOLD} skip locked"
        assert [await value(begun, free, key) for key in order] == [None, None, 1]
        await holder.rollback()
        assert await waiting is None


SEND = "select revenant.signal('w', 'a', %s)::text"
WAITING = "select ctid::text, seq, id::text from revenant.messages where kind = 'run:w'"


@pytest.mark.parametrize("what", ["tid", "seq", "id"])
async def test_an_append_takes_no_message_that_it_has_not_read(begun: Connection, what: str) -> None:
    await begun.execute(SEND, ("word",))
    (found,) = await rows(begun, WAITING)
    read = Taken(*found)
    others: dict[str, Any] = {"tid": "(9,9)", "seq": read.seq + 1, "id": FIRST}
    other = read._replace(**{what: others[what]})
    lost = await append(begun, FIRST, write("a", seq=1, fence=1), settlement=Settlement(taken=[other]))
    assert lost == Lost([], "1 messages have left their mailboxes")
    assert await rows(begun, WAITING) == [found]
    assert await rows(begun, HEADS) == BEGUN
    assert await append(begun, FIRST, write("a", seq=1, fence=1), settlement=Settlement(taken=[read])) is None
    assert await rows(begun, WAITING) == []


@workflow
async def w(flow: Flow) -> list[str]:
    return [await flow.signal("word", str), await flow.signal("word", str)]


async def test_a_number_that_a_crash_of_postgres_gave_away_again_loses_no_signal(
    database: str, server_url: str, settings: Settings, connection: Connection
) -> None:
    """What the worker has in hand was never on the disk; its number, and its place, are the next one's."""
    heard = "select count(*) from revenant.run_events where type = 'signal.received' and data ->> 'payload' = %s"
    appends = (
        "select pid from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock' and strpos(query, 'append_runs') > 0"
    )
    async with served(database, settings, w) as app, await psycopg.AsyncConnection.connect(database) as holder:
        run = await app.start(w, id="a")
        await eventually(lambda: value(connection, "select status = 'waiting' from revenant.run_heads"))
        await connection.execute("vacuum revenant.messages")
        await holder.execute(HOLD, ("a",))
        await connection.execute("select revenant.signal('w', 'a', 'word', '\"first\"')")
        pid = await eventually(lambda: value(connection, appends), what="an append that waits")
        ((tid, seq, _),) = await rows(connection, WAITING)
        async with closed(server_url, database):
            await connection.execute("select pg_terminate_backend(%s, 5000)", (pid,))
            await holder.rollback()
            await connection.execute("delete from revenant.messages")
            await connection.execute("vacuum revenant.messages")
            await connection.execute("alter table revenant.messages alter column seq restart with " + str(seq))
            await connection.execute("select revenant.signal('w', 'a', 'word', '\"second\"')")
            assert [found[:2] for found in await rows(connection, WAITING)] == [(tid, seq)]
        await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="its end")
        assert await value(connection, heard, "second") == 1
        await run.signal("word", "third")
        assert "second" in await run.result(timeout=20)


@asynccontextmanager
async def closed(server_url: str, database: str) -> AsyncIterator[None]:
    """The database takes no more connections meanwhile."""
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as admin:
        await admin.execute(sql.SQL("alter database {} allow_connections false").format(name))
        try:
            yield
        finally:
            await admin.execute(sql.SQL("alter database {} allow_connections true").format(name))
