"""`migrate` does its work once, for one migrator at a time, and says clearly why it could not."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from revenant.errors import ConfigurationError, DatabaseUnavailable
from revenant.sql import Current, Migrated, Missing, Release, migrate, migrations, release, status

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def role(server_url: str, empty_database: str) -> Iterator[str]:
    """A role without any rights but to connect; nobody else is let into `public` either."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def as_role(database: str, role: str) -> str:
    return make_conninfo(database, user=role, password="secret")


async def execute(database: str, *statements: str) -> None:
    async with await AsyncConnection.connect(database, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def test_a_new_database_gets_everything(empty_database: str) -> None:
    assert await migrate(empty_database) == Migrated(
        number=release().number,
        applied=tuple(migration.label for migration in migrations()),
        functions_refreshed=True,
        procrastinate_installed=True,
    )
    async with await AsyncConnection.connect(empty_database) as connection:
        assert await status(connection) == Current(release().number)
        await connection.execute("select from procrastinate_jobs")


async def test_a_database_without_the_schema_is_missing_it(empty_database: str) -> None:
    async with await AsyncConnection.connect(empty_database) as connection:
        assert await status(connection) == Missing()


async def test_the_second_migration_does_nothing_and_needs_no_lock_that_traffic_holds(
    empty_database: str,
) -> None:
    await migrate(empty_database)
    async with await AsyncConnection.connect(empty_database) as traffic:
        tables = await traffic.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'revenant'::regnamespace"
        )
        for (table,) in await tables.fetchall():
            mode = "exclusive" if table == "migrations" else "access exclusive"
            await traffic.execute(f"lock table revenant.{table} in {mode} mode".encode())
        await traffic.execute("select pg_advisory_xact_lock(5928239340168760916)")
        migrated = await asyncio.wait_for(migrate(empty_database, lock_timeout=0.1), timeout=30)
    assert migrated == Migrated(number=release().number)
    assert migrated.nothing_to_do


async def test_eight_concurrent_migrators_all_succeed_and_apply_once(empty_database: str) -> None:
    # A role's default of repeatable read must not hide from one migrator what the one before it did.
    await execute(
        empty_database,
        "do $$ begin execute format('alter database %I set default_transaction_isolation to "
        "''repeatable read''', current_database()); end $$",
    )
    results = await asyncio.gather(*(migrate(empty_database) for _ in range(8)))
    assert sum(bool(result.applied) for result in results) == 1
    assert sum(result.functions_refreshed for result in results) == 1
    assert sum(result.procrastinate_installed for result in results) == 1
    assert {result.number for result in results} == {release().number}


async def test_changed_functions_are_refreshed_alone(empty_database: str) -> None:
    await migrate(empty_database)
    first, *rest = release().functions
    changed = Release(migrations(), (replace(first, text=first.text + "\n-- changed\n"), *rest))
    migrated = await migrate(empty_database, release=changed)
    assert migrated == Migrated(number=release().number, functions_refreshed=True)
    assert (await migrate(empty_database, release=changed)).nothing_to_do


async def test_every_function_body_is_valid(empty_database: str) -> None:
    """Bodies are not checked while they are installed, so that they may name each other in any order."""
    await migrate(empty_database)
    async with await AsyncConnection.connect(empty_database) as connection:
        bodies = await connection.execute(
            "select p.oid::regprocedure::text, p.oid, l.lanvalidator::regproc::text from pg_proc p"
            " join pg_language l on l.oid = p.prolang where pronamespace = 'revenant'::regnamespace"
        )
        found = await bodies.fetchall()
        for name, oid, validator in found:
            try:
                await connection.execute(f"select {validator}({oid})".encode())
            except psycopg.Error as error:
                pytest.fail(f"{name}: {error}")
    assert len(found) >= len(release().functions)


async def test_procrastinate_that_is_there_is_left_alone_with_its_jobs(empty_database: str) -> None:
    await migrate(empty_database)
    await execute(
        empty_database,
        "drop schema revenant cascade",
        "insert into procrastinate_jobs (queue_name, task_name) values ('default', 'mine')",
        "alter table procrastinate_jobs add column ours text default 'kept'",
    )
    migrated = await migrate(empty_database)
    assert migrated.applied
    assert not migrated.procrastinate_installed
    async with await AsyncConnection.connect(empty_database) as connection:
        jobs = await connection.execute("select task_name, ours from procrastinate_jobs")
        assert await jobs.fetchall() == [("mine", "kept")]


async def test_procrastinate_goes_into_the_first_schema_of_the_search_path(empty_database: str) -> None:
    await execute(empty_database, "create schema jobs")
    migrated = await migrate(make_conninfo(empty_database, options="-c search_path=jobs,public"))
    assert migrated.procrastinate_installed
    async with await AsyncConnection.connect(empty_database) as connection:
        await connection.execute("select from jobs.procrastinate_jobs")


async def test_a_search_path_that_leads_nowhere_is_reported(empty_database: str) -> None:
    with pytest.raises(ConfigurationError, match="search_path"):
        await migrate(make_conninfo(empty_database, options="-c search_path=nowhere"))


async def test_a_role_without_rights_is_told_which_to_grant(empty_database: str, role: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await migrate(as_role(empty_database, role))
    grants = re.findall(r"grant [^;]+", str(caught.value))
    assert len(grants) == 2, caught.value
    assert "secret" not in str(caught.value)
    await execute(empty_database, *grants)
    assert (await migrate(as_role(empty_database, role))).applied


async def test_a_role_that_may_not_create_schemas_uses_the_one_made_for_it(empty_database: str, role: str) -> None:
    await execute(empty_database, "create schema revenant", f"grant usage, create on schema public to {role}")
    with pytest.raises(ConfigurationError, match=f"grant usage, create on schema revenant to {role};"):
        await migrate(as_role(empty_database, role))
    await execute(empty_database, f"grant usage, create on schema revenant to {role}")
    assert (await migrate(as_role(empty_database, role))).applied


async def test_a_role_that_may_not_look_is_told_so(empty_database: str, role: str) -> None:
    await migrate(empty_database)
    async with await AsyncConnection.connect(as_role(empty_database, role)) as connection:
        with pytest.raises(ConfigurationError, match="needs USAGE on the schema revenant"):
            await status(connection)
    await execute(
        empty_database,
        f"grant usage on schema revenant to {role}",
        f"grant select on revenant.migrations to {role}",
    )
    assert (await migrate(as_role(empty_database, role))).nothing_to_do


async def test_a_role_that_does_not_own_the_tables_is_told_whose_member_to_become(
    empty_database: str, role: str
) -> None:
    await migrate(empty_database)
    await execute(
        empty_database,
        f"grant usage, create on schema revenant to {role}",
        f"grant select, insert, update on revenant.migrations to {role}",
    )
    with pytest.raises(ConfigurationError, match=f"grant \\w+ to {role};"):
        await migrate(as_role(empty_database, role), release=Release(migrations(), release().functions[:-1]))


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await migrate("postgresql://me:hunter22@127.0.0.1:1/app")
    assert "me@127.0.0.1:1/app" in str(caught.value)
    assert "hunter22" not in str(caught.value)


async def test_a_password_that_is_not_escaped_does_not_leak_through_the_host() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await migrate("postgresql://me:hun@ter22@127.0.0.1:1/app")
    assert "ter22" not in str(caught.value)


async def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(ConfigurationError) as caught:
        await migrate("postgresql//me:hunter22@127.0.0.1:1/app")
    assert "hunter22" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


async def test_a_server_that_takes_no_writes_is_reported(empty_database: str) -> None:
    await execute(empty_database, "create schema revenant")
    broken = replace(release().functions[0], text="select 1; set transaction read only; create table revenant.x ()")
    with pytest.raises(DatabaseUnavailable, match="takes no writes"):
        await migrate(empty_database, release=Release(migrations(), (broken,)))
