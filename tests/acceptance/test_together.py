"""Transfers between accounts under `kill -9`: the sum never changes, in no snapshot, and nobody waits in a circle."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from revenant.app import Revenant
from revenant.config import Settings
from tests.nemesis import Crew
from tests.purses import Purse, Vault
from tests.tools import value

pytestmark = pytest.mark.acceptance
PURSES, COINS, CALLERS, TRANSFERS, KILLS = 8, 100, 64, 96, 2
"""`TRANSFERS` come before each kill, and after the last."""
SUM = "select sum((state->>'coins')::int)::int from revenant.entities"


async def test_64_concurrent_random_transfers_under_kills_keep_the_sum_in_every_snapshot(
    database: str, settings: Settings, tmp_path: Path
) -> None:
    async with (
        Crew(database, tmp_path, app="tests.purses:app") as crew,
        Revenant(entities=[Purse, Vault], database_url=database, settings=settings) as app,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as connection,
    ):
        await asyncio.gather(crew.hire(), crew.hire())
        purses = [app.ref(Purse, f"p{number}") for number in range(PURSES)]
        await asyncio.gather(*(purse.put(COINS) for purse in purses))
        given, over = asyncio.Semaphore(0), asyncio.Event()

        async def caller(seed: int) -> int:
            chance, count = random.Random(seed), 0
            while not over.is_set():
                giver, taker = chance.sample(purses, 2)
                await app.call(giver.give(taker, chance.randrange(1, 9)), timeout=60)
                given.release()
                count += 1
            return count

        callers = asyncio.gather(*map(caller, range(CALLERS)))
        reader = asyncio.ensure_future(sums(database, callers))
        try:
            for killing in (*[True] * KILLS, False):
                # However long a worker takes to start, transfers are under way when the next one is killed.
                for _ in range(TRANSFERS):
                    await given.acquire()
                if killing:
                    crew.hands[-2].kill()
                    await crew.hire()
        finally:
            over.set()
            transfers = sum(await callers)
        assert await reader == {PURSES * COINS}
        assert await value(connection, "select sum(version) from revenant.entities") == PURSES + 2 * transfers
        assert await value(connection, "select deadlocks from pg_stat_database where datname = current_database()") == 0


async def sums(database: str, callers: asyncio.Future[Any]) -> set[int]:
    """Add all up again and again until the callers are done, twice in each snapshot; return what was found."""
    found: set[int] = set()
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        while not callers.done():
            async with connection.transaction():
                found |= {await value(connection, SUM), await value(connection, SUM)}
            await asyncio.sleep(0.005)
    return found
