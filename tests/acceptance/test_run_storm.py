"""Runs of any shape under random messages, while their workers are killed or lose their connections."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.entities import Account
from tests.nemesis import Crew, seeded, terminate
from tests.nemesis.storm import Aftermath, Connection, Storm
from tests.tempest import WORKFLOWS, tempest

SECONDS = float(os.environ.get("REVENANT_TEST_STORM", "0"))
"""For how long the storm with worker processes blows."""


@pytest.fixture
def effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "effects"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_EFFECTS", str(folder))
    return folder


@pytest_asyncio.fixture
async def app(database: str, settings: Settings, connection: Connection) -> AsyncIterator[Revenant]:
    await connection.execute("create table storm_rows (key text not null)")
    async with Revenant(
        entities=[Account], workflows=[tempest, *WORKFLOWS], database_url=database, settings=settings
    ) as application:
        yield application


async def test_whatever_comes_all_that_is_promised_of_runs_is_so_afterwards(
    app: Revenant, connection: Connection, effects: Path
) -> None:
    chance = random.Random(7)
    storm = Storm(app, connection, chance)
    workers = [app.worker() for _ in range(2)]
    for worker in workers:
        await worker.start()
        await worker.ready()

    async def disturb() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.1, 0.4))
            await terminate(connection, chance.choice(["runner", "transaction"]))

    disturbing = asyncio.create_task(disturb())
    taking = asyncio.create_task(storm.take())
    await storm.blow(runs=20, width=20, messages=3)
    disturbing.cancel()
    await storm.settle(patience=0.5)
    taking.cancel()
    for worker in workers:
        await worker.stop(drain_timeout=5)
    aftermath = Aftermath(connection, effects)
    assert not await aftermath.look(), "\n".join(aftermath.findings)
    # It was a storm.
    assert {"run.completed", "run.failed", "undo.registered", "run.parked"} <= set(aftermath.counts)


@pytest.mark.skipif(not SECONDS, reason="takes as long as one likes: REVENANT_TEST_STORM=600 (seconds)")
@pytest.mark.timeout(SECONDS + 600)
async def test_so_it_is_where_workers_are_killed(
    app: Revenant, database: str, connection: Connection, effects: Path, tmp_path: Path
) -> None:
    chance = seeded()
    until = time.monotonic() + SECONDS
    rounds = 0
    async with Crew(database, tmp_path, app="tests.tempest:app") as crew:
        environment = {"REVENANT_TEST_EFFECTS": str(effects), "REVENANT_TEST_KILLS": "1"}
        hands = [await crew.hire(environment=environment) for _ in range(2)]

        async def keep() -> None:
            """As a supervisor does: steps of this storm kill their workers, too."""
            while True:
                for place, hand in enumerate(hands):
                    if not hand.running:
                        hands[place] = crew.spawn(environment=environment)
                await asyncio.sleep(0.2)

        async def shoot() -> None:
            while True:
                await asyncio.sleep(chance.uniform(0.5, 4))
                if chance.random() < 0.3:
                    await terminate(connection, chance.choice(["runner", "transaction", "lane"]))
                elif (hand := chance.choice(hands)).running:
                    hand.signal(signal.SIGKILL)

        keeping = asyncio.create_task(keep())

        while time.monotonic() < until:
            rounds += 1
            storm = Storm(app, connection, chance, kills=True, first=rounds * 1000)
            shooting, taking = asyncio.create_task(shoot()), asyncio.create_task(storm.take())
            await storm.blow(runs=60, width=30, messages=5)
            shooting.cancel()
            await storm.settle(patience=3)
            taking.cancel()
            aftermath = Aftermath(connection, effects, first=rounds * 1000)
            assert not await aftermath.look(), "\n".join([f"round {rounds}", *aftermath.findings])
            print(f"round {rounds}: {dict(aftermath.counts)}", flush=True)  # noqa: T201 # whoever waits wants to know
            await connection.execute("truncate revenant.run_events, revenant.run_heads, storm_rows")
            aftermath.forget()
        keeping.cancel()
