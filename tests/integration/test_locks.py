"""Locks of several entities: in key order where they are waited for, and never waited for otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.codec import bucket_of
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
LOCK = "select slot from revenant.lock_v1(%s::smallint[], %s::text[], %s::text[], %s)"
LOCKS = "select count(*) from pg_locks join pg_stat_activity using (pid) where datname = current_database()"
HOLD = "select 1 from revenant.entities where key = %s for no key update"
ROW = (
    "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
    "values (revenant.bucket_v1('Account', %s), 'Account', %s, 1, 1, '{}', 0)"
)


async def lock(connection: Connection, *keys: str, patience: int = 0) -> list[int]:
    """Lock these accounts, in the order given; return the slots that were had."""
    buckets = [bucket_of("Account", key) for key in keys]
    return [slot for (slot,) in await rows(connection, LOCK, buckets, ["Account"] * len(keys), list(keys), patience)]


@pytest_asyncio.fixture
async def hands(database: str, connection: Connection) -> AsyncIterator[list[Connection]]:
    """Three transactions, and the accounts a, b and c."""
    for key in "abc":
        await connection.execute(ROW, (key, key))
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await psycopg.AsyncConnection.connect(database)) for _ in range(3)]


@pytest.mark.parametrize("order", ["cba", "abc", "bca"])
async def test_whoever_waits_for_an_entity_holds_only_those_before_it(
    hands: list[Connection], connection: Connection, order: str
) -> None:
    holder, waiter, looker = hands
    await holder.execute(HOLD, ("b",))
    waiting = asyncio.ensure_future(lock(waiter, *order, patience=10_000))
    await eventually(lambda: is_waiting(connection), what="the wait")
    assert await lock(looker, "a") == [], "it came before the one that is waited for"
    assert await lock(looker, "c") == [1], "it comes after it"
    await looker.rollback()
    await holder.rollback()
    assert sorted(await waiting) == [1, 2, 3]


async def is_waiting(connection: Connection) -> bool:
    return bool(await value(connection, f"{LOCKS} and not granted"))


async def test_a_busy_entity_is_not_waited_for_without_patience(hands: list[Connection]) -> None:
    holder, other, _ = hands
    await holder.execute(HOLD, ("b",))
    assert len(await lock(other, "a", "b", "c")) < 3


async def test_patience_ends(hands: list[Connection]) -> None:
    holder, waiter, _ = hands
    await holder.execute(HOLD, ("b",))
    with pytest.raises(psycopg.errors.LockNotAvailable):
        await lock(waiter, "a", "b", patience=10)
    await waiter.rollback()
    assert await value(waiter, "show lock_timeout") == "0"
    assert await lock(waiter, "a", patience=10) == [1]
    assert await value(waiter, "show lock_timeout") == "0", "the handlers' own SQL may wait longer"


@pytest.mark.parametrize("patience", [0, 10_000])
async def test_an_entity_without_a_row_is_locked_too_until_whoever_makes_it_commits(
    hands: list[Connection], connection: Connection, patience: int
) -> None:
    maker, other, _ = hands
    assert await lock(maker, "new") == [1]
    locking = asyncio.ensure_future(lock(other, "new", patience=patience))
    if patience:
        await eventually(lambda: is_waiting(connection), what="the wait")
    else:
        assert await locking == []
    await maker.execute(ROW, ("new", "new"))
    await maker.commit()
    if patience:
        assert await locking == [1]
        assert await value(connection, f"{LOCKS} and locktype = 'advisory'") == 1
    await other.rollback()
    versions = await rows(
        other, LOCK.replace("slot", "version"), [bucket_of("Account", "new")], ["Account"], ["new"], 0
    )
    assert versions == [(1,)]
