"""Named reminders: set, replaced and cancelled with the turn's commit, and fired exactly once whoever looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import ConfigurationError, HandlerError
from revenant.queue.link import Link
from revenant.queue.timetable import FiredReminder, due_reminders, fire_reminders
from revenant.queue.views import find_entity
from revenant.worker.timing import reminders
from revenant.worker.timing.reminders import Reminders
from revenant.worker.worker import Worker
from tests.timed import Alarmed, set_clock
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
HOUR = timedelta(hours=1)
WAITING = "select key, args ->> 'word' from revenant.messages where handler = 'ring' order by seq"


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Alarmed], database_url=database, settings=settings) as application:
        yield application


async def ring(database: str, connection: Connection) -> float:
    return await Reminders(desk=Link(url=database, role="desk"), kinds=["Alarmed"]).run_once(connection)


async def due(connection: Connection, name: str = "a") -> datetime:
    found: datetime = await value(connection, "select due from revenant.reminders where name = %s", name)
    return found


async def test_a_reminder_fires_when_due_and_is_due_again(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    alarmed = app.ref(Alarmed, "k")
    await alarmed.set("a", word="now", every=HOUR, at=datetime.now(UTC) - timedelta(seconds=1))
    await eventually(lambda: rung(app, ["now"]), what="the reminder")
    assert await value(connection, "select due > now() and fired_at < now() from revenant.reminders")


async def rung(app: Revenant, words: list[str], key: str = "k") -> bool:
    return await app.ref(Alarmed, key).read() == words


async def test_a_reminder_that_is_due_sooner_than_workers_know_is_heard_of(
    drowsy: None, app: Revenant, worker: Worker
) -> None:
    """Nobody looks for an hour otherwise; the wake-up says when."""
    await eventually(lambda: all(alarm._rings_at > 0 for alarm in worker.clockwork.alarms))
    await app.ref(Alarmed, "k").set("a", word="soon", after=timedelta(seconds=0.2))
    await eventually(lambda: rung(app, ["soon"]), what="the reminder")


async def test_a_reminder_leaves_with_the_turn_s_commit_only(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    with pytest.raises(HandlerError):
        await app.ref(Alarmed, "k").set_then_fail("a")
    assert await rows(connection, "select * from revenant.reminders") == []


async def test_the_same_name_replaces_and_another_stands_beside_it(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    alarmed, other = app.ref(Alarmed, "k"), app.ref(Alarmed, "other")
    await alarmed.set("a", word="first", every=HOUR)
    await alarmed.set("a", word="second", cron="0 9 * * 1-5", timezone="Europe/Berlin", missed="all")
    await alarmed.set("b", every=HOUR)
    await other.set("a", every=HOUR)
    found = "select key, name, every, cron, timezone, missed, args ->> 'word' from revenant.reminders order by 1, 2"
    assert await rows(connection, found) == [
        ("k", "a", None, "0 9 * * 1-5", "Europe/Berlin", "all", "second"),
        ("k", "b", 3600.0, None, "UTC", "once", ""),
        ("other", "a", 3600.0, None, "UTC", "once", ""),
    ]


async def test_a_cancelled_reminder_is_gone_and_cancelling_none_is_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    alarmed = app.ref(Alarmed, "k")
    await alarmed.set("a", every=HOUR)
    await alarmed.set("b", every=HOUR)
    await alarmed.unset("a")
    await alarmed.unset("nothing")
    assert await rows(connection, "select name from revenant.reminders") == [("b",)]


async def test_one_that_comes_once_goes_when_it_has_fired(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    await app.ref(Alarmed, "k").set("a", after=HOUR)
    await set_clock(connection, await due(connection))
    await worker.stop()
    await ring(database, connection)
    assert len(await rows(connection, WAITING)) == 1
    assert await rows(connection, "select * from revenant.reminders") == []


async def test_a_reminder_may_be_for_another_entity(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    await app.ref(Alarmed, "k").set("a", word="for you", every=HOUR, to="other")
    await set_clock(connection, await due(connection))
    await ring(database, connection)
    await eventually(lambda: rung(app, ["for you"], "other"))


@pytest.mark.parametrize("end", ["from outside", "from inside"])
async def test_deleting_an_entity_removes_its_reminders_in_the_same_commit(
    app: Revenant, worker: Worker, connection: Connection, end: str
) -> None:
    alarmed = app.ref(Alarmed, "k")
    await alarmed.ring()
    await alarmed.set("a", every=HOUR)
    await app.ref(Alarmed, "other").set("a", every=HOUR)
    if end == "from outside":
        assert await app.delete(alarmed)
    else:
        await alarmed.end()
    assert await rows(connection, "select key from revenant.reminders") == [("other",)]


@pytest.mark.parametrize("end", ["from outside", "from inside"])
@pytest.mark.parametrize("state", ["with state", "without"])
async def test_what_is_set_after_the_deletion_in_the_same_turn_stays(
    app: Revenant, connection: Connection, end: str, state: str
) -> None:
    """All wait before the worker starts, so that one turn handles them."""
    alarmed = app.ref(Alarmed, "k")
    await app.cast(alarmed.set("a", every=HOUR))
    await app.cast(alarmed.ring())
    deletion = asyncio.create_task(deleted(app, end))
    await eventually(lambda: count(connection, "messages", 3))
    await app.cast(alarmed.set("b", every=HOUR))
    if state == "with state":
        await app.cast(alarmed.ring())
    worker = app.worker()
    await worker.start()
    await deletion
    await eventually(lambda: handled(connection))
    assert await rows(connection, "select name from revenant.reminders") == [("b",)]
    await eventually(lambda: worker.counters.turns == 1)
    await worker.stop()


async def deleted(app: Revenant, end: str) -> None:
    if end == "from outside":
        await app.delete(app.ref(Alarmed, "k"))
    else:
        await app.ref(Alarmed, "k").end()


async def handled(connection: Connection) -> bool:
    return not await rows(connection, "select 1 from revenant.messages")


async def test_a_worker_of_before_reminders_that_deletes_an_entity_removes_them_too(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    alarmed = app.ref(Alarmed, "k")
    await alarmed.ring()
    await alarmed.set("a", every=HOUR)
    await worker.stop()
    # What such a worker settles: the row's state becomes null, and nothing is said of reminders.
    await connection.execute(
        "select revenant.settle_v1(array[ctid::text], array[bucket], array[kind], array[key], array[version], "
        "array[0::bigint], array[1], array[null::text], array[0::bigint], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') "
        "from revenant.entities"
    )
    assert await rows(connection, "select * from revenant.entities") == []
    assert await rows(connection, "select * from revenant.reminders") == []


@pytest.mark.parametrize("policy", [("skip", 0), ("once", 1), ("all", 48)])
async def test_after_two_days_without_workers_what_was_missed_is_made_up_as_asked(
    app: Revenant, worker: Worker, connection: Connection, database: str, policy: tuple[Any, int]
) -> None:
    missed, words = policy
    await app.ref(Alarmed, "k").set("a", every=HOUR, missed=missed)
    first = await due(connection)
    await worker.stop()
    await set_clock(connection, first + timedelta(hours=47, minutes=30))
    await ring(database, connection)
    assert len(await rows(connection, WAITING)) == words
    assert await due(connection) == first + timedelta(hours=48)


async def test_rivals_fire_each_occurrence_exactly_once(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    many, rivals = 40, 4
    for number in range(many):
        await app.cast(app.ref(Alarmed, f"k{number}").set("a", every=HOUR, missed="all"))
    await eventually(lambda: count(connection, "reminders", many))
    first = await value(connection, "select max(due) from revenant.reminders")
    await worker.stop()
    connections = [await psycopg.AsyncConnection.connect(database, autocommit=True) for _ in range(rivals)]
    for hours in range(3):
        for one in connections:
            await set_clock(one, first + timedelta(hours=hours))
        await asyncio.gather(*(ring(database, one) for one in connections for _ in range(3)))
    for one in connections:
        await one.close()
    each = "select key, count(*) from revenant.messages group by 1"
    assert dict(await rows(connection, each)) == {f"k{number}": 3 for number in range(many)}


async def count(connection: Connection, table: str, wanted: int) -> bool:
    return bool(await value(connection, f"select count(*) = {wanted} from revenant.{table}"))


async def test_one_that_is_replaced_after_it_was_read_does_not_fire_as_it_was(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    at = datetime.now(UTC) + HOUR
    await app.ref(Alarmed, "k").set("a", word="old", at=at)
    await set_clock(connection, at)
    _, (read,), _ = await due_reminders(connection, kinds=["Alarmed"], page=9)
    # The same due time and another message: a comparison of the due times alone would let the old one through.
    await app.ref(Alarmed, "k").set("a", word="new", every=HOUR, at=at)
    assert await fire_reminders(connection, [FiredReminder(*read[:5], 1, None)]) == []
    assert await rows(connection, WAITING) == []
    await worker.stop()
    await ring(database, connection)
    assert await rows(connection, WAITING) == [("k", "new")]
    assert await due(connection) == at + HOUR


async def test_a_worker_leaves_reminders_of_kinds_that_it_does_not_serve_and_nothing_piles_up(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    at = datetime.now(UTC) + HOUR
    await app.ref(Alarmed, "k").set("a", word="w", every=HOUR, at=at)
    await worker.stop()
    other = Reminders(desk=Link(url=database, role="desk"), kinds=["Other"])
    for hours in range(5):
        await set_clock(connection, at + hours * HOUR)
        await other.run_once(connection)
    assert await rows(connection, WAITING) == []
    await ring(database, connection)
    assert await rows(connection, WAITING) == [("k", "w")], "one for all that was missed, as it says"


async def test_firing_waits_for_nobody(app: Revenant, worker: Worker, connection: Connection, database: str) -> None:
    """Neither for a turn that sets the reminder anew, nor for another worker that fires it."""
    await app.ref(Alarmed, "k").set("a", every=HOUR)
    await set_clock(connection, await due(connection))
    async with await psycopg.AsyncConnection.connect(database) as rival:
        await rival.execute("select 1 from revenant.reminders for update")
        await ring(database, connection)
        assert await rows(connection, "select fired_at from revenant.reminders") == [(None,)]


async def test_a_firing_whose_answer_is_lost_is_not_repeated(
    app: Revenant, worker: Worker, connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await app.ref(Alarmed, "k").set("a", every=HOUR)
    await worker.stop()
    await set_clock(connection, await due(connection))

    async def fire_and_lose(*given: Any) -> list[str]:
        await fire_reminders(*given)
        raise psycopg.OperationalError("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(reminders, "fire_reminders", fire_and_lose)
        with pytest.raises(psycopg.OperationalError):
            await ring(database, connection)
    await ring(database, connection)
    assert len(await rows(connection, WAITING)) == 1


async def test_show_lists_the_reminders(app: Revenant, worker: Worker, connection: Connection) -> None:
    await app.ref(Alarmed, "k").set("b", cron="0 9 * * 1-5", timezone="Europe/Berlin")
    await app.ref(Alarmed, "k").set("a", every=HOUR)
    found = await find_entity(connection, "Alarmed", "k")
    assert found is not None
    assert [(one["name"], one.get("every"), one.get("cron"), one["handler"]) for one in found["reminders"]] == [
        ("a", 3600.0, None, "ring"),
        ("b", None, "0 9 * * 1-5", "ring"),
    ]


async def test_one_whose_zone_this_machine_does_not_know_does_not_stop_the_others(
    app: Revenant, worker: Worker, connection: Connection, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    await app.ref(Alarmed, "k").set("a", cron="0 9 * * *")
    await app.ref(Alarmed, "k").set("b", every=HOUR)
    await worker.stop()
    await connection.execute("update revenant.reminders set timezone = 'Europe/Atlantis' where name = 'a'")
    await connection.execute("update revenant.reminders set due = now()")
    loop = Reminders(desk=Link(url=database, role="desk"), kinds=["Alarmed"])
    for _ in range(3):
        pause = await loop.run_once(connection)
    assert len(await rows(connection, WAITING)) == 1
    assert pause > 1
    assert len([record for record in caplog.records if "cannot be reckoned" in record.message]) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "is no name"),
    ({"name": "x" * 129}, "x…\\): 'xxx"),
    ({"name": "a"}, "does not say when"),
    ({"name": "a", "after": HOUR, "at": datetime(2030, 1, 1, tzinfo=UTC)}, "both after= and at="),
    ({"name": "a", "after": timedelta.max}, "365,000 days at most"),
    ({"name": "a", "cron": "* * *"}, "3 fields"),
]


async def test_a_reminder_that_cannot_be_set_fails_its_message_with_words(app: Revenant, worker: Worker) -> None:
    for given, words in WRONG:
        with pytest.raises((HandlerError, ConfigurationError), match=words):
            await app.ref(Alarmed, "k").set(**given)
