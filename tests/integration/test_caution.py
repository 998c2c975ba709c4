"""Caution: when workers turn cautious and when it ends, what a note counts, and that nobody pays for it otherwise."""

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
from revenant.entities.failure import Sentence
from revenant.errors import HandlerCrashed
from revenant.queue.records import Claimed, Delivery, Hint
from revenant.worker import caution as module
from revenant.worker.agenda import Agenda
from revenant.worker.caution import Caution
from revenant.worker.fleet import Member
from revenant.worker.suspects import DEADLY, Suspects
from revenant.worker.worker import Worker
from tests.entities import Account
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
PEER = (
    "insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start) "
    'select %s, \'peer\', 1, \'{"Account": {"vsn": 1, "handlers": []}}\', 1, 0, a.pid, a.backend_start '
    "from pg_stat_get_activity(pg_backend_pid()) a"
)
DIES = "update revenant.workers set backend_start = now() - make_interval(days => 1) where id = %s"
DEATHS = "select deaths from revenant.suspects"


def claimed() -> Claimed:
    bucket = bucket_of("Account", "a")
    delivery = Delivery(7, "(0,1)", new_id(bucket), "deposit", "{}", None, None, 0, None)
    return Claimed(bucket, "Account", "a", None, 0, None, None, [delivery])


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
    await first.clear(one)
    assert await rows(connection, DEATHS) == [(1,)], "a note of somebody else's stays"
    await third.clear(one)
    assert await rows(connection, DEATHS) == []


async def test_no_message_is_noted_while_nobody_has_died(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[object] = []
    monkeypatch.setattr(Suspects, "note", lambda _self, entity: noted.append(entity))
    for number in range(5):
        assert await app.ref(Account, "a").deposit(1) == number + 1
    assert noted == []
    assert not worker._caution.on


async def test_a_dead_peer_makes_cautious_and_one_that_comes_back_ends_it(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    note = Suspects.note

    async def counted(self: Suspects, entity: Claimed) -> int:
        noted.append(entity.deliveries[0].handler)
        return await note(self, entity)

    monkeypatch.setattr(Suspects, "note", counted)
    peer = str(uuid4())
    await connection.execute(PEER, (peer,))
    await connection.execute(DIES, (peer,))
    worker._heartbeat.nudge()
    await eventually(lambda: worker._caution.on, what="caution")
    await asyncio.gather(*(app.ref(Account, f"k{number}").deposit(1) for number in range(10)))
    assert noted == ["deposit"] * 10, "each message is noted"
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.suspects"), what="the notes' end")
    await connection.execute("delete from revenant.workers where id = %s", (peer,))
    await connection.execute(PEER, (peer,))
    worker._heartbeat.nudge()
    await eventually(lambda: not worker._caution.on, what="the end of the caution")
    assert await app.ref(Account, "k1").deposit(1) == 2
    assert len(noted) == 10


async def test_caution_ends_by_itself_though_the_dead_worker_s_row_is_still_there(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CAUTION_SECONDS", 0.2)
    peer = str(uuid4())
    await connection.execute(PEER, (peer,))
    await connection.execute(DIES, (peer,))
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
        assert worker._caution.on
    finally:
        await worker.stop(drain_timeout=5)
    assert await rows(connection, "select error->>'error', error->'answered' from revenant.dead") == [
        ("HandlerCrashed", True)
    ]
    assert await value(connection, "select count(*) from revenant.entities") == 0


async def test_one_message_of_the_process_runs_under_a_note_at_a_time(connection: Connection, database: str) -> None:
    """So a death is only ever blamed on the one that ran."""
    condemned: dict[str, Sentence] = {}
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=Agenda(), suspects=suspects, condemned=condemned)
    await caution.look(connection, [Member("peer", {}, False, False)])
    running, most_running = 0, 0

    async def run(hints: Sequence[Hint], *, most: int = 0, noted: bool = False) -> list[Hint]:
        nonlocal running, most_running
        assert (len(hints), most, noted) == (1, 1, True)
        running += 1
        most_running = max(most_running, running)
        await asyncio.sleep(0)
        running -= 1
        return list(hints)

    hints = [Hint(0, "Account", f"k{number}", number) for number in range(5)]
    lanes = [caution.take(hints, run) for _ in range(4)]
    assert await asyncio.gather(*lanes) == [hints] * 4
    assert most_running == 1
    await caution.stop()


async def test_what_was_noted_goes_before_everything_that_waits(connection: Connection, database: str) -> None:
    one, agenda = claimed(), Agenda()
    dead = Suspects(url=database, worker_id=str(uuid4()))
    await dead.note(one)
    agenda.add([Hint(0, "Account", f"k{number}", 0) for number in range(100)], backlog=True)
    suspects = Suspects(url=database, worker_id=str(uuid4()))
    caution = Caution(own_id=str(uuid4()), kinds=["Account"], agenda=agenda, suspects=suspects, condemned={})
    await caution.look(connection, [])
    assert caution.on
    assert (await agenda.take(1)).hints == [Hint(one.bucket, "Account", "a", 7)]
    await dead.close()


async def test_where_no_note_can_be_written_work_goes_on(app: Revenant, worker: Worker, connection: Connection) -> None:
    """As on a server that has no connection left."""
    peer = str(uuid4())
    await connection.execute(PEER, (peer,))
    await connection.execute(DIES, (peer,))
    await connection.execute("drop function revenant.note_suspect_v1")
    worker._heartbeat.nudge()
    await eventually(lambda: worker._caution.on, what="caution")
    account = app.ref(Account, "a")
    assert [await app.call(account.deposit(1), timeout=10) for _ in range(3)] == [1, 2, 3]
    assert worker._caution.on
