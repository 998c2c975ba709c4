"""Real worker processes, killed, stopped and restarted at the worst moments: nothing is lost, nothing twice."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import CallTimeout, DatabaseUnavailable
from revenant.sql import migrate
from tests.entities import ENTITIES, Account, Gate, Ledger
from tests.nemesis import Cable, Crew, Proxy, only_until, private_server, seeded
from tests.nemesis import Gate as Bars
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
SOON = 5.0
"""Seconds from a kill to the next reply by another worker, at most: well before anybody misses a heartbeat (8 s)."""


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path) as hired:
        yield hired


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bars:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Bars(folder)


@pytest.mark.parametrize("moment", ["before the claim", "after the claim", "before the commit", "after the commit"])
async def test_a_worker_killed_around_a_turn_costs_neither_the_message_nor_the_time(
    app: Revenant, database: str, connection: Connection, crew: Crew, moment: str
) -> None:
    words = {"before the claim": b"revenant.claim_", "after the claim": b"revenant.claim_"}
    killed_at = 0.0

    def kill() -> None:
        nonlocal killed_at
        killed_at = time.monotonic()
        victim.kill()
        survivor.signal(signal.SIGCONT)

    async def kill_at_once(cable: Cable, _frame: bytes) -> None:
        kill()
        cable.cut()

    async def kill_after(cable: Cable, frame: bytes) -> None:
        cable.on_answer = kill
        cable.server.write(frame)

    async with Proxy(database) as proxy:
        survivor, victim = crew.spawn(), crew.spawn(url=proxy.url)
        await asyncio.gather(crew.serving(survivor), crew.serving(victim))
        survivor.signal(signal.SIGSTOP)
        spring = {
            "before the claim": kill_at_once,
            "after the claim": kill_after,
            "before the commit": kill_at_once,
            "after the commit": only_until(b"commit;", kill),
        }[moment]
        proxy.trap("lane", words.get(moment, b"revenant.settle_"), spring)
        reply = await app.call(app.ref(Account, "a").deposit(5), timeout=20)
        took = time.monotonic() - killed_at
        assert killed_at, "nobody was killed"
        assert reply == 5
        # A reply whose wake-up died with the worker is found by the caller's own look-up, which comes every second.
        assert took < SOON + (1.2 if moment == "after the commit" else 0)
        assert await app.ref(Account, "a").deposit(1) == 6
    assert await rows(connection, "select version from revenant.entities") == [(2,)]
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_a_worker_killed_inside_a_handler_leaves_no_trace_and_another_takes_over_at_once(
    app: Revenant, connection: Connection, crew: Crew, bars: Bars
) -> None:
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    call = asyncio.create_task(app.call(app.ref(Gate, "g").walk(), timeout=20))
    inside = await bars.reached()
    (victim,) = (hand for hand in hands if hand.owns(inside))
    began = time.monotonic()
    victim.kill()
    await bars.reached(besides=[inside])
    assert time.monotonic() - began < SOON
    bars.open()
    assert await call == 1
    assert await rows(connection, "select version, state->'passed' from revenant.entities") == [(1, 1)]


async def test_a_zombie_can_neither_commit_nor_reply_and_serves_again(
    app: Revenant, connection: Connection, crew: Crew, bars: Bars
) -> None:
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    call = asyncio.create_task(app.call(app.ref(Gate, "g").walk(), timeout=20))
    inside = await bars.reached()
    (zombie,) = (hand for hand in hands if hand.owns(inside))
    (other,) = (hand for hand in hands if hand is not zombie)
    zombie.signal(signal.SIGSTOP)
    # What keepalives and idle_in_transaction_session_timeout do, at once: its transaction goes, its locks with it.
    held = await rows(
        connection,
        # A new entity is held by its advisory lock, and nothing else of a lane is.
        "select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid "
        "where l.locktype = 'advisory' and l.granted and a.datname = current_database() "
        "and a.application_name like 'revenant/lane-%' and a.state = 'idle in transaction'",
    )
    assert len(held) == 1
    await bars.reached(besides=[inside])
    bars.open()
    assert await call == 1
    zombie.signal(signal.SIGCONT)
    other.signal(signal.SIGTERM)
    assert await asyncio.to_thread(other.process.wait, 20) == 0
    assert await app.ref(Gate, "g").count() == 1
    assert await app.ref(Account, "a").deposit(1) == 1
    assert zombie.running
    assert await rows(connection, "select version from revenant.entities where kind = 'Gate'") == [(1,)]


async def test_a_draining_worker_finishes_what_it_handles_and_leaves_the_rest_to_others(
    app: Revenant, database: str, connection: Connection, crew: Crew, bars: Bars
) -> None:
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    leaver, other = hands
    other.signal(signal.SIGSTOP)
    walk = asyncio.create_task(app.call(app.ref(Gate, "g").walk(), timeout=30))
    await bars.reached()
    count = 3000
    async with await psycopg.AsyncConnection.connect(database) as mine:
        for number in range(count):
            await app.cast(app.ref(Account, str(number % 300)).deposit(1), connection=mine)
    leaver.signal(signal.SIGTERM)
    draining = "select count(*) from revenant.workers where draining"
    await eventually(lambda: value(connection, draining), what="a draining worker")
    assert bars.inside() == [leaver.process.pid]
    bars.open()
    assert await asyncio.to_thread(leaver.process.wait, 20) == 0
    assert await value(connection, "select count(*) from revenant.messages") > 0, "it did all before it left"
    other.signal(signal.SIGCONT)
    assert await walk == 1
    assert bars.inside() == [leaver.process.pid], "what it was handling was done again by the other"

    async def all_done() -> bool:
        return not await value(connection, "select count(*) from revenant.messages")

    await eventually(all_done, what="an empty mailbox")
    totals = (
        "select count(*), sum((state->>'balance')::int), sum(version) from revenant.entities where kind = 'Account'"
    )
    assert await rows(connection, totals) == [(300, count, count)]


class Traffic:
    """Callers and casters that go on until each outcome is known, and one caller who never asks twice."""

    def __init__(self, app: Revenant, *, callers: int, rounds: int) -> None:
        self.app = app
        self.rounds = rounds
        self.replies = [0] * callers
        self.casts = [0] * callers
        self.loose: list[int] = []
        self.unknown = 0
        self.asked_again = 0
        self.over = asyncio.Event()

    @property
    def done(self) -> int:
        return sum(self.replies) + sum(self.casts)

    async def call(self, number: int) -> None:
        account = self.app.ref(Account, f"called-{number}")
        while self.replies[number] < self.rounds:
            key = f"call-{self.replies[number]}"
            try:
                self.replies[number] = await self.app.call(account.deposit(1), idempotency_key=key)
            except (CallTimeout, DatabaseUnavailable):
                self.asked_again += 1

    async def cast(self, number: int) -> None:
        account = self.app.ref(Account, f"cast-{number}")
        while self.casts[number] < self.rounds:
            with suppress(CallTimeout, DatabaseUnavailable):
                await self.app.cast(account.deposit(1), idempotency_key=f"cast-{self.casts[number]}")
                self.casts[number] += 1

    async def call_without_key(self) -> None:
        while not self.over.is_set():
            try:
                self.loose.append(await self.app.call(self.app.ref(Account, "loose").deposit(1), timeout=1))
            except (CallTimeout, DatabaseUnavailable):
                self.unknown += 1

    async def total(self, key: str) -> int:
        return await self.app.call(self.app.ref(Account, key).deposit(0), timeout=20)

    async def check(self) -> None:
        """Nothing that was acknowledged is missing, and nothing is there twice."""
        assert self.asked_again, "nobody had to ask again"
        for number, replies in enumerate(self.replies):
            assert replies == self.rounds
            assert await self.total(f"called-{number}") == self.rounds
            assert await self.total(f"cast-{number}") == self.rounds
        total = await self.total("loose")
        assert len(set(self.loose)) == len(self.loose) <= total <= len(self.loose) + self.unknown


async def test_a_crash_of_postgres_loses_no_acknowledged_message_and_doubles_none(
    tmp_path: Path, settings: Settings
) -> None:
    with private_server() as server:
        await migrate(server.url)
        # So short that callers ask again, with the same key, while the first try may still be under way.
        impatient = settings.model_copy(update={"call_timeout": 0.1})
        async with (
            Crew(server.url, tmp_path) as crew,
            Revenant(entities=ENTITIES, database_url=server.url, settings=impatient) as app,
        ):
            hands = [crew.spawn(), crew.spawn()]
            await asyncio.gather(*map(crew.serving, hands))
            traffic = Traffic(app, callers=16, rounds=60)
            loose = asyncio.create_task(traffic.call_without_key())
            async with asyncio.TaskGroup() as tasks:
                for number in range(16):
                    tasks.create_task(traffic.call(number))
                    tasks.create_task(traffic.cast(number))
                await eventually(lambda: sum(traffic.replies) > 100 and sum(traffic.casts) > 100, what="traffic")
                await asyncio.to_thread(server.stop, "immediate")
                assert traffic.done < 2 * 16 * 60, "the traffic was over before the crash"
                await asyncio.to_thread(server.start)
            seen = len(traffic.loose)
            await eventually(lambda: len(traffic.loose) > seen, seconds=20, what="a call after the crash")
            traffic.over.set()
            await loose
            await traffic.check()
            assert all(hand.running for hand in hands)


async def test_a_job_is_not_lost_when_the_worker_dies_between_the_commit_and_the_job(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    await connection.execute("create table own_words (word text)")
    first = await crew.hire("--jobs", "0")
    await app.ref(Ledger, "l").defer_note("kept")
    assert await value(connection, "select count(*) from procrastinate_jobs where status = 'todo'") == 1
    first.kill()
    await crew.hire("--jobs", "1")
    await eventually(
        lambda: rows(connection, "select word from own_words where word = 'kept'"), what="the job's effect"
    )


async def test_replies_are_linearizable_while_workers_are_killed(
    app: Revenant, database: str, settings: Settings, connection: Connection, crew: Crew
) -> None:
    chance, kills = seeded(), 3
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    witnesses = Witnesses(chance)
    async with (
        Revenant(entities=ENTITIES, database_url=database, settings=settings) as second,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(40):
            tasks.create_task(witnesses.call((app, second)[number % 2]))
        for _ in range(kills):
            await witnesses.more(chance.randrange(50, 200))
            victim = hands.pop(chance.randrange(2))
            assert witnesses.flying, "no call was in flight"
            victim.kill()
            hands.append(crew.spawn())
            await witnesses.more(1)
            await crew.serving(hands[-1])
        witnesses.over.set()
    assert sum(hand.process.returncode == -signal.SIGKILL for hand in crew.hands) == kills
    for key in witnesses.keys:
        final = await app.ref(Account, key).deposit(0)
        check_linearizable(witnesses.history[key], final, witnesses.unknown[key])
        assert await value(connection, "select version from revenant.entities where key = %s", key) == final


class Witnesses:
    """Callers of a few counters, and what each of them saw: when it asked, when it heard, and what."""

    def __init__(self, chance: random.Random) -> None:
        self.keys = ["x", "y", "z"]
        self.history: dict[str, list[tuple[float, float, int]]] = {key: [] for key in self.keys}
        self.unknown = dict.fromkeys(self.keys, 0)
        self.flying = 0
        self.over = asyncio.Event()
        self._chance = chance

    async def call(self, app: Revenant) -> None:
        while not self.over.is_set():
            key = self._chance.choice(self.keys)
            began = time.monotonic()
            self.flying += 1
            try:
                number = await app.call(app.ref(Account, key).deposit(1), timeout=15)
                self.history[key].append((began, time.monotonic(), number))
            except CallTimeout:
                self.unknown[key] += 1
            finally:
                self.flying -= 1

    async def more(self, replies: int) -> None:
        """Wait until that many more replies have come."""
        wanted = sum(map(len, self.history.values())) + replies
        await eventually(lambda: sum(map(len, self.history.values())) >= wanted, what=f"{replies} more replies")


def check_linearizable(events: list[tuple[float, float, int]], final: int, unknown: int) -> None:
    """Each (invoked, returned, value) must be a step of one counter, in an order that real time allows."""
    values = sorted(number for _, _, number in events)
    assert len(set(values)) == len(values), "one value was given twice"
    assert set(values) <= set(range(1, final + 1)), "a value that the counter never had"
    assert final - len(values) <= unknown, "an effect that nobody asked for"
    returned = sorted((at, number) for _, at, number in events)
    highest, place = 0, 0
    for invoked, _, number in sorted(events):
        while place < len(returned) and returned[place][0] < invoked:
            highest = max(highest, returned[place][1])
            place += 1
        assert number > highest, f"{number} was asked for after {highest} had been given"


@pytest.mark.parametrize(
    ("events", "final", "unknown"),
    [
        ([(0, 1, 1), (0, 1, 1)], 1, 0),
        ([(0, 1, 1), (2, 3, 3)], 3, 0),
        ([(0, 1, 1), (2, 3, 4)], 3, 0),
        ([(0, 1, 2), (2, 3, 1)], 2, 0),
    ],
)
def test_the_check_of_linearizability_can_fail(
    events: list[tuple[float, float, int]], final: int, unknown: int
) -> None:
    check_linearizable([(0, 5, 2), (1, 2, 1), (6, 7, 4)], 4, 1)
    with pytest.raises(AssertionError):
        check_linearizable(events, final, unknown)
