"""How soon another worker goes on, by the clock: a second after a kill, ten where nobody is told that one hangs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from tests.entities import ENTITIES
from tests.entities import Gate as Walker
from tests.nemesis import Crew, Gate, Hand
from tests.relaxed import KINDS, Lamp
from tests.tools import value

Connection = psycopg.AsyncConnection[Any]
KILLED, HELD_UP, HUNG = 1.0, 5.0, 10.0
"""Seconds to the next reply, at most."""
KILLS = 3
OWNER = "select w.pid from revenant.residents r join revenant.workers w on w.id = r.owner"


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[*KINDS, *ENTITIES], database_url=database, settings=settings) as application:
        yield application


async def hire_two(crew: Crew, **more: Any) -> list[Hand]:
    hands = [crew.spawn(**more), crew.spawn(**more)]
    await asyncio.gather(*map(crew.serving, hands))
    return hands


def folder(path: Path, name: str) -> Path:
    made = path / name
    made.mkdir()
    return made


async def test_another_worker_answers_within_a_second_of_a_kill(
    app: Revenant, database: str, connection: Connection, tmp_path: Path
) -> None:
    """Of a strict entity, of one that is written now and then, and of one that is written at the end."""
    kinds = {"Rock": "where", "Lamp": "shine", "Stone": "add"}
    took: dict[str, list[float]] = {kind: [] for kind in kinds}

    async def ask(kind: str, key: str) -> int:
        return int(await app.call(getattr(app.ref(kind, key), kinds[kind])(), timeout=20))

    async def served_by(hand: Hand, kind: str) -> str:
        """Return the key of a new entity that has handled one message, there."""
        for number in range(100):
            key = f"{hand.process.pid}-{number}"
            reply = await ask(kind, key)
            if hand.owns(reply if kind == "Rock" else await value(connection, f"{OWNER} where r.key = %s", key)):
                return key
        raise AssertionError("that worker serves nobody")

    async def ask_after(kill: float, kind: str, key: str) -> int:
        reply = await ask(kind, key)
        took[kind].append(time.monotonic() - kill)
        return reply

    async with Crew(database, tmp_path, app="tests.relaxed:app") as crew:
        hands = await hire_two(crew)
        for _ in range(KILLS):
            victim = hands.pop(0)
            keys = {kind: await served_by(victim, kind) for kind in kinds}
            victim.kill()
            kill = time.monotonic()
            pid, *counts = await asyncio.gather(*(ask_after(kill, kind, key) for kind, key in keys.items()))
            assert hands[0].owns(pid)
            assert counts == [2, 2]
            hands.append(await crew.hire())
    # Others on a busy machine may hold up most of them; by the heartbeat alone it would be eight seconds.
    assert all(min(times) < KILLED and max(times) < HELD_UP for times in took.values()), took


async def test_another_worker_goes_on_within_ten_seconds_where_nobody_is_told_that_one_hangs(
    app: Revenant, database: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections stay open; what lives with it, and what it has locked in a turn, is free all the same."""
    gate = Gate(folder(tmp_path, "gate"))
    monkeypatch.setenv("REVENANT_TEST_GATE", str(gate.folder))
    async with (
        Crew(database, folder(tmp_path, "relaxed"), app="tests.relaxed:app") as relaxed,
        Crew(database, folder(tmp_path, "strict")) as strict,
    ):
        hands = [
            *await hire_two(relaxed),
            # A turn may sit still for `handler_timeout` and 5 seconds.
            *await hire_two(strict, environment={"REVENANT_HANDLER_TIMEOUT": "2"}),
        ]
        assert await app.ref(Lamp, "a").shine() == 1
        owner = await value(connection, OWNER)
        walk = asyncio.create_task(app.call(app.ref(Walker, "w").walk(), timeout=30))
        inside = await gate.reached()
        for hand in hands:
            if hand.owns(owner) or hand.owns(inside):
                hand.signal(signal.SIGSTOP)
        stop = time.monotonic()

        async def kept() -> float:
            assert await app.call(app.ref(Lamp, "a").shine(), timeout=30) == 2
            return time.monotonic() - stop

        async def locked() -> float:
            await gate.reached(besides=[inside])
            took = time.monotonic() - stop
            gate.open()
            assert await walk == 1
            return took

        took = await asyncio.gather(kept(), locked())
    assert max(took) < HUNG, took
    assert min(took) > HUNG / 4, "a worker that only pauses is left alone"
