"""flow.transaction: the SQL of a step commits together with the event that it has succeeded: exactly once, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from revenant import Flow, Retry, current_step, workflow
from revenant.codec import bucket_of
from revenant.config import Settings
from revenant.errors import ConfigurationError, RunCancelled, RunFailed
from revenant.worker.worker import RUNNERS
from tests.flows import history, served, types
from tests.nemesis import Proxy, cut_answer, cut_before
from tests.tools import eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
QUICK = Retry(backoff=0.01)
ONCE = Retry(attempts=1)
TABLE = "create table bookings (id int primary key, word text, tx text default pg_current_xact_id(), check (id < 1000))"
COUNT = "select count(*) from bookings"


async def book(connection: Connection, id: int, word: str) -> int:
    await connection.execute("insert into bookings (id, word) values (%s, %s)", (id, word))
    return id + 1


async def test_the_sql_of_a_step_commits_with_its_event(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)

    @workflow
    async def buy(flow: Flow) -> int:
        first = await flow.transaction(book, 1, "a")
        both = await flow.gather(flow.transaction(book, first, "b"), flow.transaction(book, 7, "c"))
        return sum(both)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=20) == 11
    found = await rows(connection, "select word, tx from bookings order by id")
    assert [word for word, _ in found] == ["a", "b", "c"]
    committed = await rows(connection, "select xmin::text from revenant.run_events where type = 'step.succeeded'")
    assert sorted(xid for _, xid in found) == sorted(xid for (xid,) in committed)
    assert (await types(connection, "b"))[-1] == "run.completed"


async def test_a_step_that_raises_leaves_nothing_of_its_sql(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)

    async def fail_once(own: Connection) -> str:
        await own.execute("insert into bookings values (%s, 'x')", (current_step().attempt,))
        if current_step().attempt == 1:
            raise ConnectionError
        return "done"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(fail_once, retry=QUICK)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=20) == "done"
    assert await rows(connection, "select id from bookings") == [(2,)]


@pytest.mark.parametrize(
    ("ids", "words"),
    [((1, 1), "UniqueViolation"), ((5000,), "CheckViolation")],
)
async def test_a_broken_constraint_fails_the_attempt(
    database: str, settings: Settings, connection: Connection, ids: tuple[int, ...], words: str
) -> None:
    await connection.execute(TABLE)

    async def book_all(own: Connection) -> None:
        for id in ids:
            await own.execute("insert into bookings values (%s)", (id,))

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(book_all, retry=Retry(attempts=2, backoff=0.01))

    async with served(database, settings, buy) as app:
        with pytest.raises(RunFailed, match=words):
            await (await app.start(buy, id="b")).result(timeout=20)
    assert await value(connection, COUNT) == 0
    assert (await types(connection, "b")).count("attempt.failed") == 2


async def test_a_deferred_constraint_fails_the_attempt_before_anything_is_recorded(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    await connection.execute(
        "create table parts (booking int references bookings deferrable initially deferred, n int)"
    )

    async def add(own: Connection) -> int:
        attempt = current_step().attempt
        await own.execute("insert into parts values (%s, 1)", (attempt,))
        if attempt == 2:
            await own.execute("insert into bookings values (2)")
        return attempt

    @workflow
    async def buy(flow: Flow) -> int:
        return await flow.transaction(add, retry=QUICK)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=20) == 2
    assert await rows(connection, "select booking from parts") == [(2,)]


async def test_a_deadlock_is_tried_again_whatever_the_policy_names(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    await connection.execute("insert into bookings values (1, ''), (2, '')")
    inside: set[int] = set()

    async def swap(own: Connection, first: int, second: int) -> None:
        await own.execute("update bookings set word = word || 'x' where id = %s", (first,))
        inside.add(first)
        await eventually(lambda: len(inside) == 2)
        await own.execute("update bookings set word = word || 'x' where id = %s", (second,))

    @workflow
    async def buy(flow: Flow) -> None:
        picky = Retry(on=(ValueError,), backoff=0.01)
        await flow.gather(flow.transaction(swap, 1, 2, retry=picky), flow.transaction(swap, 2, 1, retry=picky))

    async with served(database, settings, buy) as app:
        await (await app.start(buy, id="b")).result(timeout=60)
    assert await rows(connection, "select word from bookings") == [("xx",), ("xx",)]
    assert "DeadlockDetected" in str(await history(connection, "b"))


@pytest.mark.parametrize("word", ["commit", "rollback", "begin"])
async def test_the_functions_sql_cannot_end_the_transaction(
    database: str, settings: Settings, connection: Connection, word: str
) -> None:
    await connection.execute(TABLE)

    async def end(own: Connection) -> None:
        await book(own, 1, "x")
        with pytest.raises(ConfigurationError, match="would end the step's transaction"):
            await own.execute(word.encode())
        with pytest.raises(ConfigurationError, match="cannot commit"):
            await own.commit()
        raise ValueError("enough")

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(end, retry=ONCE)

    async with served(database, settings, buy) as app:
        with pytest.raises(RunFailed, match="enough"):
            await (await app.start(buy, id="b")).result(timeout=20)
    assert await value(connection, COUNT) == 0


async def test_a_step_that_hides_its_failed_sql_fails_all_the_same(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def hide(own: Connection) -> None:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await own.execute("select * from nowhere")

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(hide, retry=ONCE)

    async with served(database, settings, buy) as app:
        with pytest.raises(RunFailed, match="SQL had failed"):
            await (await app.start(buy, id="b")).result(timeout=20)


async def test_what_a_step_leaves_on_its_session_is_gone_before_the_next_one(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def leave(own: Connection) -> int:
        await own.execute("set search_path = nowhere")
        await own.execute("set role pg_monitor")
        await own.execute("create temp table own_temp (n int)")
        await own.execute("select pg_advisory_lock(7)")
        own.row_factory = psycopg.rows.dict_row
        return own.info.backend_pid

    async def look(own: Connection) -> list[Any]:
        cursor = await own.execute(
            "select current_setting('search_path'), current_user = session_user, to_regclass('pg_temp.own_temp')::text,"
            " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
        )
        return [*(await cursor.fetchone() or ()), own.info.backend_pid]

    @workflow
    async def buy(flow: Flow) -> list[Any]:
        return [await flow.transaction(leave), *await flow.transaction(look)]

    async with served(database, settings, buy) as app:
        pid, path, own_role, temp, locks, same = await (await app.start(buy, id="b")).result(timeout=20)
    assert pid == same
    assert (path, own_role, temp, locks) == ('"$user", public', True, None, 0)


async def test_a_step_that_takes_too_long_is_rolled_back_and_lets_go_of_its_locks(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)

    async def slow(own: Connection) -> str:
        await own.execute("insert into bookings values (1)")
        if current_step().attempt == 1:
            await own.execute("select pg_sleep(60)")
        return "done"

    @workflow
    async def buy(flow: Flow) -> str:
        return await flow.transaction(slow, retry=QUICK, timeout=1)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=30) == "done"
    assert await value(connection, COUNT) == 1


async def test_cancelling_the_run_rolls_its_transaction_back(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    inside = asyncio.Event()

    async def wait(own: Connection) -> None:
        await own.execute("insert into bookings values (1)")
        inside.set()
        await asyncio.Event().wait()

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(wait)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        await inside.wait()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
        await connection.execute("insert into bookings values (1)")
    assert await value(connection, COUNT) == 1


async def test_a_cancelled_step_that_goes_on_cannot_commit(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    inside, go, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(own: Connection) -> None:
        await own.execute("insert into bookings values (1)")
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await go.wait()
        left.set()

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(stubborn)

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        await inside.wait()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout=20)
        go.set()
        await left.wait()
        # It waits until the other transaction has ended, in whatever way.
        await connection.execute("insert into bookings values (1)")
    assert await value(connection, COUNT) == 1


async def test_a_step_that_nobody_waits_for_any_more_cannot_commit(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    go, left = asyncio.Event(), asyncio.Event()

    async def stubborn(own: Connection) -> None:
        await own.execute("insert into bookings values (1)")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await go.wait()
        left.set()

    @workflow
    async def buy(flow: Flow) -> str:
        await flow.race(flow.transaction(stubborn), flow.signal("now"))
        return str(await flow.signal("end"))

    async with served(database, settings, buy) as app:
        run = await app.start(buy, id="b")
        inside = (
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database "
            "where datname = current_database() and relation = 'bookings'::regclass"
        )
        await eventually(lambda: value(connection, inside), what="the step's own row")
        await run.signal("now")
        await eventually(lambda: _has(connection, "step.cancelled"))
        go.set()
        await left.wait()
        await connection.execute("insert into bookings values (1)")
        await run.signal("end", "good")
        assert await run.result(timeout=20) == "good"
    assert "step.succeeded" not in await types(connection, "b")


async def _has(connection: Connection, type: str) -> bool:
    return type in await types(connection, "b")


async def test_signals_that_come_during_the_commit_wait_for_it(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    # The commit of the first step waits for this lock, which its deferred trigger wants.
    await connection.execute(
        "create function wait_for_it() returns trigger language plpgsql as "
        "$$begin perform pg_advisory_xact_lock(77); return null; end$$"
    )
    await connection.execute(
        "create constraint trigger late after insert on revenant.run_events deferrable initially deferred "
        "for each row when (new.type = 'step.succeeded') execute function wait_for_it()"
    )

    @workflow
    async def buy(flow: Flow) -> list[Any]:
        booked = await flow.transaction(book, 1, "a")
        return [booked, await flow.signal("word"), await flow.signal("word")]

    async with served(database, settings, buy) as app:
        await connection.execute("select pg_advisory_lock(77)")
        run = await app.start(buy, id="b")
        await eventually(lambda: waits(connection, "advisory"))
        sent = [asyncio.create_task(run.signal("word", n, timeout=30)) for n in range(2)]
        # Other runs of the same worker go on meanwhile.
        mine = bucket_of(buy.kind, "b") % RUNNERS
        same = next(key for key in map(str, range(100)) if bucket_of(buy.kind, key) % RUNNERS == mine)
        other = await app.start(buy, id=same, timeout=20)
        await connection.execute("select pg_advisory_unlock(77)")
        await asyncio.gather(*sent)
        assert sorted((await run.result(timeout=20))[1:]) == [0, 1]
        await other.cancel()
    found = [type for type in await types(connection, "b") if not type.startswith("wait")]
    assert found.index("step.succeeded") < found.index("signal.received")


@pytest.mark.parametrize("spring", [cut_before, cut_answer])
async def test_a_lost_connection_at_the_commit_costs_nothing_and_counts_once(
    database: str, settings: Settings, connection: Connection, spring: Any
) -> None:
    await connection.execute(TABLE)

    async def add(own: Connection) -> int:
        await own.execute("insert into bookings values ((select coalesce(max(id), 0) + 1 from bookings))")
        return current_step().attempt

    @workflow
    async def buy(flow: Flow) -> int:
        return await flow.transaction(add, retry=QUICK)

    async with Proxy(database) as proxy:
        trap = proxy.trap("transaction", b"revenant.append_runs_v2", spring)
        async with served(proxy.url, settings, buy) as app:
            attempt = await (await app.start(buy, id="b")).result(timeout=30)
        assert trap.sprung.is_set()
    assert attempt == (1 if spring is cut_answer else 2)
    assert await value(connection, COUNT) == 1


async def test_a_worker_that_lost_the_run_cannot_commit(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)
    tries = 0

    async def add(own: Connection) -> int:
        nonlocal tries
        tries += 1
        await own.execute("insert into bookings values (%s)", (tries,))
        if tries == 1:
            # Somebody else takes the run on.
            await connection.execute("update revenant.run_heads set fence = fence + 1")
        return tries

    @workflow
    async def buy(flow: Flow) -> int:
        return await flow.transaction(add, retry=QUICK)

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=30) == 2
    assert await rows(connection, "select id from bookings") == [(2,)]


async def test_a_result_that_cannot_be_stored_rolls_the_sql_back(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)

    async def add(own: Connection) -> Any:
        await own.execute("insert into bookings values (1)")
        return object()

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(add)

    async with served(database, settings, buy) as app:
        with pytest.raises(RunFailed, match="cannot be stored"):
            await (await app.start(buy, id="b")).result(timeout=20)
    assert await value(connection, COUNT) == 0


async def test_a_function_that_is_not_async_is_refused(database: str, settings: Settings) -> None:
    def add(own: Connection) -> int:
        return 1

    @workflow
    async def buy(flow: Flow) -> None:
        await flow.transaction(add)  # type: ignore[arg-type]  # on purpose

    async with served(database, settings, buy) as app:
        with pytest.raises(RunFailed, match="`async def` functions"):
            await (await app.start(buy, id="b")).result(timeout=20)


async def test_more_transactions_than_connections_take_turns(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(TABLE)

    @workflow
    async def buy(flow: Flow) -> int:
        return len(await flow.gather(*(flow.transaction(book, n, "x") for n in range(40))))

    async with served(database, settings, buy) as app:
        assert await (await app.start(buy, id="b")).result(timeout=60) == 40
    assert await value(connection, COUNT) == 40
