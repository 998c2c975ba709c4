"""A message is a value with one id: sent again it would count twice, so it is refused, unless that is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.message import Message
from revenant.errors import (
    AlreadySent,
    CallTimeout,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidKey,
    Refused,
)
from revenant.worker.worker import Worker
from tests.entities import ENTITIES, Account
from tests.nemesis import Proxy, blocked, locked
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
SENT = "select (select count(*) from revenant.messages) + (select count(*) from revenant.scheduled)"


async def awaited(_: Revenant, message: Message[int]) -> Any:
    return await message


SENDINGS: dict[str, Callable[[Revenant, Message[int]], Awaitable[Any]]] = {
    "await": awaited,
    "call": lambda app, message: app.call(message),
    "cast": lambda app, message: app.cast(message),
    "cast later": lambda app, message: app.cast(message, after=timedelta(hours=1)),
}


@pytest.mark.parametrize("second", SENDINGS)
@pytest.mark.parametrize("first", SENDINGS)
async def test_a_message_is_sent_once_whichever_way(
    app: Revenant, worker: Worker, connection: Connection, first: str, second: str
) -> None:
    message = app.ref(Account, "a").deposit(1)
    await SENDINGS[first](app, message)
    message_id = message.id
    for _ in range(2):
        with pytest.raises(AlreadySent, match="count twice") as caught:
            await SENDINGS[second](app, message)
        assert caught.value.message_id == message_id
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
    assert await app.ref(Account, "a").read() == (0 if first == "cast later" else 1)
    assert await value(connection, SENT) == (first == "cast later")


async def test_blocking_code_sends_a_message_once_too(app: Revenant, database: str, connection: Connection) -> None:
    def program() -> None:
        with app.sync() as rv, psycopg.connect(database, autocommit=True) as mine:
            for given in ({}, {"connection": mine}, {"after": timedelta(1)}):
                message = rv.ref(Account, "a").deposit(1)
                rv.cast(message, **given)
                for again in (lambda m: rv.cast(m), lambda m: rv.call(m), lambda m: rv.cast(m, connection=mine)):
                    with pytest.raises(AlreadySent):
                        again(message)

    await asyncio.to_thread(program)
    assert await value(connection, SENT) == 3


async def test_with_the_same_idempotency_key_each_time_it_may_be_sent_again_and_counts_once(
    app: Revenant, worker: Worker
) -> None:
    account = app.ref(Account, "a")
    message = account.deposit(5)
    assert [await app.call(message, idempotency_key="k") for _ in range(3)] == [5, 5, 5]
    assert await app.cast(message, idempotency_key="k") == message.id
    for other in ("j", None):
        with pytest.raises(AlreadySent):
            await app.call(message, idempotency_key=other)
    bare = account.deposit(1)
    await app.call(bare)
    with pytest.raises(AlreadySent):
        await app.call(bare, idempotency_key="late")
    assert await account.read() == 6


async def test_after_a_time_out_it_is_waited_for_and_not_sent_again(app: Revenant, connection: Connection) -> None:
    message = app.ref(Account, "a").deposit(5)
    with pytest.raises(CallTimeout, match="unknown") as unknown:
        await app.call(message, timeout=0.1)
    words = str(unknown.value)
    assert f"app.reply('{unknown.value.message_id}') waits on for it" in words
    assert "may do it twice" in words
    assert "same idempotency_key" not in words
    with pytest.raises(AlreadySent) as again:
        await message
    assert again.value.message_id == message.id == unknown.value.message_id
    late = app.worker()
    await late.start()
    assert await app.reply(message.id or "", returns=int) == 5
    await late.stop()
    assert await value(connection, "select state->'balance' from revenant.entities") == 5


async def test_after_a_time_out_the_same_call_with_its_key_counts_once(app: Revenant) -> None:
    message = app.ref(Account, "a").deposit(5)
    with pytest.raises(CallTimeout, match="same idempotency_key, which counts once"):
        await app.call(message, timeout=0.1, idempotency_key="k")
    late = app.worker()
    await late.start()
    assert await app.call(message, idempotency_key="k") == 5
    assert await app.ref(Account, "a").read() == 5
    await late.stop()


@pytest.mark.parametrize("how", ["call", "cast", "cast later"])
async def test_what_was_certainly_not_sent_may_be_sent_again(
    database: str, settings: Settings, connection: Connection, how: str
) -> None:
    brief = settings.model_copy(update={"call_timeout": 0.3})
    async with Proxy(database) as proxy, Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app:
        proxy.refused = {""}
        message = app.ref(Account, "a").deposit(1)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match="was not sent"):
                await SENDINGS[how](app, message)
            assert message.id is None
        assert await value(connection, SENT) == 0
        proxy.refused = set()
        await eventually(lambda: stored(app), what="a connection")
        if how == "call":
            with pytest.raises(CallTimeout):
                await app.call(message)
        else:
            await SENDINGS[how](app, message)
        with pytest.raises(AlreadySent):
            await SENDINGS[how](app, message)
    assert await value(connection, SENT + " - (select count(*) from revenant.messages where key = 'w')") == 1


async def stored(app: Revenant) -> bool:
    try:
        await app.cast(app.ref(Account, "w").deposit(1))
    except DatabaseUnavailable:
        return False
    return True


@pytest.mark.parametrize("how", ["call", "cast", "cast later"])
async def test_what_was_refused_may_be_sent_again(app: Revenant, connection: Connection, how: str) -> None:
    table = "scheduled" if how == "cast later" else "messages"
    await connection.execute(
        "create function public.refuse() returns trigger language plpgsql as $$ begin "
        "raise exception 'not this' using errcode = '22023'; end $$;"
        f"create trigger refuse before insert on revenant.{table} execute function public.refuse()"
    )
    message = app.ref(Account, "a").deposit(1)
    with pytest.raises(Refused):
        await SENDINGS[how](app, message)
    with pytest.raises(InvalidKey):
        await app.call(message, idempotency_key="")
    with pytest.raises(ConfigurationError, match="seconds"):
        await app.call(message, timeout=-1)
    await connection.execute(f"drop trigger refuse on revenant.{table}")
    assert await app.cast(message) == message.id


async def test_a_statement_that_failed_in_a_transaction_leaves_its_message_free(
    app: Revenant, database: str, connection: Connection
) -> None:
    message = app.ref(Account, "a").deposit(1)
    async with await psycopg.AsyncConnection.connect(database) as mine:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await mine.execute("select 1 / 0")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await app.cast(message, connection=mine)
        await mine.rollback()
        await app.cast(message, connection=mine)
        with pytest.raises(AlreadySent):
            await app.cast(message, connection=mine)
    assert await value(connection, SENT) == 1


async def test_who_is_cancelled_knows_by_the_id_whether_the_message_has_left(
    app: Revenant, database: str, connection: Connection
) -> None:
    await app.cast(app.ref(Account, "warm").deposit(1))
    async with locked(database, "revenant.messages"):
        left, kept = app.ref(Account, "a").deposit(1), app.ref(Account, "a").deposit(1)
        under_way = asyncio.create_task(app.cast(left))
        await eventually(lambda: blocked(connection, "client"), what="a cast under way")
        behind = asyncio.create_task(app.cast(kept))
        await asyncio.sleep(0)
        for task in (under_way, behind):
            task.cancel()
        await asyncio.wait({under_way, behind})
        assert left.id is not None
        assert kept.id is None
        with pytest.raises(AlreadySent):
            await app.cast(left)
    await app.cast(kept)
    assert await value(connection, "select count(*) from revenant.messages where key = 'a'") == 2
