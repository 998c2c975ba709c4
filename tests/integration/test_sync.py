"""`app.sync()`: the same doors for blocking code, one thread behind them, and nothing left running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import CallTimeout, ConfigurationError, DatabaseUnavailable, HandlerError, SchemaMismatch
from revenant.worker.worker import Worker
from tests.entities import ENTITIES, Account
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]


def doors() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "revenant-sync"]


@pytest.fixture
def blocking(database: str, settings: Settings) -> Revenant:
    return Revenant(entities=ENTITIES, database_url=database, settings=settings)


@pytest.mark.usefixtures("worker")
async def test_every_door_works_for_blocking_code(blocking: Revenant, database: str) -> None:
    def program() -> None:
        with blocking.sync() as rv:
            account = rv.ref(Account, "a")
            assert rv.call(account.deposit(5)) == 5
            assert rv.call(rv.ref("Account", "a").deposit(amount=1), idempotency_key="k") == 6
            assert rv.call(rv.ref("Account", "a").deposit(amount=1), idempotency_key="k") == 6
            with pytest.raises(HandlerError):
                rv.call(account.fail(1))
            receipt = rv.cast(account.deposit(1), idempotency_key="c")
            assert rv.reply(receipt, returns=int) == 7
            rv.cast(account.deposit(1), after=timedelta(hours=1))
            with pytest.raises(CallTimeout):
                rv.call(rv.ref(Account, "slow").pause(0.3), timeout=0.1)
            assert rv.delete(account) is True
            assert rv.delete(account) is False

    await asyncio.to_thread(program)
    assert doors() == []
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute("select count(*) from revenant.scheduled").fetchone() == (1,)


@pytest.mark.usefixtures("worker")
async def test_many_threads_share_one_door_and_several_doors_may_be_open(blocking: Revenant) -> None:
    def deposits(rv: Any) -> None:
        for _ in range(20):
            rv.call(rv.ref(Account, "shared").deposit(1))

    def program() -> int:
        with blocking.sync() as rv, blocking.sync() as other, ThreadPoolExecutor(16) as pool:
            list(pool.map(deposits, [rv, other] * 8))
            return rv.call(rv.ref(Account, "shared").read())

    assert await asyncio.to_thread(program) == 16 * 20


async def test_a_cast_on_the_caller_s_connection_exists_iff_it_commits(
    blocking: Revenant, worker: Worker, database: str, connection: Connection
) -> None:
    count = "select count(*) from revenant.messages"

    def program() -> None:
        with blocking.sync() as rv, psycopg.connect(database) as mine:
            rv.cast(rv.ref(Account, "tx").deposit(100), connection=mine)
            mine.rollback()
            rv.cast(rv.ref(Account, "tx").deposit(5), connection=mine)
            mine.commit()
            with pytest.raises(ConfigurationError, match="give just one"):
                rv.cast(rv.ref(Account, "tx").deposit(1), connection=mine, after=timedelta(0))

    await asyncio.to_thread(program)
    state = "select (state ->> 'balance')::int from revenant.entities where key = 'tx'"
    assert await eventually(lambda: value(connection, state)) == 5
    assert await value(connection, count) == 0
    assert worker.counters.messages == 1


async def test_inside_an_event_loop_it_says_what_to_do_instead(blocking: Revenant) -> None:
    rv = blocking.sync()
    for use in (rv.start, lambda: rv.call(rv.ref(Account, "a").read())):
        with pytest.raises(ConfigurationError, match="async with app"):
            use()
    assert doors() == []


def test_before_its_start_and_after_its_end_it_says_so(blocking: Revenant) -> None:
    rv = blocking.sync()
    rv.stop()
    with pytest.raises(ConfigurationError, match="before it was opened"):
        rv.call(rv.ref(Account, "a").read())
    rv.start()
    rv.start()
    assert len(doors()) == 1
    rv.stop()
    rv.stop()
    with pytest.raises(ConfigurationError, match="after it had been closed. Nothing was sent"):
        rv.call(rv.ref(Account, "a").read())
    with rv:
        assert rv.cast(rv.ref(Account, "a").deposit(1))
    assert doors() == []


def test_what_goes_wrong_is_raised_in_the_caller_s_thread(empty_database: str) -> None:
    away = Settings(database_url="postgresql://somebody:pa55word@127.0.0.1:1/x", call_timeout=0.3)
    with Revenant(settings=away).sync() as rv, pytest.raises(DatabaseUnavailable) as caught:
        rv.call(rv.ref("Account", "a").deposit(1))
    assert "pa55word" not in str(caught.value)
    with Revenant(database_url=empty_database).sync() as rv, pytest.raises(SchemaMismatch):
        rv.call(rv.ref("Account", "a").deposit(1))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Revenant(database_url="postgres//u:pa55word@h").sync().start()
    assert doors() == []


def test_a_closing_door_tells_those_who_wait(blocking: Revenant) -> None:
    rv = blocking.sync()
    rv.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(rv.call, rv.ref(Account, "nobody serves").read(), timeout=30)
        with psycopg.connect(blocking.url(), autocommit=True) as connection:
            while not connection.execute("select from revenant.messages").fetchall():
                assert not waiting.done()
        rv.stop()
        with pytest.raises(CallTimeout, match="unknown"):
            waiting.result(timeout=5)


FORKS = """
import os, warnings
from revenant.errors import ConfigurationError
from tests.entities import app, Account

warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12, of any fork beside other threads
with app.sync() as rv:
    rv.cast(rv.ref(Account, "parent").deposit(1))
    child = os.fork()
    if child == 0:
        try:
            rv.cast(rv.ref(Account, "wrong").deposit(1))
            os._exit(1)
        except ConfigurationError as error:
            assert "after a fork" in str(error)
        with app.sync() as own:
            own.cast(own.ref(Account, "child").deposit(1))
        rv.stop()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rv.cast(rv.ref(Account, "parent").deposit(1))
"""


def test_a_forked_child_opens_its_own(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    ended = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    with psycopg.connect(database) as connection:
        sent = connection.execute("select key, count(*) from revenant.messages group by key order by key").fetchall()
    assert sent == [("child", 1), ("parent", 2)]
