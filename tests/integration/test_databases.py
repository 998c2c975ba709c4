"""The tests' own databases: what is handed on from test to test is as good as new, or it is not handed on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests import databases
from tests.databases import Pool, fingerprint, settings, untouched

SEND: LiteralString = "insert into revenant.messages (bucket, kind, key, id, handler, args) select 1, 'K', 'k', revenant.new_id_v1(1::smallint), 'h', '{}'"
OID: LiteralString = "select oid::int from pg_database where datname = current_database()"
CHANGES: list[LiteralString] = [
    "create table own (n int)",
    "create schema own",
    "alter table revenant.messages add column own int",
    "alter table revenant.entities set (fillfactor = 11)",
    "create trigger own before insert on revenant.dead for each row execute function suppress_redundant_updates_trigger()",
    "create index own on revenant.dead (kind)",
    "create or replace function revenant.now() returns timestamptz language sql stable as 'select now()'",
    "drop function revenant.now()",
    "drop table revenant.suspects",
    "comment on table revenant.dead is 'own'",
    "grant select on revenant.dead to public",
    "revoke connect on database {database} from public",
    "alter default privileges in schema revenant grant select on tables to public",
    "alter database {database} set search_path = revenant",
    "alter database {database} connection limit 7",
    "create view own as select 1",
    "create type own as (n int)",
    "select lo_create(0)",
    "delete from revenant.migrations",
    "update revenant.migrations set applied_at = now()",
]


@pytest.fixture
def few(server_url: str, template: str) -> Iterator[Pool]:
    lender = Pool(server_url=server_url, template=template)
    yield lender
    lender.close()


def ask(url: str, query: LiteralString) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall()[0][0] if cursor.description else None


def test_a_database_is_handed_on_without_rows_and_under_a_name_of_its_own(few: Pool) -> None:
    with few.lend() as first:
        oid = ask(first, OID)
        assert ask(first, f"{SEND} returning seq") == 1
        stray = psycopg.connect(first)
    with pytest.raises(psycopg.OperationalError):
        stray.execute("select 1")
    stray.close()
    with few.lend() as second:
        assert ask(second, OID) == oid, "it was thrown away"
        assert ask(second, "select count(*) from revenant.messages") == 0
        assert ask(second, f"{SEND} returning seq") == 1
        assert ask(
            second,
            "select pg_stat_get_db_stat_reset_time(oid) > now() - interval '1 minute' from pg_database where datname = current_database()",
        ), "the statistics are those of two"
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(first)


def test_whoever_was_left_behind_does_not_come_back_while_a_database_is_emptied(
    few: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def watched(inside: databases.Connection) -> list[tuple[Any, ...]]:
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(first)
        tried.append(first)
        return settings(inside)

    with few.lend() as first:
        oid = ask(first, OID)
        monkeypatch.setattr(databases, "settings", watched)
    assert tried == [first]
    with few.lend() as second:
        assert ask(second, OID) == oid


def test_a_database_that_was_changed_is_not_handed_on(few: Pool) -> None:
    with few.lend() as first:
        oid = ask(first, OID)
        ask(first, CHANGES[0])
    with few.lend() as second:
        assert ask(second, OID) != oid


OTHERS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


def test_every_kind_of_change_is_noticed(database: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    with psycopg.connect(database, autocommit=True) as connection:
        known, unnoticed = fingerprint(connection), []
        connection.execute(SEND)
        assert fingerprint(connection) == known, "rows are no change"
        for change in CHANGES:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.SQL(change).format(database=name))
                if fingerprint(connection) == known:
                    unnoticed.append(change)
    assert unnoticed == []


def test_what_was_not_touched_is_known_without_a_look_at_every_catalog_and_every_touch_is_noticed(few: Pool) -> None:
    with few.lend():
        pass
    with few.lend() as url:
        name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
        with psycopg.connect(url, autocommit=True) as connection:
            assert untouched(connection), "it was emptied"
            connection.execute(SEND)
        unnoticed = []
        for change in CHANGES:
            with psycopg.connect(url, autocommit=True) as connection:
                assert untouched(connection)
                known = settings(connection)
                with connection.transaction(force_rollback=True):
                    connection.execute(sql.SQL(change).format(database=name))
                    of_the_database = settings(connection) != known
            with psycopg.connect(url, autocommit=True) as connection:
                # A session tells what it has counted as it goes, which may be after its client has gone.
                while connection.execute(OTHERS).fetchone() != (0,):
                    time.sleep(0.002)
                if untouched(connection) and not of_the_database:
                    unnoticed.append(change)
                connection.execute("select pg_stat_reset()")
        assert unnoticed == []


def test_a_database_that_was_changed_after_it_was_handed_on_is_not_handed_on_again(few: Pool) -> None:
    with few.lend() as first:
        oid = ask(first, OID)
    for change, same in (("select 1", True), ("grant select on revenant.dead to public", False)):
        with few.lend() as again:
            assert ask(again, OID) == oid
            ask(again, change)
        with few.lend() as after:
            assert (ask(after, OID) == oid) == same


def test_a_large_database_is_not_handed_on(few: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LARGE", 100_000)
    with few.lend() as first:
        oid = ask(first, OID)
        ask(first, f"{SEND} from generate_series(1, 2000)")
    with few.lend() as second:
        assert ask(second, OID) != oid


def test_a_fresh_database_is_nobody_elses(few: Pool) -> None:
    with few.lend() as first:
        oid = ask(first, OID)
    with few.lend(fresh=True) as second:
        fresh = ask(second, OID)
        assert fresh != oid
    with few.lend() as third:
        assert ask(third, OID) == oid
