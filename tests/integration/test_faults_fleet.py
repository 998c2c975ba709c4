"""Workers that come and go: nobody refuses what a worker that is in the table knows, however new it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import new_id
from revenant.config import Settings
from revenant.errors import CallTimeout, UnknownHandler
from revenant.sql import statement
from revenant.worker import heartbeat
from revenant.worker.lanes import aftermath
from revenant.worker.worker import Worker
from tests.deploys import NewParcel, OldParcel
from tests.tools import eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
GATE = """
create function public.gate() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(4711);
    return null;
end
$$;
create trigger gate before insert or update on revenant.workers execute function public.gate();
select pg_advisory_lock(4711);
"""
OPEN = "select pg_advisory_unlock(4711)"
ALL_REST = """
select count(*) = 0 from pg_stat_activity
where datname = current_database() and application_name = 'revenant/desk' and state = 'active'
"""
ROW = """
insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start)
values (%s, 'elsewhere', 1, '{"Parcel": {"vsn": 1, "handlers": ["stamp"]}}', 1, 0, 1, now())
"""


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    """The application before a deploy: its worker has no handler `stamp`."""
    async with Revenant(entities=[OldParcel], database_url=database, settings=settings) as served:
        yield served


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats so seldom that no worker hears of another by them."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 600.0)
    monkeypatch.setattr(heartbeat.Heartbeat, "nudge", lambda _self: None)
    monkeypatch.setattr(aftermath, "BLOCKED_SECONDS", 0.05)


async def test_a_handler_of_a_worker_that_has_just_come_is_not_refused(
    seldom: None, app: Revenant, worker: Worker, connection: Connection
) -> None:
    assert await app.ref(NewParcel, "a").add(1) == 1
    await connection.execute(ROW, (new_id(0),))
    with pytest.raises(CallTimeout):
        await app.call(app.ref(NewParcel, "a").stamp(), timeout=0.5)
    message_id = await app.cast(app.ref(NewParcel, "b").stamp())
    assert await app.ref(NewParcel, "c").add(1) == 1
    left = "select key, id::text from revenant.messages order by key"
    assert [key for key, _ in await rows(connection, left)] == ["a", "b"]
    # Once the row is gone, nobody is left who could know it.
    await connection.execute("delete from revenant.workers where host = 'elsewhere'")
    with pytest.raises(UnknownHandler, match="stamp"):
        await app.call(app.ref(NewParcel, "a").stamp(), timeout=10)
    dead = "select id::text from revenant.dead"
    assert await eventually(lambda: rows(connection, dead), what="the end of the cast") == [(message_id,)]


async def test_the_table_of_workers_is_read_once_a_turn_at_most(
    seldom: None, app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        await app.cast(app.ref(NewParcel, "a").stamp())
    looks: list[str] = []

    def counted(name: Any) -> Any:
        looks.append(name)
        return statement(name)

    monkeypatch.setattr("revenant.worker.lanes.census.statement", counted)
    late = app.worker()
    await late.start()
    await eventually(lambda: value(connection, "select count(*) = 100 from revenant.dead"))
    await late.stop(drain_timeout=5)
    assert 1 <= len(looks) <= late.counters.turns
    assert late.counters.turns < 20


async def left(one: heartbeat.Heartbeat) -> None:
    """End as a worker does."""
    await one.stop()
    await one.leave()


async def test_a_beat_that_arrives_after_its_worker_has_left_writes_no_row(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(GATE)
    worker._heartbeat.nudge()
    await eventually(lambda: waits(connection, "advisory"), what="a beat under way")
    await left(worker._heartbeat)
    assert await waits(connection, "advisory"), "its backend has not heard that nobody waits for it any more"
    await connection.execute(OPEN)
    await eventually(lambda: value(connection, ALL_REST), what="the end of that beat")
    assert await rows(connection, "select id from revenant.workers") == []


async def test_a_worker_that_is_stopped_while_it_enrols_writes_no_row_afterwards(
    app: Revenant, connection: Connection
) -> None:
    worker = app.worker()
    await connection.execute(GATE)
    await worker._heartbeat.start()
    await eventually(lambda: waits(connection, "advisory"), what="the enrolment under way")
    leaving = asyncio.create_task(left(worker._heartbeat))
    await asyncio.wait([leaving], timeout=0.2)
    await connection.execute(OPEN)
    await leaving
    await eventually(lambda: value(connection, ALL_REST), what="the end of the enrolment")
    assert await rows(connection, "select id from revenant.workers") == []
    await worker.stop()


async def test_an_enrolment_that_does_not_end_keeps_nobody_from_stopping(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "ENROLMENT_SECONDS", 0.05)
    worker = app.worker()
    await connection.execute(GATE)
    await worker._heartbeat.start()
    await eventually(lambda: waits(connection, "advisory"), what="the enrolment under way")
    await worker._heartbeat.stop()
    assert await waits(connection, "advisory")
    await connection.execute(OPEN)
    await worker.stop()


async def test_a_worker_whose_row_was_tidied_away_while_it_hung_enrols_anew(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    known = "select id::text, kinds from revenant.workers"
    before = await rows(connection, known)
    await connection.execute("delete from revenant.workers")
    await worker._look_at_fleet()
    assert await eventually(lambda: rows(connection, known), what="the row") == before
    assert await app.ref(NewParcel, "a").add(1) == 1
