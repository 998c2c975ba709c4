"""Entities that nobody sends to any more end, through their mailboxes, and no others do."""

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
from revenant.entities.entity import Entity
from revenant.errors import ConfigurationError
from revenant.queue.link import Link
from revenant.worker.fleet import Fleet, Member
from revenant.worker.timing import expiry
from revenant.worker.timing.expiry import Expiry
from revenant.worker.worker import Worker
from tests.timed import Alarmed, Visit, set_clock
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
MONTH = timedelta(days=30)
DAY = timedelta(days=1)
ENTITIES = "select key from revenant.entities order by key"
ENDING = "select key from revenant.messages where handler = 'revenant:expire' order by key"


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Visit, Alarmed], database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
def walk(database: str) -> Expiry:
    return Expiry(desk=Link(url=database, role="desk"), fleet=Fleet(own_id="me"), idle={"Visit": MONTH})


async def later(connection: Connection, wait: timedelta) -> None:
    await set_clock(connection, datetime.now(UTC) + wait)


async def keys(connection: Connection, query: str) -> list[str]:
    return [key for (key,) in await rows(connection, query)]


async def test_an_idle_entity_ends_and_the_next_message_starts_afresh(
    app: Revenant, worker: Worker, connection: Connection, walk: Expiry
) -> None:
    await app.ref(Visit, "k").come()
    await app.ref(Alarmed, "of a kind that does not expire").ring()
    await later(connection, MONTH - DAY)
    await walk.run_once(connection)
    assert await keys(connection, ENDING) == []
    await later(connection, MONTH + DAY)
    await walk.run_once(connection)
    await eventually(lambda: gone(connection, "k"))
    assert await keys(connection, ENTITIES) == ["of a kind that does not expire"]
    assert await app.ref(Visit, "k").come() == 1


async def gone(connection: Connection, key: str) -> bool:
    return not await rows(connection, "select 1 from revenant.entities where key = %s", key)


async def test_a_worker_walks_by_itself(database: str, settings: Settings, connection: Connection) -> None:
    class Brief(Entity, kind="Brief", idle_delete=timedelta(milliseconds=50)):
        times: int = 1

    async with Revenant(entities=[Brief], database_url=database, settings=settings) as app:
        await connection.execute(
            "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
            "values (revenant.bucket_v1('Brief', 'k'), 'Brief', 'k', 1, 1, '{\"times\": 1}', 0)"
        )
        worker = app.worker()
        await worker.start()
        await eventually(lambda: gone(connection, "k"))
        await worker.stop()


@pytest.mark.parametrize("what", ["waits", "is scheduled", "is a reminder"])
async def test_an_entity_for_which_a_message_waits_never_ends(
    app: Revenant, worker: Worker, connection: Connection, walk: Expiry, what: str
) -> None:
    visit = app.ref(Visit, "k")
    await visit.come()
    if what == "is a reminder":
        await visit.plan()
    await worker.stop()
    if what == "waits":
        await app.cast(visit.come())
    elif what == "is scheduled":
        await app.cast(visit.come(), after=365 * DAY)
    await later(connection, MONTH + DAY)
    await walk.run_once(connection)
    assert await keys(connection, ENDING) == []


async def test_an_entity_whose_turn_runs_is_not_idle(
    app: Revenant, worker: Worker, connection: Connection, walk: Expiry, database: str
) -> None:
    await app.ref(Visit, "k").come()
    await worker.stop()
    await later(connection, MONTH + DAY)
    async with await psycopg.AsyncConnection.connect(database) as turn:
        await turn.execute("select 1 from revenant.entities for no key update")
        await walk.run_once(connection)
        assert await keys(connection, ENDING) == []


@pytest.mark.parametrize("message", ["before", "behind"])
async def test_a_message_that_comes_while_it_is_told_to_end_saves_it(
    app: Revenant, connection: Connection, walk: Expiry, message: str
) -> None:
    visit = app.ref(Visit, "k")
    worker = app.worker()
    await worker.start()
    await visit.come()
    await worker.stop()
    await later(connection, MONTH + DAY)
    if message == "before":
        # Numbered before, and committed after the walk has looked.
        await walk.run_once(connection)
        await app.cast(visit.look())
        await connection.execute("update revenant.messages set seq = default where handler = 'revenant:expire'")
    else:
        await walk.run_once(connection)
        await app.cast(visit.look())
    assert await value(connection, "select count(*) from revenant.messages") == 2
    worker = app.worker()
    await worker.start()
    await eventually(lambda: empty(connection))
    await worker.stop()
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def empty(connection: Connection) -> bool:
    return not await rows(connection, "select 1 from revenant.messages")


async def test_what_changed_since_it_was_found_idle_does_not_end(
    app: Revenant, connection: Connection, walk: Expiry
) -> None:
    visit, worker = app.ref(Visit, "k"), app.worker()
    await worker.start()
    await visit.come()
    await worker.stop()
    await later(connection, MONTH + DAY)
    await walk.run_once(connection)
    await connection.execute("update revenant.entities set version = 2, state = '{\"times\": 2}'")
    worker = app.worker()
    await worker.start()
    await eventually(lambda: empty(connection))
    assert await visit.look() == 2
    await worker.stop()


async def test_messages_that_change_nothing_count_and_cost_a_write_now_and_then(
    app: Revenant, worker: Worker, connection: Connection, walk: Expiry
) -> None:
    visit = app.ref(Visit, "k")
    await visit.come()
    mark = "select xmin::text from revenant.entities"
    written = await value(connection, mark)
    for _ in range(3):
        await visit.look()
    assert await value(connection, mark) == written
    await connection.execute("update revenant.entities set updated_at = updated_at - make_interval(days => 31)")
    assert await visit.look() == 1
    assert await value(connection, "select version from revenant.entities") == 1
    await later(connection, DAY)
    await walk.run_once(connection)
    assert await keys(connection, ENDING) == []
    await later(connection, MONTH + DAY)
    await walk.run_once(connection)
    assert await keys(connection, ENDING) == ["k"] or await gone(connection, "k")


async def test_a_look_and_a_change_in_one_flush_of_a_resident_are_one_write(
    database: str, settings: Settings, connection: Connection
) -> None:
    class Guest(Visit, kind="Guest", durability="on_stop"):
        pass

    async with Revenant(entities=[Guest], database_url=database, settings=settings) as app:
        await connection.execute(
            "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied, updated_at) "
            "values (revenant.bucket_v1('Guest', 'k'), 'Guest', 'k', 1, 1, '{\"times\": 1}', 0, '2020-01-01')"
        )
        worker, guest = app.worker(), app.ref(Guest, "k")
        await worker.start()
        assert (await guest.look(), await guest.come()) == (1, 2)
        await worker.stop(drain_timeout=5)
    found = "select version, state ->> 'times', updated_at > now() - make_interval(hours => 1) from revenant.entities"
    assert await rows(connection, found) == [(2, "2", True)]


async def test_the_walk_goes_on_where_it_was_and_comes_round_again(
    app: Revenant, connection: Connection, walk: Expiry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PAGE", 7)
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('Visit', n::text), 'Visit', n::text, 1, 1, '{}', 0 from generate_series(1, 50) n"
    )
    await later(connection, MONTH + DAY)
    for pages in range(1, 9):
        await walk.run_once(connection)
        assert await value(connection, "select count(*) from revenant.messages") == min(7 * pages, 50)
    await connection.execute("delete from revenant.messages where key = '17'")
    for _ in range(8):
        await walk.run_once(connection)
    assert "17" in await keys(connection, ENDING)
    assert len(await keys(connection, ENDING)) == 50


async def test_a_worker_walks_over_its_own_share(app: Revenant, connection: Connection, database: str) -> None:
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('Visit', n::text), 'Visit', n::text, 1, 1, '{}', 0 from generate_series(1, 50) n"
    )
    await later(connection, MONTH + DAY)
    counts = []
    for own in ("me", "you"):
        fleet = Fleet(own_id=own)
        kinds = {"Visit": {"vsn": 1, "handlers": []}}
        fleet.update([Member("me", kinds, False, True), Member("you", kinds, False, True)])
        await Expiry(desk=Link(url=database, role="desk"), fleet=fleet, idle={"Visit": MONTH}).run_once(connection)
        counts.append(await value(connection, "select count(*) from revenant.messages"))
    assert 0 < counts[0] < counts[1] == 50


async def test_rivals_tell_an_entity_once_while_it_waits(app: Revenant, connection: Connection, database: str) -> None:
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('Visit', n::text), 'Visit', n::text, 1, 1, '{}', 0 from generate_series(1, 50) n"
    )
    connections = [await psycopg.AsyncConnection.connect(database, autocommit=True) for _ in range(3)]
    for one in connections:
        await later(one, MONTH + DAY)
    walks = [
        Expiry(desk=Link(url=database, role="desk"), fleet=Fleet(own_id="me"), idle={"Visit": MONTH})
        for _ in connections
    ]
    await asyncio.gather(*(each.run_once(one) for each, one in zip(walks, connections, strict=True)))
    for one in connections:
        await one.close()
    # Who comes late may tell it twice: the second message finds nothing, or a fresh entity at another version.
    assert len(set(await keys(connection, ENDING))) == 50


def test_a_worker_says_that_it_knows_how_entities_end(app: Revenant) -> None:
    """So that one of before leaves that message to it."""
    described = app.registry.described()
    assert "revenant:expire" in described["Visit"]["handlers"]
    assert "revenant:expire" not in described["Alarmed"]["handlers"]


def test_idle_delete_is_inherited_and_what_is_no_time_is_refused() -> None:
    class Guest(Visit, kind="Guest"):
        pass

    class Owner(Visit, kind="Owner", idle_delete=None):
        pass

    assert Guest.entity_idle_delete == MONTH
    assert Owner.entity_idle_delete is None
    for wrong in (timedelta(0), -DAY, 30):
        with pytest.raises(ConfigurationError, match="idle_delete="):

            class Wrong(Entity, idle_delete=wrong):
                pass
