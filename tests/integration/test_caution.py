"""Caution: when workers turn cautious and when it ends, what notes count and tell, and that nobody pays for it else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.failure import Sentence
from revenant.entities.handler import handler
from revenant.errors import HandlerCrashed
from revenant.queue.records import Claimed, Delivery, Hint
from revenant.worker import caution as module
from revenant.worker.agenda import Agenda
from revenant.worker.caution import Caution
from revenant.worker.fleet import Member
from revenant.worker.suspects import DEADLY, Suspects
from revenant.worker.worker import Worker
from tests.entities import Account
from tests.tools import eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
PEER = (
    "insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start) "
    'select %s, \'peer\', 1, \'{"Account": {"vsn": 1, "handlers": []}}\', 1, 0, a.pid, a.backend_start '
    "from pg_stat_get_activity(pg_backend_pid()) a"
)
DIES = "update revenant.workers set backend_start = now() - make_interval(days => 1) where id = %s"
LONG_AGO = "update revenant.workers set heartbeat_at = now() - make_interval(mins => 5) where id = %s"
DEATHS = "select deaths from revenant.suspects"
SUSPECTED = "select key, worker::text, deaths from revenant.suspects order by key"
NOTED = "select worker::text, lane, keys, firsts, lasts from revenant.notes"
NOBODY = "00000000-0000-0000-0000-000000000000"


class Strict(Entity):
    steps: int = 0

    @handler
    async def step(self) -> int:
        self.steps += 1
        return self.steps


class Relaxed(Strict, durability=Interval(seconds=60)):
    pass


def claimed(key: str = "a") -> Claimed:
    bucket = bucket_of("Account", key)
    delivery = Delivery(7, "(0,1)", new_id(bucket), "deposit", "{}", None, None, 0, None)
    return Claimed(bucket, "Account", key, None, 0, None, None, [delivery])


async def waiting(app: Revenant, connection: Connection, *keys: str) -> list[Claimed]:
    """Send a message to each of these, and return what a turn would claim of it."""
    for key in keys:
        await app.cast(app.ref(Account, key).deposit(1))
    found = await rows(connection, "select bucket, key, seq, id::text from revenant.messages order by seq")
    return [
        Claimed(
            bucket, "Account", key, None, 0, None, None, [Delivery(seq, "", of, "deposit", "{}", None, None, 0, None)]
        )
        for bucket, key, seq, of in found
    ]


async def fall(connection: Connection, *peers: str) -> None:
    """Have workers of these ids in the table, all dead."""
    for peer in peers:
        await connection.execute(PEER, (peer,))
        await connection.execute(DIES, (peer,))


@pytest_asyncio.fixture
async def peers(database: str) -> AsyncIterator[list[Suspects]]:
    made = [Suspects(url=database, worker_id=str(uuid4())) for _ in range(3)]
    yield made
    for suspects in made:
        await suspects.close()


async def test_a_note_counts_workers_that_died_and_nobody_else(connection: Connection, peers: list[Suspects]) -> None:
    one, (first, second, third) = claimed(), peers
    assert await first.note(one) == 0
    assert await second.note(one) == 0, "the first left in good order: it has no row"
    await connection.execute(PEER, (second._worker,))
    assert await third.note(one) == 0, "the second lives: its turn only failed"
    assert await second.note(one) == 0, "the third has no row"
    await connection.execute(DIES, (second._worker,))
    assert await second.note(one) == 0, "it is itself that comes back"
    assert await third.note(one) == 1, "the second is dead"
    assert await third.note(one) == 1, "once"
    await connection.execute(PEER, (third._worker,))
    assert await first.note(one) == 1, "the third lives"
    assert await third.note(one) == 1
    await connection.execute(
        "update revenant.workers set heartbeat_at = now() - interval '9 s' where id = %s", (third._worker,)
    )
    assert await first.note(one) == 2, "it hangs, and will never say what became of it"
    assert await third.note(one) == 2
    await first.clear(one)
    assert await rows(connection, DEATHS) == [(2,)], "a note of somebody else's stays"
    assert await third.clear(one)
    assert await rows(connection, DEATHS) == []


async def test_what_a_worker_that_lives_has_noted_is_under_no_suspicion(
    app: Revenant, connection: Connection, peers: list[Suspects]
) -> None:
    (first, second, _), (a, b) = peers, await waiting(app, connection, "a", "b")
    await connection.execute(PEER, (first._worker,))
    assert await first.note_turn("lane-1", [a, b]) == []
    assert await rows(connection, NOTED) == [
        (
            first._worker,
            "lane-1",
            ["a", "b"],
            [one.deliveries[0].seq for one in (a, b)],
            [one.deliveries[0].seq for one in (a, b)],
        )
    ]
    assert await second.note_turn("lane-1", [a, b]) == []
    await first.clear_turn("lane-1")
    assert [lane for _, lane, *_ in await rows(connection, NOTED)] == ["lane-1"], "the other's note stays"
    assert await rows(connection, SUSPECTED) == []


async def test_what_died_together_is_suspected_and_charged_with_nothing(
    app: Revenant, connection: Connection, peers: list[Suspects]
) -> None:
    (first, second, third), (a, b, c) = peers, await waiting(app, connection, "a", "b", "c")
    for peer in (first, second):
        await connection.execute(PEER, (peer._worker,))
    await first.note_turn("lane-1", [a])
    await first.note_turn("lane-2", [b])
    await connection.execute(DIES, (first._worker,))
    assert sorted(await second.note_turn("lane-1", [c, b, a])) == [1, 2], "the places of those that it leaves out"
    assert await rows(connection, SUSPECTED) == [("a", NOBODY, 0), ("b", NOBODY, 0)]
    assert [worker for worker, *_ in await rows(connection, NOTED)] == [second._worker]
    assert await second.note(a) == 0, "nobody knows which of them it was"
    assert not await second.clear(a), "it waits still: nobody has handled it"
    assert await rows(connection, SUSPECTED) == [("a", NOBODY, 0), ("b", NOBODY, 0)]
    assert await second.note(a) == 0
    await connection.execute("delete from revenant.messages where key = 'a'")
    assert await second.clear(a)
    assert await third.note_turn("lane-1", [c, b, a]) == [1], "one that was handled is cleared"


async def test_what_was_all_that_a_dead_worker_had_in_hand_is_charged_with_its_death(
    app: Revenant, connection: Connection, peers: list[Suspects]
) -> None:
    (first, second, third), (a,) = peers, await waiting(app, connection, "a")
    await connection.execute(PEER, (first._worker,))
    await first.note_turn("lane-1", [a, claimed("gone")])
    await connection.execute(DIES, (first._worker,))
    assert await second.note_turn("lane-1", [a]) == [0]
    assert await rows(connection, SUSPECTED) == [("a", first._worker, 0)]
    assert await second.note(a) == 1
    assert await third.note(a) == 1, "the second has no row: it left"
    assert not await third.clear(a)
    assert await rows(connection, SUSPECTED) == [("a", NOBODY, 1)], "what has not been handled is still charged with it"


async def test_of_many_that_find_a_dead_worker_s_note_each_leaves_its_messages_out(
    app: Revenant, database: str, connection: Connection, peers: list[Suspects]
) -> None:
    """The one that comes second waits for the suspects of the first."""
    (first, second, third), (a, b) = peers, await waiting(app, connection, "a", "b")
    await connection.execute(PEER, (first._worker,))
    await first.note_turn("lane-1", [a, b])
    await connection.execute(DIES, (first._worker,))
    async with await psycopg.AsyncConnection.connect(database) as slow:
        await slow.execute("select revenant.suspect_noted_v1(%s)", (second._worker,))
        noting = asyncio.create_task(third.note_turn("lane-1", [a, b]))
        await eventually(lambda: waits(connection, "advisory"), what="the wait")
        await slow.commit()
    assert sorted(await noting) == [0, 1]


async def test_nothing_is_noted_while_nobody_has_died(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[object] = []
    for name in ("note", "note_turn"):
        monkeypatch.setattr(Suspects, name, lambda _self, *what: noted.append(what))
    for number in range(5):
        assert await app.ref(Account, "a").deposit(1) == number + 1
    assert noted == []
    assert not worker._caution.on


async def test_a_dead_peer_makes_cautious_and_one_that_comes_back_ends_it(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[set[str]] = []
    note = Suspects.note_turn

    async def counted(self: Suspects, lane: str, entities: Sequence[Claimed]) -> list[int]:
        noted.append({delivery.id for entity in entities for delivery in entity.deliveries})
        return await note(self, lane, entities)

    monkeypatch.setattr(Suspects, "note_turn", counted)
    peer = str(uuid4())
    await fall(connection, peer)
    worker._heartbeat.nudge()
    await eventually(lambda: worker._caution.on, what="caution")
    await asyncio.gather(*(app.ref(Account, f"k{number % 20}").deposit(1) for number in range(100)))
    # What a turn had no time for is claimed, and noted, again.
    assert len(set[str]().union(*noted)) == 100, "each message is noted"
    assert len(noted) < 50, "together with others"
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.notes"), what="the notes' end")
    await connection.execute("delete from revenant.workers where id = %s", (peer,))
    await connection.execute(PEER, (peer,))
    worker._heartbeat.nudge()
    await eventually(lambda: not worker._caution.on, what="the end of the caution")
    noted.clear()
    assert await app.ref(Account, "k1").deposit(1) == 6
    assert noted == []


async def test_the_connection_for_notes_is_not_hung_up_while_a_note_is_on_its_way(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when caution ends in that moment."""
    closed: list[str] = []
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned={})
    close, clear_turn = suspects.close, suspects.clear_turn

    async def closing() -> None:
        closed.append("closed")
        await close()

    async def clearing(lane: str) -> None:
        await caution.look(connection, [])
        await clear_turn(lane)

    await caution.look(connection, [])
    await caution.look(connection, [Member("peer", {}, False, False)])
    monkeypatch.setattr(suspects, "close", closing)
    monkeypatch.setattr(suspects, "clear_turn", clearing)
    async with caution.noting([claimed()], lane="lane-1", alone=False):
        assert caution.on
    assert not caution.on
    assert closed == []
    await caution.look(connection, [])
    assert closed == ["closed"]


async def cautious(database: str, connection: Connection) -> bool:
    """Whether a worker that starts now would be cautious."""
    own = str(uuid4())
    suspects = Suspects(url=database, worker_id=own)
    caution = Caution(own_id=own, kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned={})
    found = await rows(connection, "select id::text, kinds, draining, revenant.alive_v1(id) from revenant.workers")
    await caution.look(connection, [Member(*one) for one in found])
    await caution.stop()
    return caution.on


async def test_a_worker_that_starts_is_cautious_of_what_waits_and_nobody_has_outlived(
    app: Revenant, database: str, connection: Connection
) -> None:
    dead, heir = str(uuid4()), str(uuid4())
    await fall(connection, dead)
    assert not await cautious(database, connection), "what it died of is gone, since nothing waits"
    await app.cast(app.ref(Account, "a").deposit(1))
    assert await cautious(database, connection), "it may wait still"
    await connection.execute(LONG_AGO, (dead,))
    assert await cautious(database, connection), "whoever starts so seldom has to remember for long"
    await connection.execute(PEER, (heir,))
    assert await cautious(database, connection), "the other one came after that death"
    await connection.execute(
        "update revenant.workers set started_at = now() - interval '1 hour' where id = %s", (heir,)
    )
    assert not await cautious(database, connection), "the other one lives on through it"
    await connection.execute("update revenant.workers set kinds = '{\"Other\": {}}' where id = %s", (heir,))
    assert await cautious(database, connection), "it could not have died of that"
    await connection.execute(DIES, (heir,))
    assert await cautious(database, connection)


async def test_caution_ends_by_itself_though_the_dead_worker_s_row_is_still_there(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CAUTION_SECONDS", 0.2)
    await fall(connection, str(uuid4()))
    worker._heartbeat.nudge()
    await eventually(lambda: worker._caution._died, what="the news")
    await eventually(lambda: not worker._caution.on, what="the end of the caution")
    worker._heartbeat.nudge()
    assert await app.ref(Account, "a").deposit(1) == 1
    assert not worker._caution.on


async def test_what_a_dead_worker_had_noted_goes_first_and_after_three_deaths_it_is_set_aside(
    app: Revenant, database: str, connection: Connection, settings: Settings
) -> None:
    """The worker that starts finds the notes, though the dead one's row is long gone."""
    call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1), timeout=20))
    await eventually(lambda: value(connection, "select count(*) = 1 from revenant.messages"), what="the message")
    await connection.execute(
        "insert into revenant.suspects (bucket, id, kind, key, seq, worker, deaths) "
        "select bucket, id, kind, key, seq, gen_random_uuid(), %s from revenant.messages",
        (DEADLY,),
    )
    worker = app.worker()
    await worker.start()
    try:
        with pytest.raises(HandlerCrashed, match="3 worker processes died"):
            await call
        assert not worker._caution.on, "nobody else pays"
        await eventually(lambda: not worker._caution._suspected, what="the end of the suspicion")
    finally:
        await worker.stop(drain_timeout=5)
    assert await rows(connection, "select error->>'error', error->'answered' from revenant.dead") == [
        ("HandlerCrashed", True)
    ]
    assert await value(connection, "select count(*) from revenant.entities") == 0


async def test_a_suspect_runs_with_nothing_beside_it_and_the_others_together(
    app: Revenant, database: str, connection: Connection, peers: list[Suspects]
) -> None:
    """So a death is only ever charged to the one that ran."""
    found = await waiting(app, connection, *(f"k{number}" for number in range(6)))
    await peers[0].note_turn("lane-1", found[:3])
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    condemned: dict[str, Sentence] = {}
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned=condemned)
    await caution.look(connection, [])
    of = {entity.key: entity for entity in found}
    running: list[str] = []
    together: set[tuple[str, ...]] = set()
    claimed_alone = asyncio.Event()

    async def run(hints: Sequence[Hint], *, most: int = 0, alone: bool = False) -> list[Hint]:
        keys = [hint.key for hint in hints]
        if alone:
            claimed_alone.set()
        async with caution.noting([of[key] for key in keys], lane="lane-1", alone=alone) as left_out:
            assert not left_out
            running.extend(keys)
            if "k5" in keys:
                # It goes on for longer than whoever would not wait for it takes to write a note.
                await claimed_alone.wait()
                for _ in range(200):
                    await value(connection, "select 1")
            await asyncio.sleep(0)
            assert not alone or (running, most) == (keys, 1)
            together.add(tuple(running))
            await connection.execute("delete from revenant.messages where key = any(%s)", (keys,))
            for key in keys:
                running.remove(key)
        return list(hints)

    hints = [Hint(entity.bucket, "Account", entity.key, entity.deliveries[0].seq) for entity in found]
    lanes = [caution.take(part, run) for part in (hints[:4], hints[4:5], hints[5:])]
    again = await asyncio.gather(*lanes)
    assert sorted(hint for part in again for hint in part) == sorted(hints)
    assert any({"k3", "k5"} <= set(beside) for beside in together), "what is under no suspicion runs together"
    assert {("k0",), ("k1",), ("k2",)} <= together
    assert not caution._suspected, "each has been handled, and is cleared"
    await caution.stop()


async def test_what_was_noted_goes_before_everything_that_waits(
    app: Revenant, connection: Connection, database: str, peers: list[Suspects]
) -> None:
    (one,) = await waiting(app, connection, "a")
    await peers[0].note_turn("lane-1", [one])
    agenda = Agenda()
    agenda.add([Hint(0, "Account", f"k{number}", 0) for number in range(100)], backlog=True)
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=agenda, suspects=suspects, condemned={})
    await caution.look(connection, [])
    assert not caution.on
    assert (await agenda.take(1)).hints == [Hint(one.bucket, "Account", "a", one.deliveries[0].seq)]


@pytest.mark.parametrize("kind", [Strict, Relaxed])
async def test_a_worker_that_has_not_heard_of_a_suspect_is_told_by_its_own_note(
    kind: type[Strict], database: str, connection: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that takes an entity in the moment in which the other one dies: before it looks at the fleet."""
    handled: list[tuple[str, list[str]]] = []
    note, note_turn = Suspects.note, Suspects.note_turn

    async def noted(self: Suspects, entity: Claimed) -> int:
        handled.append(("alone", [entity.key]))
        return await note(self, entity)

    async def turn_noted(self: Suspects, lane: str, entities: Sequence[Claimed]) -> list[int]:
        found = await note_turn(self, lane, entities)
        handled.append(("together", [one.key for place, one in enumerate(entities) if place not in found]))
        return found

    async def nothing(_self: Caution, _connection: Connection) -> None:
        pass

    monkeypatch.setattr(Suspects, "note", noted)
    monkeypatch.setattr(Suspects, "note_turn", turn_noted)
    monkeypatch.setattr(Caution, "_suspect", nothing)
    async with Revenant(entities=[Strict, Relaxed], database_url=database, settings=settings) as app:
        refs = [app.ref(kind, key) for key in ("guilty", "other")]
        calls = [asyncio.create_task(app.call(ref.step(), timeout=20)) for ref in refs]
        await eventually(lambda: value(connection, "select count(*) = 2 from revenant.messages"), what="the messages")
        await connection.execute(
            "insert into revenant.suspects (bucket, id, kind, key, seq, worker) "
            "select bucket, id, kind, key, seq, %s from revenant.messages where key = 'guilty'",
            (NOBODY,),
        )
        await fall(connection, str(uuid4()))
        worker = app.worker()
        await worker.start()
        try:
            assert await asyncio.gather(*calls) == [1, 1]
        finally:
            await worker.stop(drain_timeout=5)
    assert [keys for how, keys in handled if how == "alone"] == [["guilty"]]
    assert [key for how, keys in handled if how == "together" for key in keys] == ["other"]


async def test_a_suspect_that_others_have_handled_is_one_no_more(
    app: Revenant, connection: Connection, database: str, peers: list[Suspects]
) -> None:
    found = await waiting(app, connection, "a", "b")
    await peers[0].note_turn("lane-1", found)
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned={})
    await caution.look(connection, [])
    assert set(caution._suspected) == {("Account", "a"), ("Account", "b")}
    await connection.execute("delete from revenant.messages where key = 'a'")
    await caution.look(connection, [])
    assert set(caution._suspected) == {("Account", "b")}


async def test_a_suspect_that_waits_still_is_one_although_the_fleet_was_looked_at_while_it_ran(
    app: Revenant, connection: Connection, database: str, peers: list[Suspects]
) -> None:
    """As one for a busy partner: while it runs its note is this worker's own, and no dead one's."""
    first, second = await waiting(app, connection, "a", "b")
    await peers[0].note_turn("lane-1", [first, second])
    suspects = Suspects(url=database, worker_id=(own := str(uuid4())))
    caution = Caution(own_id=own, kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned={})
    await caution.look(connection, [])
    async with caution.noting([first], lane="lane-1", alone=True):
        await caution.look(connection, [])
    assert set(caution._suspected) == {("Account", "a"), ("Account", "b")}
    await caution.stop()


async def test_where_no_note_can_be_written_work_goes_on(app: Revenant, worker: Worker, connection: Connection) -> None:
    """As on a server that has no connection left."""
    await fall(connection, str(uuid4()))
    await connection.execute("drop function revenant.note_turn_v1")
    worker._heartbeat.nudge()
    await eventually(lambda: worker._caution.on, what="caution")
    account = app.ref(Account, "a")
    assert [await app.call(account.deposit(1), timeout=10) for _ in range(3)] == [1, 2, 3]
    assert worker._caution.on
