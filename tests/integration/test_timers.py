"""Messages for later: woken for in time, cancelled by id, and released in crowds behind what is live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import new_id
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import ConfigurationError, DatabaseUnavailable, HandlerError, ReplyNotFound
from revenant.queue import timetable
from revenant.queue.link import Link
from revenant.queue.records import Hint
from revenant.queue.timetable import DUE_CHANNEL, LONGEST_SLEEP
from revenant.worker.agenda import Agenda
from revenant.worker.timing import ticker as tickers
from revenant.worker.timing.alarm import SHORTEST_SLEEP
from revenant.worker.timing.ticker import Ticker, hint_payloads
from revenant.worker.worker import Worker
from tests.timed import Alarmed, set_clock
from tests.tools import anybodys_lateness, eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
ROUND_TRIPS = 3
"""What is due is found, claimed and committed, one after another."""
HOUR = timedelta(hours=1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Alarmed], database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
def ticker(database: str) -> Ticker:
    return Ticker(desk=Link(url=database, role="desk"), agenda=Agenda(), kinds=["Alarmed"])


async def rung(app: Revenant, words: list[str], key: str = "k") -> bool:
    return await app.ref(Alarmed, key).read() == words


async def heard(connection: Connection, act: Any) -> list[float]:
    """Return what workers hear of due times while something is done."""
    await connection.execute(f"listen {DUE_CHANNEL}")
    await act
    return [float(note.payload) async for note in connection.notifies(timeout=0.2)]


async def test_the_ticker_sleeps_until_the_next_due_time_and_not_shorter(
    app: Revenant, connection: Connection, ticker: Ticker
) -> None:
    await app.cast(app.ref(Alarmed, "k").ring(), at=NOON)
    for before, pause in ((timedelta(hours=1), LONGEST_SLEEP), (timedelta(seconds=3.25), 3.25)):
        await set_clock(connection, NOON - before)
        assert await ticker.run_once(connection) == pause
    await set_clock(connection, NOON - timedelta(microseconds=1))
    assert await ticker.run_once(connection) == SHORTEST_SLEEP
    assert await rows(connection, "select * from revenant.messages") == []
    await set_clock(connection, NOON)
    assert await ticker.run_once(connection) == LONGEST_SLEEP
    assert await value(connection, "select count(*) from revenant.messages") == 1


async def test_what_is_due_sooner_than_the_ticker_knows_wakes_it(drowsy: None, app: Revenant, worker: Worker) -> None:
    """From a client, from a turn, and for a failed cast's next attempt; it would sleep for an hour otherwise."""
    ticker = worker.clockwork.alarms[0]
    await eventually(lambda: ticker._rings_at > 0)
    soon = timedelta(seconds=0.1)
    await app.cast(app.ref(Alarmed, "k").ring("client"), after=soon)
    await eventually(lambda: rung(app, ["client"]))
    await app.ref(Alarmed, "k").cast_later("turn", soon)
    await eventually(lambda: rung(app, ["client", "turn"]))


async def test_workers_hear_only_of_what_is_due_before_they_look_anyhow(app: Revenant, connection: Connection) -> None:
    ring = app.ref(Alarmed, "k").ring
    assert await heard(connection, app.cast(ring(), after=timedelta(seconds=LONGEST_SLEEP + 1))) == []
    (seconds,) = await heard(connection, app.cast(ring(), after=timedelta(seconds=2)))
    assert 0 < seconds <= 2


BEFORE = """
select revenant.schedule_batch_v1(
    %s, '{1}', '{Alarmed}', '{k}', array[%s]::uuid[], '{ring}', array['{}'], '{NULL}', '{0}', '{1.5}', '{NULL}'
)
"""


async def test_a_client_of_before_is_heard_of_too(connection: Connection) -> None:
    """Its workers looked twice a second; those of now do not, so that its message would come late."""
    (seconds,) = await heard(connection, connection.execute(BEFORE, (uuid4(), new_id(1))))
    assert seconds == pytest.approx(1.5, abs=0.5)
    assert await value(connection, "select count(*) from revenant.scheduled") == 1


async def test_a_worker_of_before_releases_what_is_due_too(app: Revenant, connection: Connection) -> None:
    await app.cast(app.ref(Alarmed, "k").ring(), at=NOON)
    await set_clock(connection, NOON)
    ((hint, _),) = await rows(connection, "select * from revenant.release_due_v1(10)")
    assert "Alarmed" in hint
    assert await value(connection, "select count(*) from revenant.messages") == 1


async def test_the_ticker_ignores_what_it_knows_already(app: Revenant, connection: Connection, ticker: Ticker) -> None:
    await app.cast(app.ref(Alarmed, "k").ring(), at=NOON)
    await set_clock(connection, NOON - timedelta(seconds=2))
    await ticker.run_once(connection)
    ticker.expect(3.0)
    assert not ticker._wake.is_set()
    ticker.expect(0.5)
    assert ticker._wake.is_set()


async def test_a_crowd_is_released_in_pages_behind_what_is_live(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setattr(tickers, "PAGE", 10)
    monkeypatch.setattr(tickers, "HIGH_WATER", 15)
    for number in range(35):
        await app.cast(app.ref(Alarmed, f"k{number}").ring(), at=NOON)
    agenda = Agenda()
    ticker = Ticker(desk=Link(url=database, role="desk"), agenda=agenda, kinds=["Alarmed"])
    await set_clock(connection, NOON)
    waiting = "select count(*) from revenant.messages"
    await connection.execute("listen revenant_wake")
    for released in (10, 20, 20):
        assert await ticker.run_once(connection) < LONGEST_SLEEP
        assert await value(connection, waiting) == released, "more than a page, or before the last were handled"
    assert [note async for note in connection.notifies(timeout=0)] == [], "a crowd is not told to everybody"
    live = Hint(1, "Alarmed", "live", 1)
    agenda.add([live])
    portion = await agenda.take(4)
    assert portion.hints[0] == live, "a live message waits behind the crowd"
    while len(agenda):
        await agenda.take(20)
    await ticker.run_once(connection)
    assert await ticker.run_once(connection) == LONGEST_SLEEP
    assert await value(connection, waiting) == 35
    told = [note.payload async for note in connection.notifies(timeout=0.2)]
    assert len(told) == 1
    assert told[0].count("Alarmed") == 5


def test_wake_ups_name_all_and_stay_short() -> None:
    hints = [Hint(255, "k" * 128, "ü" * 256 + str(number), 2**62) for number in range(100)]
    pages = hint_payloads(hints)
    assert all(len(page.encode()) < 8000 for page in pages)
    assert sum(page.count("üü0") + page.count("k" * 128) for page in pages) >= 100
    assert len(pages) < 12
    assert hint_payloads([]) == []


async def test_a_scheduled_message_is_cancelled_by_its_id_once(app: Revenant, connection: Connection) -> None:
    message_id = await app.cast(app.ref(Alarmed, "k").ring(), after=HOUR)
    other = await app.cast(app.ref(Alarmed, "k").ring(), after=HOUR)
    assert await app.cancel(message_id) is True
    assert await app.cancel(message_id) is False
    assert await rows(connection, "select id::text from revenant.scheduled") == [(other,)]


async def test_what_is_due_or_was_handled_is_not_cancelled(app: Revenant, worker: Worker) -> None:
    message_id = await app.cast(app.ref(Alarmed, "k").ring("done"))
    await eventually(lambda: rung(app, ["done"]))
    assert await app.cancel(message_id) is False
    assert await app.cancel(new_id(3)) is False
    with pytest.raises(ReplyNotFound, match="no message's id"):
        await app.cancel("nonsense")


async def test_a_release_and_a_cancellation_of_one_message_do_not_both_succeed(
    app: Revenant, connection: Connection, database: str, ticker: Ticker
) -> None:
    message_id = await app.cast(app.ref(Alarmed, "k").ring(), at=NOON)
    await set_clock(connection, NOON)
    async with await psycopg.AsyncConnection.connect(database) as rival:
        await rival.execute("select revenant.cancel_v1(array[%s]::uuid[])", (message_id,))
        await ticker.run_once(connection)
        assert await rows(connection, "select * from revenant.messages") == []
    assert await rows(connection, "select * from revenant.scheduled") == []


async def test_a_cancellation_whose_answer_is_lost_says_what_is_known(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = await app.cast(app.ref(Alarmed, "k").ring(), after=HOUR)
    cancel = timetable.cancel
    lost = True

    async def cancel_and_lose(live: Connection, ids: Any) -> list[str]:
        nonlocal lost
        done = await cancel(live, ids)
        if lost:
            lost = False
            raise psycopg.OperationalError("the line is dead")
        return done

    monkeypatch.setattr(timetable, "cancel", cancel_and_lose)
    with pytest.raises(DatabaseUnavailable, match="unknown"):
        await app.cancel(message_id)
    assert await rows(connection, "select * from revenant.scheduled") == []


async def test_a_turn_cancels_with_its_commit_only(app: Revenant, worker: Worker, connection: Connection) -> None:
    alarmed = app.ref(Alarmed, "k")
    message_id = await alarmed.cast_later("never", HOUR)
    with pytest.raises(HandlerError):
        await alarmed.cancel_then_fail(message_id)
    assert await rows(connection, "select id::text from revenant.scheduled") == [(message_id,)]
    await app.ref(Alarmed, "other").cancel(message_id)
    await alarmed.cast_and_cancel()
    assert await rows(connection, "select * from revenant.scheduled") == []


async def test_turns_that_cancel_the_same_messages_do_not_wait_for_each_other_in_a_ring(
    app: Revenant, connection: Connection, database: str
) -> None:
    ids = sorted([await app.cast(app.ref(Alarmed, "k").ring(), after=HOUR) for _ in range(2)])
    async with (
        await psycopg.AsyncConnection.connect(database) as rival,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as turn,
    ):
        await rival.execute("select 1 from revenant.scheduled where id = %s for update", (ids[0],))
        cancelling = "select revenant.cancel_v1(array[%s, %s]::uuid[])"
        waiting = asyncio.create_task(turn.execute(cancelling, (ids[1], ids[0])))
        await eventually(lambda: waits(connection))
        # It waits for the first by id, and has not touched the second.
        await rival.execute("select 1 from revenant.scheduled where id = %s for update nowait", (ids[1],))
        await rival.rollback()
        await waiting
    assert await rows(connection, "select * from revenant.scheduled") == []


async def test_inside_a_handler_the_turn_cancels_and_not_the_application(database: str, settings: Settings) -> None:
    class Rash(Entity):
        @handler
        async def cancel(self, message_id: str) -> bool:
            return await application.cancel(message_id)

    async with Revenant(entities=[Rash], database_url=database, settings=settings) as application:
        worker = application.worker()
        await worker.start()
        with pytest.raises(ConfigurationError, match=r"Use self\.turn\.cancel"):
            await application.ref(Rash, "k").cancel(new_id(1))
        await worker.stop()


def test_blocking_code_cancels_too(database: str, settings: Settings) -> None:
    application = Revenant(entities=[Alarmed], database_url=database, settings=settings)
    with application.sync() as rv:
        message_id = rv.cast(rv.ref(Alarmed, "k").ring(), after=HOUR)
        assert rv.cancel(message_id) is True
        assert rv.cancel(message_id) is False


async def test_a_cancellation_before_the_start_is_refused(database: str) -> None:
    with pytest.raises(ConfigurationError, match="was to be cancelled before the application was started"):
        await Revenant(database_url=database).cancel(new_id(1))


async def test_a_hundred_timers_at_one_instant_all_fire_once(app: Revenant, worker: Worker) -> None:
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    await asyncio.gather(*(app.cast(app.ref(Alarmed, f"k{n % 10}").ring(str(n)), at=at) for n in range(100)))
    for number in range(10):
        wanted = {str(n) for n in range(number, 100, 10)}
        await eventually(lambda number=number, wanted=wanted: same(app, f"k{number}", wanted))


async def same(app: Revenant, key: str, wanted: set[str]) -> bool:
    found = await app.ref(Alarmed, key).read()
    assert len(found) == len(set(found))
    return set(found) == wanted


async def test_what_is_due_is_handled_within_50_ms(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    """By the database's clock, from due to committed; and what a busy machine takes of anybody, for each round trip."""
    many = 15
    for attempt in range(5):
        start = await value(connection, "select clock_timestamp()") + timedelta(seconds=0.2)
        due = {f"{attempt}-{number}": start + timedelta(seconds=0.037 * number) for number in range(many)}
        await asyncio.gather(*(app.cast(app.ref(Alarmed, key).ring(), at=at) for key, at in due.items()))
        committed = "select key, updated_at from revenant.entities where starts_with(key, %s)"
        others = await anybodys_lateness(database, [0.2 + 0.037 * number for number in range(many)])
        await eventually(lambda a=attempt: count_of(connection, f"{a}-", many), what="all timers")
        late = [at - due[key] for key, at in await rows(connection, committed, f"{attempt}-")]
        assert min(late) >= timedelta(0), "before its time"
        if median(late) < timedelta(seconds=0.05 + ROUND_TRIPS * others):
            return
    pytest.fail(f"half of what was due came {median(late)} late or more, and anybody {others:.3f} s")


async def count_of(connection: Connection, prefix: str, wanted: int) -> bool:
    query = "select count(*) = %s from revenant.entities where starts_with(key, %s)"
    return bool(await value(connection, query, wanted, prefix))
