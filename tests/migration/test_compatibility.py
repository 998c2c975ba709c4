"""Code and schema of different ages: who may run, who may migrate, who is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg import AsyncConnection

from revenant.errors import SchemaMismatch
from revenant.sql import (
    Current,
    Diverged,
    Migration,
    NewerCompatible,
    NewerIncompatible,
    Old,
    Release,
    SchemaStatus,
    migrate,
    release,
    require_schema,
    status,
)

if TYPE_CHECKING:
    from typing import LiteralString


def newer(*, compatible_from: int) -> Release:
    """The release after this one: a migration more, and one function changed."""
    number = release().number + 1
    added = replace(Migration.of(number, "newer", "select 1"), compatible_from=compatible_from)
    first, *rest = release().functions
    return Release((*release().migrations, added), (replace(first, text=first.text + "\n-- newer\n"), *rest))


async def seen(database: str, by: Release | None = None) -> SchemaStatus:
    async with await AsyncConnection.connect(database) as connection:
        return await status(connection, release=by)


async def digest(database: str) -> str:
    async with await AsyncConnection.connect(database) as connection:
        row = await (await connection.execute("select checksum from revenant.migrations where number = 0")).fetchone()
        assert row
        return str(row[0])


async def test_older_code_runs_on_a_newer_schema_that_suits_it_and_changes_nothing(
    empty_database: str,
) -> None:
    ahead = newer(compatible_from=release().number)
    await migrate(empty_database, release=ahead)
    assert await seen(empty_database) == NewerCompatible(ahead.number)
    require_schema(await seen(empty_database))
    migrated = await migrate(empty_database)
    assert migrated.nothing_to_do
    assert migrated.number == ahead.number
    assert await digest(empty_database) == ahead.digest


async def test_older_code_is_refused_on_a_newer_schema_that_does_not_suit_it(empty_database: str) -> None:
    ahead = newer(compatible_from=release().number + 1)
    await migrate(empty_database, release=ahead)
    found = await seen(empty_database)
    assert found == NewerIncompatible(ahead.number, needs=ahead.number)
    with pytest.raises(SchemaMismatch, match="Deploy that release"):
        require_schema(found)
    with pytest.raises(SchemaMismatch, match="Deploy that release"):
        await migrate(empty_database)
    assert await digest(empty_database) == ahead.digest


async def test_newer_code_is_refused_until_the_schema_is_migrated(empty_database: str) -> None:
    await migrate(empty_database)
    ahead = newer(compatible_from=1)
    found = await seen(empty_database, by=ahead)
    assert found == Old(release().number, wanted=ahead.number)
    with pytest.raises(SchemaMismatch, match="Run `revenant migrate`"):
        require_schema(found)
    await migrate(empty_database, release=ahead)
    assert await seen(empty_database, by=ahead) == Current(ahead.number)


async def test_a_function_that_this_code_calls_and_the_schema_lacks_makes_it_old(empty_database: str) -> None:
    few = Release(release().migrations, release().functions[1:])
    await migrate(empty_database, release=few)
    absent = release().functions[0].name
    found = await seen(empty_database)
    assert found == Old(release().number, wanted=release().number, missing=(absent,))
    with pytest.raises(SchemaMismatch, match=f"lacks {absent}"):
        require_schema(found)


async def test_an_edited_applied_migration_is_reported(empty_database: str) -> None:
    await migrate(empty_database)
    *others, last = release().migrations
    edited = replace(release(), migrations=(*others, replace(last, checksum="edited")))
    found = await seen(empty_database, by=edited)
    assert isinstance(found, Diverged)
    with pytest.raises(SchemaMismatch, match=f"{last.label} was edited after it was applied"):
        await migrate(empty_database, release=edited)


async def test_a_migration_that_appears_below_the_newest_is_reported(empty_database: str) -> None:
    ahead = newer(compatible_from=1)
    gap = Release(ahead.migrations[-1:], functions=())
    await migrate(empty_database, release=gap)
    with pytest.raises(SchemaMismatch, match="is absent below it"):
        await migrate(empty_database, release=ahead)


async def test_a_missing_schema_is_refused(empty_database: str) -> None:
    with pytest.raises(SchemaMismatch, match="Run `revenant migrate`"):
        require_schema(await seen(empty_database))


def test_the_header_says_which_code_a_migration_still_suits() -> None:
    text: LiteralString = "-- Promise: none.\n-- Locks: none.\n-- compatible-from: 7\nselect 1;\n"
    assert Migration.of(8, "named", text).compatible_from == 7


def test_a_migration_without_that_header_suits_all_code_before_it() -> None:
    assert Migration.of(8, "plain", "-- Promise: none.\n-- Locks: none.\nselect 1;\n").compatible_from == 1
