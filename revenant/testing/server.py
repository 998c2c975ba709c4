"""Server: where tests' databases are made: one migrated template, and a copy of it for each test."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from revenant.embedded import lease
from revenant.sql import migrate, readable, statement, whole_schema

Prepare = Callable[[str], None]
"""What makes the application's own tables, in the database of that URL."""
_TEMPLATE_LOCK = 7_101


@contextmanager
def server() -> Iterator[str]:
    """Give the URL of a server with the right to make databases: DATABASE_URL, else the embedded one."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield readable(given)
        return
    with lease() as held:
        yield held.url


@contextmanager
def template(server_url: str, prepare: Prepare | None = None) -> Iterator[str]:
    """Give the name of a migrated database to copy, with the application's own tables where they are prepared.

    The migrated one stays for the next time; it is made by whichever process comes first.
    """
    base = f"revenant_testing_{hashlib.sha256(whole_schema().encode()).hexdigest()[:16]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(statement("lock_template"), {"lock": _TEMPLATE_LOCK})
        if admin.execute(statement("find_database"), {"name": base}).fetchone() is None:
            making = f"{base}_new"
            _run(admin, "drop_database", name=making)
            _run(admin, "create_database", name=making, template="template1")
            asyncio.run(migrate(make_conninfo(server_url, dbname=making)))
            _run(admin, "rename_database", name=making, new=base)
        admin.execute(statement("unlock_template"), {"lock": _TEMPLATE_LOCK})
    if prepare is None:
        yield base
        return
    with database(server_url, base) as url:
        prepare(url)
        yield psycopg.conninfo.conninfo_to_dict(url)["dbname"]  # type: ignore[misc]  # it has a name


@contextmanager
def database(server_url: str, template: str) -> Iterator[str]:
    """Give the URL of a fresh copy; it is dropped at the end, whoever is connected."""
    name = f"revenant_test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        _run(admin, "create_database", name=name, template=template)
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            _run(admin, "drop_database", name=name)


def _run(admin: psycopg.Connection[tuple[object, ...]], words: str, **names: str) -> None:
    admin.execute(sql.SQL(_WORDS[words]).format(**{word: sql.Identifier(name) for word, name in names.items()}))


_WORDS = {
    "create_database": "create database {name} template {template}",
    "drop_database": "drop database if exists {name} with (force)",
    "rename_database": "alter database {name} rename to {new}",
}
"""Names of databases are no parameters."""
