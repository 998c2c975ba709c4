"""Starting and stopping an application: however many tasks do it at once, there is one client, and then none."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client.client import Client
from revenant.config import Settings
from revenant.errors import CallTimeout, ConfigurationError, RevenantError
from tests.entities import ENTITIES, Account
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
ALONE = "select count(*) = 0 from pg_stat_activity where datname = current_database() and application_name like 'revenant/%'"


@pytest.fixture
def stopped(database: str, settings: Settings) -> Revenant:
    return Revenant(entities=ENTITIES, database_url=database, settings=settings)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Client]]:
    """Which clients were started and stopped."""
    seen: dict[str, list[Client]] = {"start": [], "stop": []}
    for word, those in seen.items():
        real = getattr(Client, word)

        async def spied(self: Client, those: list[Client] = those, real: Any = real) -> None:
            those.append(self)
            await real(self)

        monkeypatch.setattr(Client, word, spied)
    return seen


async def test_tasks_that_start_at_once_make_one_client(
    stopped: Revenant, clients: dict[str, list[Client]], connection: Connection
) -> None:
    await asyncio.gather(*(stopped.start() for _ in range(5)))
    await stopped.start()
    assert len(clients["start"]) == 1
    await stopped.cast(stopped.ref(Account, "a").deposit(1))
    await asyncio.gather(*(stopped.stop() for _ in range(5)))
    await stopped.stop()
    assert clients["stop"] == clients["start"]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("revenant-")]
    await eventually(lambda: value(connection, ALONE), what="the end of all connections")


async def test_a_stop_while_it_connects_leaves_no_connection_to_the_garbage_collector(
    stopped: Revenant, connection: Connection
) -> None:
    gc.disable()
    try:
        for _ in range(30):
            async with stopped:
                pass
        await eventually(lambda: value(connection, ALONE), seconds=5, what="the end of all connections")
    finally:
        gc.enable()


async def test_what_outlives_its_application_reads_nothing_and_leaves_no_connection(
    stopped: Revenant, connection: Connection
) -> None:
    """A handle that somebody has kept, one that waits at the end, and one that is about to connect just then."""
    gc.disable()
    try:
        async with stopped:
            kept = stopped.run("move", "m")
            waiting = asyncio.create_task(kept.result(timeout=60))
            await asyncio.sleep(0)
        with pytest.raises(CallTimeout, match="before the application was stopped"):
            await waiting
        with pytest.raises(ConfigurationError, match="was to be read after the application was stopped"):
            await kept.history()
        for passes in range(12):
            await stopped.start()
            reading = asyncio.create_task(stopped.run("move", "m").history())
            for _ in range(passes):
                await asyncio.sleep(0)
            await stopped.stop()
            with pytest.raises(RevenantError):
                await reading
        await eventually(lambda: value(connection, ALONE), seconds=5, what="the end of all connections")
    finally:
        gc.enable()


async def test_a_stop_that_overtakes_a_start_ends_it_and_it_starts_again(
    stopped: Revenant, clients: dict[str, list[Client]], connection: Connection
) -> None:
    for _ in range(3):
        await asyncio.gather(stopped.start(), stopped.stop(), stopped.start())
        await stopped.cast(stopped.ref(Account, "a").deposit(1))
        await asyncio.gather(stopped.stop(), stopped.stop())
        message = stopped.ref(Account, "a").deposit(1)
        with pytest.raises(ConfigurationError, match="after the application was stopped"):
            await stopped.cast(message)
    assert len(clients["start"]) == len(clients["stop"]) == 6
    assert await value(connection, "select count(*) from revenant.messages") == 3


async def test_a_start_that_is_cancelled_leaves_the_next_one_free(stopped: Revenant) -> None:
    first, second = asyncio.create_task(stopped.start()), asyncio.create_task(stopped.start())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    await second
    await stopped.cast(stopped.ref(Account, "a").deposit(1))
    await stopped.stop()


async def test_an_application_serves_one_event_loop(stopped: Revenant, connection: Connection) -> None:
    await stopped.start()

    async def elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await stopped.start()
        with pytest.raises(ConfigurationError, match="event loop"):
            await stopped.cast(stopped.ref(Account, "a").deposit(1))

    await asyncio.to_thread(asyncio.run, elsewhere())
    await stopped.cast(stopped.ref(Account, "a").deposit(1))
    await stopped.stop()
    assert await value(connection, "select count(*) from revenant.messages") == 1


def test_it_may_be_started_in_one_event_loop_after_another(stopped: Revenant) -> None:
    async def program() -> None:
        async with stopped:
            await stopped.cast(stopped.ref(Account, "a").deposit(1))

    for _ in range(3):
        asyncio.run(program())


def test_threads_that_open_a_door_at_once_open_one(stopped: Revenant) -> None:
    rv = stopped.sync()

    def use(number: int) -> None:
        rv.start()
        rv.cast(rv.ref(Account, "a").deposit(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(16)))
        assert [thread.name for thread in threading.enumerate()].count("revenant-sync") == 1
        list(pool.map(lambda _: rv.stop(), range(8)))
    assert "revenant-sync" not in [thread.name for thread in threading.enumerate()]
