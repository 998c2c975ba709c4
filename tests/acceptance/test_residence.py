"""Relaxed entities in real worker processes that are killed, stopped and drained: nothing is lost, nothing twice."""

from __future__ import annotations

import asyncio
import json
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
from revenant.entities.entity import Entity
from revenant.errors import CallTimeout, DatabaseUnavailable, HandlerCrashed
from revenant.sql import migrate
from tests.acceptance.command import revenant
from tests.nemesis import Crew, Hand, private_server
from tests.nemesis import Gate as Bars
from tests.relaxed import KINDS, Lamp, Rock, Stone
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
SOON = 5.0
"""Seconds from a kill to the next reply by another worker, at most: well before anybody misses a heartbeat (8 s)."""


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=KINDS, database_url=database, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.relaxed:app") as hired:
        yield hired


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bars:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Bars(folder)


async def pair(crew: Crew) -> list[Hand]:
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    return hands


async def owner(connection: Connection, hands: list[Hand]) -> tuple[Hand, Hand]:
    """Return the one worker that keeps all residents, and the other."""
    pids = await rows(
        connection, "select distinct w.pid from revenant.residents r join revenant.workers w on w.id = r.owner"
    )
    ((pid,),) = pids
    (found,) = (hand for hand in hands if hand.owns(pid))
    (other,) = (hand for hand in hands if hand is not found)
    return found, other


@pytest.mark.parametrize("kind", [Lamp, Stone, Rock])
async def test_kill_9_loses_nothing_in_any_durability(
    app: Revenant, connection: Connection, crew: Crew, kind: type[Entity]
) -> None:
    hands = await pair(crew)
    message = "shine" if kind is Lamp else "add"
    for count in range(1, 8):
        assert await getattr(app.ref(kind, "a"), message)() == count
    if kind is Rock:
        victim, survivor = hands
    else:
        victim, survivor = await owner(connection, hands)
        assert await value(connection, "select count(*) from revenant.messages") == 7
    victim.kill()
    began = time.monotonic()
    assert await app.call(getattr(app.ref(kind, "a"), message)(), timeout=20) == 8
    assert time.monotonic() - began < SOON
    survivor.signal(signal.SIGTERM)
    assert await asyncio.to_thread(survivor.process.wait, 20) == 0
    assert await value(connection, "select coalesce(state->'shines', state->'count') from revenant.entities") == 8
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_what_a_killed_worker_was_handling_is_handled_by_another_with_nobody_asking(
    app: Revenant, connection: Connection, crew: Crew, bars: Bars
) -> None:
    hands = await pair(crew)
    await app.ref(Lamp, "a").shine()
    victim, survivor = await owner(connection, hands)
    await app.cast(app.ref(Lamp, "a").walk())
    inside = await bars.reached()
    assert victim.owns(inside)
    began = time.monotonic()
    victim.kill()
    assert survivor.owns(await bars.reached(besides=[inside]))
    assert time.monotonic() - began < SOON
    bars.open()
    assert await app.call(app.ref(Lamp, "a").shine(), durability="strict") == 3


async def test_a_zombie_can_neither_write_nor_reply_and_says_so(
    app: Revenant, connection: Connection, crew: Crew, bars: Bars
) -> None:
    hands = await pair(crew)
    assert await app.ref(Lamp, "a").shine() == 1
    zombie, other = await owner(connection, hands)
    call = asyncio.create_task(app.call(app.ref(Lamp, "a").walk(), timeout=30))
    inside = await bars.reached()
    zombie.signal(signal.SIGSTOP)
    # What 8 seconds without a heartbeat do, at once.
    await connection.execute(
        "update revenant.workers set heartbeat_at = now() - make_interval(secs => 9) where id = "
        "(select owner from revenant.residents)"
    )
    successor = await bars.reached(besides=[inside])
    assert other.owns(successor)
    bars.open()
    assert await call == successor
    assert await app.ref(Lamp, "a").shine() == 3
    zombie.signal(signal.SIGCONT)
    await eventually(lambda: "is owned by another worker now" in zombie.log.read_text(), what="the zombie's report")
    zombie.signal(signal.SIGTERM)
    assert await asyncio.to_thread(zombie.process.wait, 20) == 0
    assert await app.call(app.ref(Lamp, "a").shine(), durability="strict") == 4
    assert await value(connection, "select state->'shines' from revenant.entities") == 4


async def test_a_draining_worker_hands_over_without_an_error_at_any_caller(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    first = await crew.hire()
    lamps = [app.ref(Lamp, str(number)) for number in range(20)]
    assert await asyncio.gather(*(lamp.shine() for lamp in lamps)) == [1] * 20
    second = await crew.hire()
    stop = asyncio.Event()
    reached = [1] * 20

    async def go_on(number: int, lamp: Lamp) -> int:
        count = 1
        while not stop.is_set():
            count += 1
            # Handed over, not taken over: nothing is handled twice, so no answer comes twice or is left out.
            assert await app.call(lamp.shine(), timeout=20) == count
            reached[number] = count
        return count

    callers = [asyncio.create_task(go_on(number, lamp)) for number, lamp in enumerate(lamps)]
    await eventually(lambda: all(count > 3 for count in reached))
    first.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.process.wait, 20) == 0
    await eventually(lambda: _lives_with(connection, second, 20))
    stop.set()
    counts = await asyncio.gather(*callers)
    second.signal(signal.SIGTERM)
    assert await asyncio.to_thread(second.process.wait, 20) == 0
    stored = await rows(connection, "select state->'shines' from revenant.entities order by key::int")
    assert [count for (count,) in stored] == counts


async def _lives_with(connection: Connection, hand: Hand, count: int) -> bool:
    pids = await rows(connection, "select w.pid from revenant.residents r join revenant.workers w on w.id = r.owner")
    return len(pids) == count and all(hand.owns(pid) for (pid,) in pids)


async def test_a_new_worker_gets_its_share_of_new_activations(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    await pair(crew)

    async def both_live_somewhere() -> bool:
        await asyncio.gather(*(app.ref(Stone, f"{time.monotonic()}-{number}").add() for number in range(20)))
        return bool(await value(connection, "select count(distinct owner) = 2 from revenant.residents"))

    await eventually(both_live_somewhere)


async def test_the_command_says_who_lives_where_and_sends_them_away(
    app: Revenant, database: str, connection: Connection, crew: Crew
) -> None:
    await crew.hire()
    await app.ref(Stone, "a").add()
    await app.ref(Lamp, "b").shine()
    listed = await asyncio.to_thread(revenant, "ls", "--resident", "-o", "json", url=database)
    found = {row["key"]: row for row in json.loads(listed.stdout)}
    worker = await value(connection, "select id::text from revenant.workers")
    assert {(row["kind"], row["worker"], row["alive"], row["pending"]) for row in found.values()} == {
        ("Stone", worker, True, 1),
        ("Lamp", worker, True, 1),
    }
    sent = await asyncio.to_thread(revenant, "passivate", "Stone", "a", url=database)
    assert (sent.returncode, sent.stdout) == (0, "")
    assert await value(connection, "select state->'count' from revenant.entities") == 1
    assert await value(connection, "select count(*) from revenant.residents") == 1
    assert (await asyncio.to_thread(revenant, "passivate", "Stone", "a", url=database)).returncode == 3


async def test_a_message_that_kills_its_worker_is_set_aside(app: Revenant, connection: Connection, crew: Crew) -> None:
    hands = [crew.spawn() for _ in range(6)]
    await asyncio.gather(*map(crew.serving, hands))
    assert await app.ref(Lamp, "a").shine() == 1
    # The first under no note, another with what is not flushed beside it, and three with that message alone.
    with pytest.raises(HandlerCrashed):
        await app.call(app.ref(Lamp, "a").exit_process(), timeout=30)
    assert sum(hand.running for hand in hands) in {1, 2}
    assert await app.call(app.ref(Lamp, "a").shine(), durability="strict", timeout=30) == 2


async def test_a_crash_of_postgres_loses_no_cast_and_doubles_nothing_though_a_call_may_be_gone(
    tmp_path: Path, settings: Settings
) -> None:
    """Replies of relaxed entities do not wait for the disk: what they said may be lost with Postgres, and no more."""
    with private_server() as server:
        await migrate(server.url)
        async with (
            Crew(server.url, tmp_path, app="tests.relaxed:app") as crew,
            Revenant(entities=KINDS, database_url=server.url, settings=settings) as app,
        ):
            hands = await pair(crew)
            cast, called, unknown, over = [0] * 4, [0] * 4, [0] * 4, asyncio.Event()

            async def send(number: int) -> None:
                while not over.is_set():
                    lamp = app.ref(Lamp, str(number))
                    try:
                        await app.cast(lamp.shine(1000))
                        cast[number] += 1
                        await app.call(lamp.shine(), timeout=2)
                        called[number] += 1
                    except (CallTimeout, DatabaseUnavailable):
                        unknown[number] += 1

            sending = asyncio.gather(*map(send, range(4)))
            await eventually(lambda: min(called) > 5, what="traffic")
            await asyncio.to_thread(server.stop, "immediate")
            await asyncio.to_thread(server.start)
            seen = list(called)
            await eventually(lambda: all(now > before for now, before in zip(called, seen, strict=True)), seconds=60)
            over.set()
            await sending
            for number in range(4):
                shines = await app.call(app.ref(Lamp, str(number)).shine(0), durability="strict", timeout=30)
                casts, calls = divmod(shines, 1000)
                assert cast[number] <= casts <= cast[number] + unknown[number]
                assert calls <= called[number] + unknown[number]
            assert all(hand.running for hand in hands)
