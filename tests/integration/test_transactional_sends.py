"""Sends inside the transactions of other libraries: the message exists if and only if the transaction commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import django  # type: ignore[import-untyped]  # Django has no types of its own
import psycopg
import pytest
from django.conf import settings as django_settings  # type: ignore[import-untyped]  # as above
from django.db import connections, transaction  # type: ignore[import-untyped]  # as above
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from revenant.app import Revenant
from revenant.worker.worker import Worker
from tests.entities import Account
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
ORDER = "insert into orders (total) values (30)"


class Undone(Exception):
    """What rolls a transaction back."""


def by_sqlalchemy(app: Revenant, database: str, *, commits: bool) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=NullPool)
    with suppress(Undone), Session(engine) as session, session.begin():
        session.execute(text(ORDER))
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        app.sync().cast(app.ref(Account, "a").deposit(30), connection=driver)
        if not commits:
            raise Undone


async def by_sqlalchemy_async(app: Revenant, database: str, *, commits: bool) -> None:
    async def connect() -> Connection:
        return await psycopg.AsyncConnection.connect(database)

    engine = create_async_engine("postgresql+psycopg://", async_creator=connect, poolclass=NullPool)
    with suppress(Undone):
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(text(ORDER))
            driver = (await (await session.connection()).get_raw_connection()).driver_connection
            assert isinstance(driver, psycopg.AsyncConnection)
            await app.cast(app.ref(Account, "a").deposit(30), connection=driver)
            if not commits:
                raise Undone
    await engine.dispose()


def by_django(app: Revenant, database: str, *, commits: bool) -> None:
    parts = conninfo_to_dict(database)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    if not django_settings.configured:
        django_settings.configure(USE_TZ=True)
        django.setup()
    connections.databases["orders"] = {"ENGINE": "django.db.backends.postgresql"} | {
        names[name]: word for name, word in parts.items() if name in names
    }
    connections.configure_settings(connections.databases)
    try:
        with suppress(Undone), transaction.atomic(using="orders"):
            connection = connections["orders"]
            connection.cursor().execute(ORDER)
            with suppress(Undone), transaction.atomic(using="orders"):
                app.sync().cast(app.ref(Account, "a").deposit(1000), connection=connection.connection)
                raise Undone
            app.sync().cast(app.ref(Account, "a").deposit(30), connection=connection.connection)
            if not commits:
                raise Undone
    finally:
        connections["orders"].close()
        del connections["orders"]


async def in_thread(recipe: Callable[..., None], app: Revenant, database: str, *, commits: bool) -> None:
    await asyncio.to_thread(recipe, app, database, commits=commits)


RECIPES: dict[str, Callable[..., Awaitable[None]]] = {
    "SQLAlchemy": lambda *given, commits: in_thread(by_sqlalchemy, *given, commits=commits),
    "SQLAlchemy, asyncio": by_sqlalchemy_async,
    "Django": lambda *given, commits: in_thread(by_django, *given, commits=commits),
}


@pytest.mark.parametrize("recipe", RECIPES)
async def test_a_message_sent_within_another_librarys_transaction_exists_if_and_only_if_it_commits(
    app: Revenant, database: str, connection: Connection, recipe: str
) -> None:
    await connection.execute("create table orders (total int)")
    await RECIPES[recipe](app, database, commits=False)
    assert await value(connection, "select count(*) from revenant.messages") == 0
    await RECIPES[recipe](app, database, commits=True)
    assert await value(connection, "select count(*) from orders") == 1
    assert await value(connection, "select args->>'amount' from revenant.messages") == "30"


async def test_workers_hear_at_once_of_what_another_library_commits(
    app: Revenant, worker: Worker, database: str, connection: Connection
) -> None:
    await connection.execute("create table orders (total int)")
    await RECIPES["SQLAlchemy"](app, database, commits=True)

    async def paid() -> bool:
        return await app.ref(Account, "a").read() == 30

    await eventually(paid, what="the deposit")
