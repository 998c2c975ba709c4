"""A real Postgres for every test that asks: one server, one migrated template, clones of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.config import Settings
from revenant.embedded import lease
from revenant.sql import migrate, whole_schema
from revenant.worker.timing import alarm
from revenant.worker.worker import Worker
from tests.databases import Pool, created
from tests.entities import ENTITIES

_TEMPLATE_LOCK = 7_001
_LONGEST_FIRST = {"acceptance": 0, "unit": 2}
# Many tests start commands, and each would compile the whole package anew where the shell forbids to keep what comes out.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the quick tests for last: then none of the processes that run them has long to wait for the others."""
    rooms = Path(__file__).parent
    items.sort(key=lambda item: _LONGEST_FIRST.get(item.path.relative_to(rooms).parts[0], 1))


@pytest.fixture(autouse=True)
def heard_log() -> None:
    """Commands that ran in this process set its log up for themselves; tests that read the log hear all of it."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a running server, with superuser rights: DATABASE_URL, else the embedded one."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with lease(Path(__file__).parent.parent / ".revenant" / "tests") as held:
        with psycopg.connect(held.url, autocommit=True) as admin:
            # Nobody crashes this server, and its data need not outlive the machine: tests of that have servers of their own.
            admin.execute("alter system set fsync = off")
            admin.execute("select pg_reload_conf()")
        yield held.url


@pytest.fixture(scope="session")
def revenant_server(server_url: str) -> str:
    """Have the fixtures that come with the package use the tests' own server."""
    return server_url


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    with created(server_url) as url:
        yield url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated database that nobody connects to; made once, by whichever process comes first."""
    name = f"revenant_template_{hashlib.sha256(whole_schema().encode()).hexdigest()[:16]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
        if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            making = f"{name}_new"
            connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(making)))
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(making)))
            asyncio.run(migrate(make_conninfo(server_url, dbname=making)))
            connection.execute(
                sql.SQL("alter database {} rename to {}").format(sql.Identifier(making), sql.Identifier(name))
            )
        connection.execute("select pg_advisory_unlock(%s)", (_TEMPLATE_LOCK,))
    return name


@pytest.fixture(scope="session")
def pool(server_url: str, template: str) -> Iterator[Pool]:
    """Clones of the template, for one test after another."""
    lender = Pool(server_url=server_url, template=template)
    yield lender
    lender.close()


@pytest.fixture
def database(pool: Pool, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database without rows; with the mark `fresh`, of one that no test has had before."""
    with pool.lend(fresh=request.node.get_closest_marker("fresh") is not None) as url:
        yield url


@pytest.fixture
def settings() -> Settings:
    """Settings that do not depend on the tester's environment, with quick retries, and patient on a busy machine."""
    return Settings(database_url=None, cast_backoff=0.02, lanes=2, validate_state=True, call_timeout=20.0)


@pytest.fixture
def drowsy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms that hear of nothing sleep for an hour; before `worker`, whose alarms begin with it."""
    monkeypatch.setattr(alarm, "LONGEST_SLEEP", 3600.0)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    """A started application without a worker."""
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def worker(app: Revenant) -> AsyncIterator[Worker]:
    """A running worker for `app`, in this process."""
    running = app.worker()
    await running.start()
    await running.ready()
    yield running
    await running.stop(drain_timeout=5)


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A plain connection, in autocommit mode, to look at the tables with."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as plain:
        yield plain
