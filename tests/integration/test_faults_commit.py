"""The answer to a COMMIT is lost: what became of it is looked up, never guessed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client import inbox, sender, spent
from revenant.config import Settings
from revenant.errors import DatabaseUnavailable
from revenant.sql import migrate
from revenant.worker import heartbeat
from revenant.worker.worker import Worker
from tests.entities import ENTITIES, Account
from tests.nemesis import Cable, Proxy, blocked, cut_answer, cut_before, hang_up, locked, only_until, private_server
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
SETTLE, ENQUEUE = b"revenant.settle_", b"revenant.enqueue_"


@asynccontextmanager
async def working(url: str, settings: Settings) -> AsyncIterator[Worker]:
    worker = Revenant(entities=ENTITIES, database_url=url, settings=settings).worker()
    await worker.start()
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.stop(drain_timeout=5)


@asynccontextmanager
async def sending(url: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=ENTITIES, database_url=url, settings=settings) as app:
        yield app


async def test_a_commit_whose_answer_is_lost_counts_once_and_its_callers_are_told(
    app: Revenant, database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "NET_SECONDS", 60.0)
    async with Proxy(database) as proxy, working(proxy.url, settings):
        # The backend is lost between the commit and the wake-up that follows it in the same script.
        trap = proxy.trap("lane", SETTLE, only_until(b"commit;", lambda: None))
        first, second = app.ref(Account, "a"), app.ref(Account, "b")
        async with asyncio.timeout(30):
            assert list(await asyncio.gather(first.deposit(5), second.deposit(7))) == [5, 7]
            assert await first.deposit(1) == 6
    assert trap.sprung.is_set()
    assert await rows(connection, "select version from revenant.entities order by key") == [(2,), (1,)]


async def test_a_commit_that_never_arrived_is_done_again_and_counts_once(
    app: Revenant, database: str, settings: Settings, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(database) as proxy, working(proxy.url, settings):
        trap = proxy.trap("lane", SETTLE, cut_before)
        async with asyncio.timeout(30):
            assert await app.ref(Account, "a").deposit(5) == 5
    assert trap.sprung.is_set()
    assert "turns out to be aborted" in caplog.text
    assert await rows(connection, "select version, state->'balance' from revenant.entities") == [(1, 5)]


async def test_a_commit_that_is_still_under_way_is_waited_for(
    app: Revenant, database: str, settings: Settings, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def let_pass(cable: Cable, frame: bytes) -> None:
        cable.server.write(frame)

    async with Proxy(database) as proxy, working(proxy.url, settings):
        trap = proxy.trap("lane", SETTLE, hang_up)
        looks = [proxy.trap("lane", b"pg_xact_status", let_pass) for _ in range(3)]
        async with locked(database, "revenant.replies"):
            call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(5)))
            await eventually(lambda: blocked(connection, "lane"), what="a blocked commit")
            assert trap.sprung.is_set()
            # It looks a third time only because it was told twice that the commit is in progress.
            await asyncio.wait_for(looks[2].sprung.wait(), 30)
            assert not call.done()
        async with asyncio.timeout(30):
            assert await call == 5
    assert "turns out to be committed" in caplog.text
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def silenced(proxy: Proxy, connection: Connection) -> None:
    """Cut the loops of a worker off: a number that one of them took would keep an earlier one from being given again."""
    gone = "select count(*) = 0 from pg_stat_activity where application_name = 'revenant/desk'"

    async def cut() -> bool:
        for cable in proxy.live("desk"):
            cable.cut()
        return bool(await value(connection, gone))

    await eventually(cut, what="the end of what the loops write")


async def test_no_receipt_is_given_for_a_commit_that_a_crash_undid_even_when_its_number_was_used_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that wrote nothing before the crash leaves no trace, and Postgres gives its number away again."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 60.0)
    with private_server() as server:
        await migrate(server.url)
        one_lane = settings.model_copy(update={"lanes": 1})
        async with (
            Proxy(server.url) as proxy,
            sending(server.url, settings) as app,
            working(proxy.url, one_lane),
        ):
            proxy.refused = {"lane-1"}
            for cable in proxy.live("lane"):
                cable.cut()
            call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(5), timeout=30))
            async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
                await eventually(lambda: value(connection, "select count(*) from revenant.messages"))
                proxy.refused = {"lane-1", "desk"}
                await silenced(proxy, connection)
                await connection.execute("create table own_rows (value int)")  # flushes the call with it
                caught, held = asyncio.Event(), asyncio.Event()

                async def hold(_cable: Cable, _frame: bytes) -> None:
                    caught.set()
                    await held.wait()

                trap = proxy.trap("lane", SETTLE, hold)
                proxy.refused = {"desk"}
                await asyncio.wait_for(caught.wait(), 20)
                turn = "from pg_stat_activity where application_name = 'revenant/lane-1' and backend_xid is not null"
                number = await value(connection, f"select backend_xid::text {turn}")
                later = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint > backend_xid::text::bigint"
                assert await value(connection, f"select {later} {turn}") is False, "another one has ended since"
            proxy.refused = {"lane-1"}
            await asyncio.to_thread(server.stop, "immediate")
            held.set()
            await asyncio.to_thread(server.start)
            assert trap.sprung.is_set()
            async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:

                async def used_again() -> bool:
                    await connection.execute("insert into own_rows values (1)")
                    return bool(await value(connection, "select pg_xact_status(%s::xid8) = 'committed'", number))

                await eventually(used_again, what="another transaction of that number")

                async def stay_away(cable: Cable, _frame: bytes) -> None:
                    proxy.refused = {"lane-1"}
                    cable.cut()

                next_turn = proxy.trap("lane", b"revenant.claim_", stay_away)
                proxy.refused = set()
                await asyncio.wait_for(next_turn.sprung.wait(), 20)
                # Nothing has been committed: a receipt that came now would be a false one.
                await asyncio.wait({call}, timeout=0.3)
                assert not call.done()
                proxy.refused = set()
                assert await call == 5
                assert await rows(connection, "select version from revenant.entities") == [(1,)]


@pytest.mark.parametrize("fault", list(itertools.product(("call", "cast"), (cut_answer, cut_before))))
async def test_a_send_whose_answer_is_lost_arrives_once(
    database: str, settings: Settings, connection: Connection, worker: Worker, fault: tuple[str, Any]
) -> None:
    what, spring = fault
    async with Proxy(database) as proxy, sending(proxy.url, settings) as app:
        account = app.ref(Account, "a")
        assert await account.read() == 0
        trap = proxy.trap("client", ENQUEUE, spring)
        async with asyncio.timeout(30):
            await (app.call if what == "call" else app.cast)(account.deposit(5))
            assert await account.read() == 5
        assert trap.sprung.is_set()
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def test_a_send_that_is_tried_again_waits_for_its_first_try(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with Proxy(database) as proxy, sending(proxy.url, settings) as app:
        account = app.ref(Account, "a")
        trap = proxy.trap("client", ENQUEUE, hang_up)
        async with locked(database, "revenant.messages"):
            cast = asyncio.create_task(app.cast(account.deposit(5)))
            await asyncio.wait_for(trap.sprung.wait(), 30)

            async def both_wait() -> bool:
                return await blocked(connection, "client") == 2

            await eventually(both_wait, what="a first and a second try")
        async with asyncio.timeout(30):
            await cast
        assert await value(connection, "select count(*) from revenant.messages") == 1


async def test_a_send_is_not_tried_again_when_its_first_try_may_have_been_forgotten(
    database: str, settings: Settings, connection: Connection, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour without the database, in short: the mark by which a batch is known again is kept for an hour."""
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0.0)
    brief = settings.model_copy(update={"call_timeout": 1.0})
    async with Proxy(database) as proxy, sending(proxy.url, brief) as app:
        account = app.ref(Account, "a")
        assert await account.read() == 0
        trap = proxy.trap("client", ENQUEUE, cut_answer)
        cast = asyncio.create_task(app.cast(account.deposit(5)))
        await asyncio.wait_for(trap.sprung.wait(), 30)
        await eventually(lambda: value(connection, "select count(*) from revenant.entities"))
        await connection.execute("delete from revenant.sends")
        assert await account.read() == 5
        with pytest.raises(DatabaseUnavailable, match="unknown"):
            await cast
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def test_a_try_that_arrives_long_after_the_next_ones_doubles_nothing(
    database: str, settings: Settings, connection: Connection, worker: Worker
) -> None:
    """A network may hold a statement back while its sender gives up the line, tries again, and sends a lot more."""
    late: list[tuple[Cable, bytes]] = []

    async def hold_back(cable: Cable, frame: bytes) -> None:
        late.append((cable, frame))
        cable.hang_up()

    async with Proxy(database) as proxy, sending(proxy.url, settings) as app:
        account = app.ref(Account, "a")
        assert await account.read() == 0
        proxy.trap("client", ENQUEUE, hold_back)
        async with asyncio.timeout(30):
            await app.cast(account.deposit(5))
            for _ in range(3 * spent.ENOUGH):
                assert await account.read() == 5
        ((cable, frame),) = late
        cable.server.write(frame)

        async def executed() -> bool:
            query = (
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and application_name = 'revenant/client' and state = 'idle'"
            )
            return bool(await value(connection, query) == 2)

        await eventually(executed, what="the late try to be done")
        assert await account.read() == 5
    assert await rows(connection, "select version from revenant.entities") == [(1,)]
