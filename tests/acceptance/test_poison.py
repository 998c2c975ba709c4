"""Messages that take their worker down: found, set aside after three deaths alone, and the fleet goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import HandlerCrashed
from tests.nemesis import Crew, Gate, Hand
from tests.poison import Bomb, LazyBomb
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
DEATHS = 3


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.poison:app") as hired:
        yield hired


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Gate(folder)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Bomb, LazyBomb], database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
def world(app: Revenant, connection: Connection, crew: Crew, gate: Gate) -> tuple[Revenant, Connection, Crew]:
    return app, connection, crew


async def ended(hand: Hand) -> int:
    """Wait for a worker's end, and return its exit code."""
    await eventually(lambda: not hand.running, seconds=30, what="the end of the worker")
    return hand.process.wait()


async def replaced(crew: Crew, code: int, until: Callable[[], Awaitable[bool]]) -> int:
    """Start a worker whenever one ends, with that exit code, until one lives on; return how many have ended."""
    deaths = 0
    while True:
        hand = crew.spawn()

        async def over(hand: Hand = hand) -> bool:
            return not hand.running or await until()

        await eventually(over, seconds=30, what="the end of the worker, or of what kills it")
        if hand.running:
            return deaths
        assert hand.process.returncode == code, hand.last_words()
        deaths += 1


@pytest.mark.parametrize(("kind", "how"), [(Bomb, "exit"), (Bomb, "segfault"), (LazyBomb, "memory")])
async def test_a_message_that_kills_its_worker_is_set_aside_after_three_deaths_and_others_go_on(
    world: tuple[Revenant, Connection, Crew], kind: type[Bomb], how: str
) -> None:
    app, connection, crew = world
    code = {"exit": 9, "segfault": -signal.SIGSEGV, "memory": -signal.SIGKILL}[how]
    first = await crew.hire()
    assert await app.ref(kind, "b").step() == 1
    poison = await app.cast(app.ref(kind, "b").explode(how))
    assert await ended(first) == code
    neighbours = [app.ref(kind, f"n{number}") for number in range(20)]
    for neighbour in neighbours:
        await app.cast(neighbour.step())
    dead = "select id::text, attempts, error->>'error' from revenant.dead"
    found = "select exists (select from revenant.dead)"
    # One dies with its neighbours beside it, unless it was all that there was in hand; the others alone.
    assert DEATHS <= await replaced(crew, code, lambda: value(connection, found)) <= DEATHS + 1
    assert await rows(connection, dead) == [(poison, 1, "HandlerCrashed")]
    assert await asyncio.gather(*(neighbour.step() for neighbour in neighbours)) == [2] * 20
    assert await app.ref(kind, "b").step() == 2, "the state is as before"
    await eventually(
        lambda: value(connection, "select count(*) = 0 from revenant.suspects"), what="the last note's end"
    )
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.notes"), what="the last note's end")
    if kind is Bomb:
        assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_where_workers_are_replaced_after_minutes_a_message_that_kills_them_is_set_aside_all_the_same(
    world: tuple[Revenant, Connection, Crew],
) -> None:
    """As by whoever waits longer from crash to crash."""
    app, connection, crew = world
    poison = await app.cast(app.ref(Bomb, "b").explode("exit"))

    async def over() -> bool:
        await connection.execute(
            "update revenant.workers w set heartbeat_at = now() - interval '5 minutes' where not "
            "exists (select from pg_stat_get_activity(w.backend_pid) a where a.backend_start = w.backend_start)"
        )
        return bool(await value(connection, "select exists (select from revenant.dead)"))

    # The first death is under no note.
    assert await replaced(crew, 9, over) == 1 + DEATHS
    assert await rows(connection, "select id::text from revenant.dead") == [(poison,)]


async def test_whatever_ran_beside_what_kills_every_worker_is_handled_and_none_of_it_set_aside(
    world: tuple[Revenant, Connection, Crew],
) -> None:
    app, connection, crew = world
    keys = [f"n{number}" for number in range(60)]
    for number, key in enumerate(keys):
        kind = (Bomb, LazyBomb)[number % 2]
        await app.cast(app.ref(kind, key).step())
        if number % 20 == 10:
            await app.cast(app.ref(kind, f"b{number}").explode("exit"))
    gone = "select count(*) = 3 from revenant.dead"
    deaths = await replaced(crew, 9, lambda: value(connection, gone))
    assert deaths <= 1 + 3 * (DEATHS + 1)
    assert {key for (key,) in await rows(connection, "select key from revenant.dead")} == {"b10", "b30", "b50"}
    for number, key in enumerate(keys):
        assert await app.call(app.ref((Bomb, LazyBomb)[number % 2], key).step(), timeout=20) == 2


async def test_a_fleet_survives_a_poisonous_call_under_its_supervisor_and_the_caller_is_told(
    app: Revenant, connection: Connection, crew: Crew, gate: Gate
) -> None:
    supervisor = crew.spawn("--processes", "2", "--lanes", "2", "--jobs", "0")
    await eventually(lambda: supervisor.log.read_text().count("Ready:") == 2, seconds=30, what="two workers")
    call = asyncio.create_task(app.call(app.ref(Bomb, "b").explode("exit"), timeout=60))
    others = 0
    while not call.done():
        others += 1
        assert await app.call(app.ref(Bomb, f"n{others % 10}").step(), timeout=30) == (others + 9) // 10
    with pytest.raises(HandlerCrashed, match="3 worker processes died"):
        await call
    assert supervisor.running
    deaths = supervisor.log.read_text().count("ended with exit code 9")
    # Under a note three, and before anybody knew of a death as many as there are processes; a replacement that starts
    # in that very moment may not know of it either.
    assert DEATHS + 1 <= deaths <= DEATHS + 4
    answered = "select (error->>'answered')::boolean from revenant.dead"
    assert await rows(connection, answered) == [(True,)]


async def test_a_long_message_that_outlives_two_kills_of_its_workers_is_handled_and_forgotten(
    app: Revenant, connection: Connection, crew: Crew, gate: Gate
) -> None:
    first = await crew.hire()
    message = await app.cast(app.ref(Bomb, "long").linger(), idempotency_key="once")
    inside = [await gate.reached()]
    first.kill()
    for _ in range(DEATHS - 1):
        hand = await crew.hire()
        inside.append(await gate.reached(besides=inside))
        hand.kill()
    gate.open()
    await crew.hire()
    assert await app.reply(message, timeout=20) == 1
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.suspects"), what="the note's end")
    assert await value(connection, "select count(*) from revenant.dead") == 0
