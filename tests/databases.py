"""Databases for tests: clones of the template, handed on from test to test while nothing but their rows has changed.

A clone costs a hundred times what it costs to empty one: a thousand files are written, and synced, and removed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

Connection = psycopg.Connection[Any]
LARGE = 512 * 1024
"""Bytes of a table beyond which a clone is not handed on: what a deletion leaves behind is still walked over."""


@contextmanager
def created(server_url: str, template: str | None = None) -> Iterator[str]:
    """Give the URL of a database of one's own; it is dropped at the end, whoever is connected."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        name = create(admin, template)
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            drop(admin, name)


def create(admin: Connection, template: str | None = None) -> str:
    """Create a database; return its name."""
    name = _new_name()
    like = sql.SQL(" template {}").format(sql.Identifier(template)) if template else sql.SQL("")
    admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)) + like)
    return name


def drop(admin: Connection, name: str) -> None:
    """Drop a database, whoever is connected."""
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


class Pool:
    """Lends clones of one template, for one test at a time.

    Invariant: what is lent cannot be told from a fresh clone by its schema, rights, settings and rows; and nobody whom
    an earlier test left behind reaches it, since its name is new.
    """

    def __init__(self, *, server_url: str, template: str) -> None:
        self._url = server_url
        self._template = template
        self._admin = self._connect()
        self._spare: list[str] = []
        self._fingerprints: dict[str, list[tuple[Any, ...]]] = {}

    @contextmanager
    def lend(self, *, fresh: bool = False) -> Iterator[str]:
        """Give the URL of a clone; `fresh`: one that no test has had."""
        name = self._spare.pop() if self._spare and not fresh else self._clone(fresh=fresh)
        try:
            yield make_conninfo(self._url, dbname=name)
        finally:
            self._take_back(name)

    def close(self) -> None:
        """Drop what is left, and hang up."""
        for name in self._spare:
            drop(self._admin, name)
        self._spare.clear()
        self._admin.close()

    def _connect(self, name: str | None = None) -> Connection:
        url = make_conninfo(self._url, options="-c synchronous_commit=off", **({"dbname": name} if name else {}))
        return psycopg.connect(url, autocommit=True)

    def _clone(self, *, fresh: bool) -> str:
        name = create(self._admin, self._template)
        if not fresh:
            with self._connect(name) as inside:
                # What every worker does first; it would change the schema in each test anew.
                inside.execute("select revenant.keep_history_v1()")
                self._fingerprints[name] = fingerprint(inside)
        return name

    def _take_back(self, name: str) -> None:
        known, new = self._fingerprints.pop(name, None), _new_name()
        # Renamed before it is emptied: a process that an earlier test left behind would come back meanwhile.
        if known is None or not self._left_alone(name) or not self._renamed(name, new):
            drop(self._admin, name)
        elif self._emptied(new, known):
            self._spare.append(new)
            self._fingerprints[new] = known
        else:
            drop(self._admin, new)

    def _renamed(self, name: str, new: str) -> bool:
        words = sql.SQL("alter database {} rename to {}").format(sql.Identifier(name), sql.Identifier(new))
        try:
            self._admin.execute(words)
        except psycopg.errors.ObjectInUse:
            return False  # somebody came back at once
        return True

    def _emptied(self, name: str, known: list[tuple[Any, ...]]) -> bool:
        """Take all rows out of a clone; whether it is as it was then."""
        try:
            with self._connect(name) as inside:
                same = settings(inside) == known[-2:] if untouched(inside) else fingerprint(inside) == known
                if not same or inside.execute(_LARGE, (LARGE,)).fetchall():
                    return False
                inside.execute(_EMPTY)
        except psycopg.Error:
            return False  # it lets nobody in, or nothing go
        return True

    def _left_alone(self, name: str) -> bool:
        """Hang up on everybody; whether they went."""
        deadline = time.monotonic() + 10
        while self._admin.execute(_TERMINATE, (name,)).fetchall():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


def untouched(inside: Connection) -> bool:
    """Whether no catalog has been written to since the clone was emptied for the last time, as Postgres counts it.

    A session tells what it has counted before it is gone. What was rolled back counts, too, and is looked at closely.
    """
    return inside.execute(_WRITTEN).fetchone() == (0,)


def fingerprint(inside: Connection) -> list[tuple[Any, ...]]:
    """Return what changes with all of a database but the rows of its tables: schema, rights, settings, sessions' rest.

    A catalog's rows are counted, and the newest is named: what DDL does shows in one or both. The rows of tables that
    a fresh clone has filled belong to it, too.
    """
    catalogs = [name for (name,) in inside.execute(_CATALOGS).fetchall()]
    looks = [f"select '{name}', count(*), max(xmin::text::bigint) from {name}" for name in catalogs]
    return [*inside.execute(" union all ".join(looks)).fetchall(), *settings(inside)]


def settings(inside: Connection) -> list[tuple[Any, ...]]:
    """Return what is set for a database, and what holds on to it, outside of its own catalogs."""
    return inside.execute(_SETTINGS).fetchall()


def _new_name() -> str:
    return f"revenant_t_{uuid4().hex}"


_TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
_CATALOGS = """
select c.oid::regclass::text from pg_class c
where c.relkind = 'r' and not c.relisshared and c.relnamespace = 'pg_catalog'::regnamespace
  and c.relname not in ('pg_statistic', 'pg_statistic_ext_data')
   or c.oid = 'revenant.migrations'::regclass
order by 1
"""
_WRITTEN = """
select sum(pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid))
from pg_class c
where c.relkind = 'r' and not c.relisshared and c.relnamespace = 'pg_catalog'::regnamespace
  and c.relname not in ('pg_statistic', 'pg_statistic_ext_data')
   or c.oid = 'revenant.migrations'::regclass
"""
_SETTINGS = """
select 'settings', count(*), max(s.xmin::text::bigint)
from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = current_database()
union all
select concat_ws(' ', d.datdba, d.datacl, d.datallowconn, d.datconnlimit, d.datistemplate),
    (select count(*) from pg_prepared_xacts x where x.database = d.datname)
        + (select count(*) from pg_replication_slots r where r.database = d.datname),
    0
from pg_database d where d.datname = current_database()
"""
_LARGE = """
select 1 from pg_class c where c.relkind in ('r', 't') and pg_relation_size(c.oid) > %s
  and (c.relnamespace = 'revenant'::regnamespace or c.relnamespace = 'public'::regnamespace
    or c.relnamespace = 'pg_toast'::regnamespace and c.oid >= 16384)
limit 1
"""
_EMPTY = """
do $$
declare
    one record;
begin
    set local session_replication_role = replica;  -- keys and triggers have no say in it
    for one in
        select c.oid::regclass as name from pg_class c
        where c.relkind = 'r' and c.relnamespace in ('revenant'::regnamespace, 'public'::regnamespace)
          and c.oid <> 'revenant.migrations'::regclass and pg_relation_size(c.oid) > 0
    loop
        execute format('delete from %s', one.name);
    end loop;
    for one in select seqrelid::regclass as name, seqstart as first from pg_sequence loop
        perform setval(one.name, one.first, false);
    end loop;
    perform pg_stat_reset();
end
$$
"""
