"""The database is away, refuses writes, or refuses everything: said clearly, in time, without the password, and quietly."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import DatabaseUnavailable, RevenantError
from revenant.sql import migrate
from revenant.worker import rescue
from tests.entities import ENTITIES, Account, Ledger, jobs
from tests.nemesis import Proxy, private_server
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
SECRET = "planted-s3cret"
PER_SECOND = 10
"""Attempts to connect that one process may make in a second, with a worker and a client in it."""


async def errors_of(app: Revenant) -> list[RevenantError]:
    """Call and cast, and return the errors; each must come within its time."""
    began = time.monotonic()
    found = await asyncio.gather(
        app.call(app.ref(Account, "a").deposit(1), timeout=0.5),
        app.cast(app.ref(Account, "a").deposit(1)),
        return_exceptions=True,
    )
    assert time.monotonic() - began < 8
    assert all(isinstance(error, RevenantError) for error in found), found
    return [error for error in found if isinstance(error, RevenantError)]


async def quiet(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """See how often everybody tries again, and how much is said about it, once the first seconds are over.

    Whoever has just begun to fail tries again soon; the sweeper may give a lane its first message a second after the
    others have theirs.
    """
    await asyncio.sleep(3)
    began, start = time.time(), time.monotonic()
    await eventually(lambda: time.monotonic() - start > 1, what="the time of watching")
    assert len([at for at in proxy.attempts if at > start]) < PER_SECOND
    assert len([line for line in caplog.records if line.created > began]) < PER_SECOND


@pytest.mark.parametrize("how", ["closed", "silent"])
async def test_an_unreachable_database_is_said_in_time_without_the_password(
    settings: Settings, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Proxy(f"postgresql://somebody:{SECRET}@127.0.0.1:1/shop") as proxy:
        proxy.silent = how == "silent"
        brief = settings.model_copy(update={"call_timeout": 0.5})
        async with Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app:
            worker = app.worker()
            await worker.start()
            for error in await errors_of(app):
                assert isinstance(error, DatabaseUnavailable)
                assert re.search(r"somebody@127\.0\.0\.1:\d+/shop", str(error))
                assert "was not sent" in str(error)
                assert SECRET not in str(error)
            await worker.stop(drain_timeout=0.1)
        assert proxy.attempts
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://somebody:{SECRET}@half@127.0.0.1:1/shop",
        f"postgresql://somebody:{SECRET}/half@127.0.0.1:1/shop",
        f"host=127.0.0.1 port=1 user=somebody password='{SECRET} half' dbname=shop",
        f"host=127.0.0.1 port=1 user=somebody password={SECRET} half dbname=shop",
    ],
)
async def test_a_url_that_was_written_wrongly_does_not_show_its_password(
    settings: Settings, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    brief = settings.model_copy(update={"call_timeout": 0.5})
    with pytest.raises(RevenantError) as caught:
        async with Revenant(entities=ENTITIES, database_url=url, settings=brief) as app:
            raise (await errors_of(app))[0]
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text


async def test_while_the_database_is_down_nobody_tries_in_a_hot_loop_and_all_goes_on_afterwards(
    database: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    brief = settings.model_copy(update={"call_timeout": 0.5})
    async with (
        Proxy(database) as proxy,
        Revenant(entities=ENTITIES, database_url=proxy.url, settings=brief) as app,
    ):
        worker = app.worker()
        await worker.start()
        assert await app.ref(Account, "a").deposit(1) == 1
        proxy.refused = {""}
        for cable in proxy.live(""):
            cable.cut()
        await asyncio.gather(*(errors_of(app) for _ in range(5)))
        await quiet(proxy, caplog)
        proxy.refused = set()
        assert await app.call(app.ref(Account, "b").deposit(1), timeout=15) == 1
        await worker.stop(drain_timeout=5)


async def test_a_database_that_takes_no_writes_is_said_in_time_and_left_in_peace(
    database: str, settings: Settings, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    name = (psycopg.conninfo.conninfo_to_dict(database))["dbname"]
    async with (
        Proxy(database) as proxy,
        Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app,
    ):
        worker = app.worker()
        await worker.start()
        assert await app.ref(Account, "a").deposit(1) == 1
        await app.cast(app.ref(Account, "a").deposit(1))
        await connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
        for cable in proxy.live(""):
            cable.cut()
        for error in await errors_of(app):
            assert isinstance(error, DatabaseUnavailable)
            assert "read-only" in str(error)
        await quiet(proxy, caplog)
        await connection.execute(f'alter database "{name}" reset default_transaction_read_only')
        for cable in proxy.live(""):
            cable.cut()
        assert await app.call(app.ref(Account, "b").deposit(1), timeout=15) == 1
        assert await app.ref(Account, "a").read() == 2
        await worker.stop(drain_timeout=5)


async def test_a_standby_is_left_in_peace(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with private_server() as server:
        await migrate(server.url)
        server.stop()
        (server.home.data / "standby.signal").touch()
        server.start()
        async with (
            Proxy(server.url) as proxy,
            Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app,
        ):
            worker = app.worker()
            await worker.start()
            for error in await errors_of(app):
                assert isinstance(error, DatabaseUnavailable)
                assert "read-only" in str(error)
            await quiet(proxy, caplog)
            await worker.stop(drain_timeout=0.1)


async def test_a_server_that_refuses_each_statement_is_not_asked_in_a_hot_loop(
    database: str, settings: Settings, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, say: connections are made, and every one of them fails at its first write."""
    await connection.execute(
        "create function public.full_disk() returns trigger language plpgsql as $$ begin "
        "raise exception 'no space left' using errcode = '53100'; end $$;"
        "create trigger full_disk before insert on revenant.sends execute function public.full_disk();"
        "create trigger full_disk before insert or update on revenant.workers execute function public.full_disk()"
    )
    async with (
        Proxy(database) as proxy,
        Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app,
    ):
        worker = app.worker()
        await worker.start()
        call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1), timeout=20))
        await eventually(lambda: "no space left" in caplog.text, what="a refusal")
        await quiet(proxy, caplog)
        await connection.execute("drop trigger full_disk on revenant.sends; drop trigger full_disk on revenant.workers")
        assert await call == 1
        await worker.stop(drain_timeout=5)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_the_databases_default_isolation_level_does_not_reach_the_engine(
    database: str, settings: Settings, connection: Connection, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    name = (psycopg.conninfo.conninfo_to_dict(database))["dbname"]
    await connection.execute(f"alter database \"{name}\" set default_transaction_isolation = '{level}'")
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings) as app:
        first, second = app.worker(), app.worker()
        await asyncio.gather(first.start(), second.start())
        account = app.ref(Account, "a")
        replies = await asyncio.gather(*(account.deposit(1) for _ in range(300)))
        assert sorted(replies) == list(range(1, 301))
        await asyncio.gather(first.stop(drain_timeout=5), second.stop(drain_timeout=5))
    assert "serialize" not in caplog.text


async def test_a_job_whose_worker_died_is_run_by_another(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    await connection.execute("create table own_words (word text)")
    silent = settings.model_copy(update={"jobs": 0})
    async with Revenant(entities=ENTITIES, database_url=database, settings=silent, jobs=jobs) as app:
        async with await psycopg.AsyncConnection.connect(make_conninfo(database), autocommit=True) as dead:
            first = app.worker()
            await first.start()
            await app.ref(Ledger, "l").defer_note("kept")
            await first.stop(drain_timeout=5)
            # What kill -9 leaves: a job that is being done by a worker whose heartbeat is old.
            await dead.execute(
                "with gone as (insert into procrastinate_workers (last_heartbeat) "
                "values (now() - interval '1 hour') returning id) "
                "update procrastinate_jobs set status = 'doing', worker_id = gone.id from gone"
            )
        monkeypatch.setattr(rescue, "RESCUE_SECONDS", 0.1)
        second = app.worker(settings=settings.model_copy(update={"jobs": 2}))
        await second.start()
        await eventually(lambda: rows(connection, "select word from own_words where word = 'kept'"), what="the job")

        async def finished() -> bool:
            return await value(connection, "select status = 'succeeded' from procrastinate_jobs") is True

        await eventually(finished, what="the job's end")
        await second.stop(drain_timeout=5)
