"""A migration that is blocked, killed or broken leaves the database as it was."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection

from revenant.errors import DatabaseUnavailable
from revenant.sql import Current, Migrated, Migration, Missing, Release, migrate, release, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOCKING = "create table revenant.made_first (); alter table revenant.entities add column added integer"
WAITING = "create table revenant.made_first (); select pg_advisory_lock(1)"


def with_next(text: LiteralString) -> Release:
    """This code and one migration more."""
    number = release().number + 1
    return replace(release(), migrations=(*release().migrations, Migration.of(number, "added", text)))


@asynccontextmanager
async def holding(database: str, statement: LiteralString) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(database, application_name="holder") as holder:
        await holder.execute(statement)
        yield holder


async def waiting(watcher: AsyncConnection) -> int | None:
    """Return the process number of the migrator that waits for a lock now, if one does."""
    cursor = await watcher.execute(
        "select pid from pg_stat_activity where application_name = 'revenant migrate'"
        " and datname = current_database() and wait_event_type = 'Lock'"
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def waiting_migrator(watcher: AsyncConnection) -> int:
    """Return the process number of the migrator as soon as it waits for a lock."""
    while (pid := await waiting(watcher)) is None:
        pass
    return pid


async def tables(database: str) -> set[str]:
    async with await AsyncConnection.connect(database) as connection:
        cursor = await connection.execute(
            "select relname::text from pg_class where relkind = 'r' and relnamespace = to_regnamespace('revenant')"
        )
        return {name for (name,) in await cursor.fetchall()}


async def test_behind_a_long_lock_it_fails_cleanly_and_names_who_holds_it(empty_database: str) -> None:
    await migrate(empty_database)
    before = await tables(empty_database)
    async with holding(empty_database, "lock table revenant.entities in access share mode") as holder:
        with pytest.raises(DatabaseUnavailable, match=f"process {holder.info.backend_pid} \\(holder, idle"):
            await migrate(empty_database, lock_timeout=0.05, release=with_next(LOCKING))
        assert await status(holder) == Current(release().number)
    assert await tables(empty_database) == before


async def test_it_tries_again_and_succeeds_once_the_lock_is_free(empty_database: str) -> None:
    await migrate(empty_database)
    changed = with_next(LOCKING)
    async with (
        holding(empty_database, "lock table revenant.entities in access share mode") as holder,
        await AsyncConnection.connect(empty_database, autocommit=True) as watcher,
        asyncio.TaskGroup() as group,
    ):
        migrating = group.create_task(migrate(empty_database, lock_timeout=0.3, release=changed))
        first = await waiting_migrator(watcher)
        while await waiting(watcher) == first:
            pass
        await holder.rollback()
    assert migrating.result() == Migrated(number=changed.number, applied=(changed.migrations[-1].label,))


async def test_killing_its_backend_midway_leaves_nothing(empty_database: str) -> None:
    async with (
        holding(empty_database, "select pg_advisory_lock(1)") as holder,
        await AsyncConnection.connect(empty_database, autocommit=True) as watcher,
    ):
        migrating = asyncio.create_task(migrate(empty_database, lock_timeout=60, release=with_next(WAITING)))
        victim = await waiting_migrator(watcher)
        await watcher.execute("select pg_terminate_backend(%s)", [victim])
        with pytest.raises(DatabaseUnavailable, match="Nothing of it was kept"):
            await migrating
        assert await status(holder) == Missing()
        remains = await watcher.execute("select to_regnamespace('revenant'), to_regclass('procrastinate_jobs')")
        assert await remains.fetchone() == (None, None)
    assert (await migrate(empty_database)).applied


async def test_cancelling_it_midway_leaves_nothing(empty_database: str) -> None:
    async with (
        holding(empty_database, "select pg_advisory_lock(1)") as holder,
        await AsyncConnection.connect(empty_database, autocommit=True) as watcher,
    ):
        migrating = asyncio.create_task(migrate(empty_database, lock_timeout=60, release=with_next(WAITING)))
        await waiting_migrator(watcher)
        migrating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await migrating
        assert await status(holder) == Missing()


async def test_a_broken_migration_says_which_one_and_leaves_nothing(empty_database: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable) as caught:
        await migrate(empty_database, release=with_next("select from revenant.nowhere"))
    assert caught.value.__notes__ == [f"while applying migration {release().number + 1:04}_added"]
    async with await AsyncConnection.connect(empty_database) as connection:
        assert await status(connection) == Missing()


async def test_migrators_wait_for_their_turn_longer_than_for_a_table(empty_database: str) -> None:
    async with (
        holding(empty_database, "select pg_advisory_xact_lock(5928239340168760916)") as holder,
        await AsyncConnection.connect(empty_database, autocommit=True) as watcher,
    ):
        migrating = asyncio.create_task(migrate(empty_database, lock_timeout=0.001))
        first = await waiting_migrator(watcher)
        assert await waiting_migrator(watcher) == first
        await holder.rollback()
        assert (await migrating).applied
