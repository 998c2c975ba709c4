"""Schedules of an application: each fires once in the fleet, whatever starts, stops, and is deployed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from revenant import Revenant, Schedule, Settings, ref
from revenant.errors import ConfigurationError
from revenant.queue.link import Link
from revenant.queue.views import schedules as all_schedules
from revenant.worker.timing.schedules import Schedules
from tests.timed import Alarmed, set_clock
from tests.tools import eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECONDS, MINUTE, HOUR, DAY = timedelta(seconds=40), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SENT = "select args ->> 'word' from revenant.messages order by seq"


def hourly(word: str = "a", name: str = "s", **more: Any) -> Schedule:
    return Schedule(name, ref(Alarmed, "k").ring(word), **{"every": HOUR, **more})


def loop(database: str, *schedules: Schedule) -> Schedules:
    """Return what one worker of an application with these schedules runs."""
    return Schedules(desk=Link(url=database, role="desk"), schedules=schedules)


@asynccontextmanager
async def served(database: str, settings: Settings, *schedules: Schedule) -> AsyncIterator[Revenant]:
    async with Revenant(
        entities=[Alarmed], database_url=database, settings=settings, schedules=schedules
    ) as application:
        worker = application.worker()
        await worker.start()
        await worker.ready()
        yield application
        await worker.stop()


async def sent(connection: Connection) -> list[str]:
    return [word for (word,) in await rows(connection, SENT)]


async def due(connection: Connection) -> datetime:
    found: datetime = await value(connection, "select due from revenant.schedules")
    return found


async def test_a_worker_registers_and_fires_the_schedules_of_its_application(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, hourly(every=timedelta(seconds=1))) as app:
        await eventually(lambda: rung_often(app, 2))
    (row,) = await all_schedules(connection)
    assert (row["name"], row["every"], row["kind"], row["key"], row["handler"]) == ("s", 1.0, "Alarmed", "k", "ring")
    assert row["live"] is True


async def rung_often(app: Revenant, times: int) -> bool:
    return len(await app.ref(Alarmed, "k").read()) >= times


async def test_rivals_fire_each_occurrence_exactly_once(database: str, connection: Connection) -> None:
    loops = [loop(database, hourly()) for _ in range(4)]
    connections = [await psycopg.AsyncConnection.connect(database, autocommit=True) for _ in loops]
    for hours in range(6):
        for one in connections:
            await set_clock(one, NOON + hours * HOUR)
        await asyncio.gather(*(each.run_once(one) for each, one in zip(loops, connections, strict=True)))
    for one in connections:
        await one.close()
    assert await sent(connection) == ["a"] * 5


async def test_a_schedule_fires_by_the_clock_of_its_zone(database: str, connection: Connection) -> None:
    nightly = hourly(every=None, cron="30 2 * * *", timezone="Europe/Berlin")
    worker = loop(database, nightly)
    await set_clock(connection, "2026-10-24 12:00+00")
    await worker.run_once(connection)
    assert await due(connection) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for moment in ("2026-10-25 00:30+00", "2026-10-25 01:30+00", "2026-10-25 12:00+00"):
        await set_clock(connection, moment)
        await worker.run_once(connection)
    assert await sent(connection) == ["a"]
    assert await due(connection) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(("missed", "times"), [("skip", 0), ("once", 1), ("all", 10)])
async def test_what_was_missed_while_no_worker_ran_is_made_up_as_asked(
    database: str, connection: Connection, missed: Any, times: int
) -> None:
    await set_clock(connection, NOON)
    await loop(database, hourly(missed=missed)).run_once(connection)
    await set_clock(connection, NOON + 10.5 * HOUR)
    restarted = loop(database, hourly(missed=missed))
    await restarted.run_once(connection)
    assert await sent(connection) == ["a"] * times
    assert await due(connection) == NOON + 11 * HOUR


async def test_all_that_was_missed_comes_in_bounded_pages(database: str, connection: Connection) -> None:
    await set_clock(connection, NOON)
    worker = loop(database, hourly(missed="all"))
    await worker.run_once(connection)
    await set_clock(connection, NOON + 150 * HOUR)
    for times in (100, 150, 150):
        await worker.run_once(connection)
        assert len(await sent(connection)) == times


async def test_a_changed_schedule_takes_over_and_its_occurrence_is_neither_lost_nor_doubled(
    database: str, connection: Connection
) -> None:
    old, new = loop(database, hourly("old")), loop(database, hourly("new"))
    await set_clock(connection, NOON)
    await old.run_once(connection)
    await set_clock(connection, NOON + HOUR)
    # Deployed at the very moment at which it is due, and before the old one has looked.
    await new.run_once(connection)
    await old.run_once(connection)
    await new.run_once(connection)
    assert await sent(connection) == ["new"]
    assert await due(connection) == NOON + 2 * HOUR


async def test_another_time_starts_from_now(database: str, connection: Connection) -> None:
    await set_clock(connection, NOON)
    await loop(database, hourly()).run_once(connection)
    await set_clock(connection, NOON + 30 * MINUTE)
    await loop(database, hourly(every=DAY)).run_once(connection)
    assert await due(connection) == NOON + 30 * MINUTE + DAY


async def test_an_old_worker_that_is_started_again_does_not_bring_its_definition_back(
    database: str, connection: Connection
) -> None:
    await set_clock(connection, NOON)
    await loop(database, hourly("old")).run_once(connection)
    await loop(database, hourly("new")).run_once(connection)
    await loop(database, hourly("old")).run_once(connection)
    await set_clock(connection, NOON + MINUTE)
    await loop(database, hourly("old")).run_once(connection)
    assert await value(connection, "select args ->> 'word' from revenant.schedules") == "new"


async def test_when_the_newer_workers_are_gone_the_older_definition_takes_over_again(
    database: str, connection: Connection
) -> None:
    """A deploy that is rolled back; what was due in between comes late, and is not lost."""
    old, new = loop(database, hourly("old")), loop(database, hourly("new"))
    await set_clock(connection, NOON)
    await old.run_once(connection)
    await new.run_once(connection)
    start = NOON + HOUR - MINUTE
    await set_clock(connection, start)
    await new.run_once(connection)
    for step in range(1, 5):
        await set_clock(connection, start + step * SECONDS)
        await old.run_once(connection)
    assert await sent(connection) == ["old"]
    # And the newer one, deployed once more, takes over at once.
    await new.run_once(connection)
    assert await value(connection, "select args ->> 'word' from revenant.schedules") == "new"


async def test_a_removed_schedule_does_not_fire_and_is_forgotten_after_a_day(
    database: str, connection: Connection
) -> None:
    await set_clock(connection, NOON)
    await loop(database, hourly(), hourly("b", "stays")).run_once(connection)
    fewer = loop(database, hourly("b", "stays"))
    await set_clock(connection, NOON + HOUR)
    await fewer.run_once(connection)
    assert await sent(connection) == ["b"]
    assert [(row["name"], row["live"]) for row in await all_schedules(connection)] == [("s", False), ("stays", True)]
    await set_clock(connection, NOON + DAY + 2 * MINUTE)
    await fewer.run_once(connection)
    assert [row["name"] for row in await all_schedules(connection)] == ["stays"]


async def test_workers_of_other_applications_leave_a_schedule_alone(database: str, connection: Connection) -> None:
    await set_clock(connection, NOON)
    await loop(database, hourly("a", "of one")).run_once(connection)
    other = loop(database, hourly("b", "of another"))
    await other.run_once(connection)
    await set_clock(connection, NOON + HOUR)
    await other.run_once(connection)
    assert await sent(connection) == ["b"]
    assert await value(connection, "select count(*) from revenant.schedules") == 2


async def test_saying_that_one_is_there_writes_a_row_now_and_then_only(database: str, connection: Connection) -> None:
    worker = loop(database, hourly())
    marks = set()
    for seconds in range(0, 30, 5):
        await set_clock(connection, NOON + timedelta(seconds=seconds))
        await worker.run_once(connection)
        marks.add(await value(connection, "select xmin::text from revenant.schedules"))
    assert len(marks) == 1
    await set_clock(connection, NOON + SECONDS)
    await worker.run_once(connection)
    assert await value(connection, "select seen_at from revenant.schedules") == NOON + SECONDS


async def test_a_firing_and_a_new_definition_wait_for_each_other(database: str, connection: Connection) -> None:
    """The new definition reads the due time after the old one's firing has committed."""
    old, new = loop(database, hourly("old")), loop(database, hourly("new"))
    await set_clock(connection, NOON)
    await old.run_once(connection)
    async with (
        await psycopg.AsyncConnection.connect(database) as firing,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as deploying,
    ):
        for one in (firing, deploying):
            await set_clock(one, NOON + HOUR)
        await firing.execute(
            "select revenant.fire_schedules_v1('{s}', array[digest], array[due], '{1}', array[due + %s]) "
            "from revenant.schedules",
            (HOUR,),
        )
        deploy = asyncio.create_task(new.run_once(deploying))
        await eventually(lambda: waits(connection))
        await firing.commit()
        await deploy
    assert await sent(connection) == ["old"]
    assert await due(connection) == NOON + 2 * HOUR


def test_what_is_no_schedule_is_refused_with_words() -> None:
    with pytest.raises(ConfigurationError, match="does not say when"):
        Schedule("s", ref(Alarmed, "k").ring())
    with pytest.raises(ConfigurationError, match="takes a message"):
        Schedule("s", ref(Alarmed, "k").ring, every=HOUR)  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(ConfigurationError, match="is no name"):
        Schedule("", ref(Alarmed, "k").ring(), every=HOUR)
    with pytest.raises(ConfigurationError, match="Two schedules are named 's'"):
        Revenant(entities=[Alarmed], schedules=[hourly(), hourly("b")])
    with pytest.raises(ConfigurationError, match="takes a list of Schedule"):
        Revenant(entities=[Alarmed], schedules=hourly())  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(ConfigurationError, match="takes Schedule values"):
        Revenant(entities=[Alarmed], schedules=[5])  # type: ignore[list-item]  # that is what is tried


def test_blocking_doors_have_the_schedules_too() -> None:
    app = Revenant(entities=[Alarmed], schedules=[hourly()])
    assert app.sync()._app.schedules == app.schedules  # type: ignore[attr-defined]  # what is behind the door


async def test_a_message_without_an_application_cannot_be_awaited() -> None:
    with pytest.raises(ConfigurationError, match="belongs to no application"):
        await ref(Alarmed, "k").ring()
