"""What a sender is told when its message is in doubt, refused, or given up: unknown is never told as "not sent"."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client.envelope import seal
from revenant.client.sender import Outgoing, Sender
from revenant.config import Settings
from revenant.errors import CallTimeout, DatabaseUnavailable, Refused, RevenantError, SchemaMismatch
from revenant.queue.link import Link
from tests.entities import ENTITIES, Account
from tests.nemesis import Cable, Proxy, blocked, cut_answer, locked
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
ENQUEUE, SCHEDULE = b"revenant.enqueue_", b"revenant.schedule_batch_v2"
REFUSALS = {
    "read-only": (
        'alter database "{name}" set default_transaction_read_only = on',
        'set default_transaction_read_only = off; alter database "{name}" reset default_transaction_read_only',
    ),
    "refused": (
        "create function public.refuse() returns trigger language plpgsql as $$ begin "
        "raise exception 'not this' using errcode = '22023'; end $$;"
        "create trigger refuse before insert on revenant.sends execute function public.refuse()",
        "drop trigger refuse on revenant.sends",
    ),
    "missing": ("alter schema revenant rename to away", "alter schema away rename to revenant"),
}


def named(statement: str, url: str) -> str:
    return statement.format(name=psycopg.conninfo.conninfo_to_dict(url)["dbname"])


async def errors_of(app: Revenant) -> list[RevenantError]:
    found = await asyncio.gather(
        app.call(app.ref(Account, "a").deposit(1), timeout=1),
        app.cast(app.ref(Account, "a").deposit(1)),
        return_exceptions=True,
    )
    assert all(isinstance(error, RevenantError) for error in found), found
    return [error for error in found if isinstance(error, RevenantError)]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_after_a_lost_answer_is_not_told_as_never_sent(
    database: str, settings: Settings, connection: Connection, refusal: str
) -> None:
    begin, end = (named(statement, database) for statement in REFUSALS[refusal])
    brief = settings.model_copy(update={"call_timeout": 1.0})
    async with Proxy(database) as proxy, Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app:
        await app.cast(app.ref(Account, "warm").deposit(1))

        async def lose(cable: Cable, frame: bytes) -> None:
            proxy.refused = {"client"}
            await cut_answer(cable, frame)

        trap = proxy.trap("client", ENQUEUE, lose)
        sent = asyncio.create_task(errors_of(app))
        await asyncio.wait_for(trap.sprung.wait(), 30)
        await eventually(lambda: value(connection, "select count(*) = 3 from revenant.messages"), what="the batch")
        await connection.execute(begin)
        proxy.refused = set()
        called, cast = await sent
        assert isinstance(called, CallTimeout)
        assert "unknown" in str(called)
        assert isinstance(cast, DatabaseUnavailable)
        assert "unknown" in str(cast)
        await connection.execute(end)
        # The sender is free again, and nothing has been sent twice.
        await eventually(lambda: stored(app), what="a cast that is stored")
        assert await value(connection, "select count(*) from revenant.messages where key = 'a'") == 2


async def stored(app: Revenant) -> bool:
    try:
        await app.cast(app.ref(Account, "b").deposit(1))
    except RevenantError:
        return False
    return True


async def test_a_line_that_was_cut_before_anything_was_sent_leaves_no_doubt(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with Proxy(database) as proxy, Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app:
        await app.cast(app.ref(Account, "a").deposit(1))
        proxy.refused = {""}
        for cable in proxy.live("client"):
            cable.cut()
        with pytest.raises(DatabaseUnavailable, match="was not sent"):
            await app.call(app.ref(Account, "a").deposit(1), timeout=0.5)
        assert await value(connection, "select count(*) from revenant.messages") == 1


@pytest.mark.parametrize(
    ("refusal", "expected"), [("read-only", DatabaseUnavailable), ("refused", Refused), ("missing", SchemaMismatch)]
)
async def test_a_refusal_of_a_message_for_later_is_an_error_of_ours(
    database: str, settings: Settings, connection: Connection, refusal: str, expected: type[RevenantError]
) -> None:
    await connection.execute(named(REFUSALS[refusal][0], database))
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings) as app, asyncio.timeout(15):
        with pytest.raises(expected):
            await app.cast(app.ref(Account, "a").deposit(1), after=timedelta(seconds=60))


async def test_a_message_for_a_time_that_postgres_does_not_know_is_refused(app: Revenant) -> None:
    async with asyncio.timeout(15):
        with pytest.raises(RevenantError):
            await app.cast(app.ref(Account, "a").deposit(1), after=timedelta.max)


async def test_a_refusal_after_a_lost_answer_of_a_message_for_later_is_unknown(
    database: str, settings: Settings, connection: Connection
) -> None:
    brief = settings.model_copy(update={"call_timeout": 1.0})
    async with Proxy(database) as proxy, Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app:

        async def lose(cable: Cable, frame: bytes) -> None:
            proxy.refused = {"client"}
            await cut_answer(cable, frame)

        trap = proxy.trap("client", SCHEDULE, lose)
        cast = asyncio.create_task(app.cast(app.ref(Account, "a").deposit(1), after=timedelta(seconds=60)))
        await asyncio.wait_for(trap.sprung.wait(), 30)
        await eventually(lambda: value(connection, "select count(*) = 1 from revenant.scheduled"))
        await connection.execute(named(REFUSALS["read-only"][0], database))
        proxy.refused = set()
        with pytest.raises(DatabaseUnavailable, match="unknown"):
            await cast


async def test_a_server_that_refuses_messages_for_later_is_not_asked_in_a_hot_loop(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute(
        "create function public.full_disk() returns trigger language plpgsql as $$ begin "
        "raise exception 'no space left' using errcode = '53100'; end $$;"
        "create trigger full_disk before insert on revenant.scheduled execute function public.full_disk()"
    )
    brief = settings.model_copy(update={"call_timeout": 2.0})
    async with Proxy(database) as proxy, Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app:
        with pytest.raises(DatabaseUnavailable, match="unknown"):
            await app.cast(app.ref(Account, "a").deposit(1), after=timedelta(seconds=60))
        assert len(proxy.attempts) < 30


async def test_who_failed_on_an_old_connection_does_not_hang_up_the_new_one(app: Revenant, database: str) -> None:
    """Several tasks fail on one connection, one of them late: the first has made a new one meanwhile."""
    await app.cast(app.ref(Account, "a").deposit(1))
    client = app._client
    assert client is not None
    link = client._sender.link
    errors: list[tuple[BaseException | None, bool]] = []
    real = Link.reset

    async def reset(self: Link, error: BaseException | None = None, *, only: Connection | None = None) -> None:
        errors.append((error, only is not None))
        await real(self, error, only=only)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "reset", reset)
        old = await link.connection()
        async with locked(database, "revenant.scheduled"):
            cast = asyncio.create_task(app.cast(app.ref(Account, "a").deposit(1), after=timedelta(seconds=60)))
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as plain:
                await eventually(lambda: blocked(plain, "client"), what="a blocked cast")
                await rows(
                    plain,
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and application_name = 'revenant/client'",
                )
            await eventually(lambda: old.closed, what="the old connection's end")
        await cast
    assert errors
    assert all(bound for error, bound in errors if error is not None)


async def test_who_waits_when_the_application_stops_hears_that_the_outcome_is_unknown(
    database: str, settings: Settings, connection: Connection
) -> None:
    app = Revenant(entities=ENTITIES, database_url=database, settings=settings)
    await app.start()
    call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1), timeout=20))
    await eventually(lambda: value(connection, "select id from revenant.messages"), what="the message")
    message_id = await value(connection, "select id::text from revenant.messages")
    reply = asyncio.create_task(app.reply(message_id, timeout=20))
    await asyncio.sleep(0)
    async with locked(database, "revenant.messages"):
        cast = asyncio.create_task(app.cast(app.ref(Account, "a").deposit(1)))
        await eventually(lambda: blocked(connection, "client"), what="a cast under way")
        late = asyncio.create_task(app.cast(app.ref(Account, "a").deposit(1)))
        await asyncio.sleep(0)
        async with asyncio.timeout(15):
            await app.stop()
            results = await asyncio.gather(call, reply, cast, late, return_exceptions=True)
    assert [type(error) for error in results] == [CallTimeout, CallTimeout, DatabaseUnavailable, DatabaseUnavailable]
    assert all("stopped" in str(error) for error in results)
    assert all("unknown" in str(error) for error in results[:3])
    assert "was not sent" in str(results[3])


async def test_what_waits_when_a_sender_stops_is_sent(app: Revenant, database: str, connection: Connection) -> None:
    account, loop = app.ref(Account, "a"), asyncio.get_running_loop()
    sender = Sender(url=database)
    await sender.start()
    items = [
        Outgoing(seal(account.deposit(n), origin=None, idempotency_key=None), loop.create_future()) for n in range(5)
    ]
    for item in items:
        sender.put(item)
    async with asyncio.timeout(15):
        await sender.stop()
        await asyncio.gather(*(item.future for item in items))
    assert await value(connection, "select count(*) from revenant.messages") == 5


async def test_a_stop_without_a_database_does_not_wait_for_it(settings: Settings) -> None:
    app = Revenant(entities=ENTITIES, database_url="postgresql://somebody@127.0.0.1:1/shop", settings=settings)
    await app.start()
    cast = asyncio.create_task(app.cast(app.ref(Account, "a").deposit(1)))
    call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1)))
    await asyncio.sleep(0)
    async with asyncio.timeout(15):
        await app.stop()
        results = await asyncio.gather(cast, call, return_exceptions=True)
    assert all(isinstance(error, DatabaseUnavailable) and "was not sent" in str(error) for error in results), results
