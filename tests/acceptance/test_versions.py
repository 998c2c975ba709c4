"""Two versions of one application side by side, and workers for some kinds only: each leaves what is not its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import CallTimeout, UnknownHandler
from tests.deploys import Letter, NewParcel
from tests.nemesis import Crew
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
OLD, NEW = "tests.deploys:old", "tests.deploys:new"


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path) as hired:
        yield hired


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[NewParcel, Letter], database_url=database, settings=settings) as application:
        yield application


async def test_a_rolling_deploy_loses_nothing_and_does_nothing_twice(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    hands = [crew.spawn(app=OLD), crew.spawn(app=NEW)]
    await asyncio.gather(*map(crew.serving, hands))
    keys: list[str] = []

    async def both_have_entities() -> bool:
        # Each entity is served by whichever worker comes first; from its first stamp on, by the new one alone.
        more = [str(number) for number in range(len(keys), len(keys) + 20)]
        added = await asyncio.gather(*(app.call(app.ref(NewParcel, key).add(250), timeout=20) for key in more))
        assert added == [250] * len(more)
        keys.extend(more)
        return {row[0] for row in await rows(connection, "select distinct vsn from revenant.entities")} == {1, 2}

    await eventually(both_have_entities, what="entities of both versions")
    before = await rows(connection, "select key, vsn, state from revenant.entities where vsn = 2")
    mixed = [
        message
        for key in keys
        for message in (
            app.call(app.ref(NewParcel, key).add(250), timeout=20),
            app.call(app.ref(NewParcel, key).stamp(), timeout=20),
            app.call(app.ref(NewParcel, key).add(500), timeout=20),
        )
    ]
    assert before
    assert await asyncio.gather(*mixed) == [500, 1, 1000] * len(keys)
    assert await rows(connection, "select distinct version, vsn, state from revenant.entities") == [
        (4, 2, {"kilos": 1.0, "stamps": 1})
    ]
    assert await value(connection, "select count(*) from revenant.dead") == 0


async def test_what_only_the_new_version_knows_waits_for_it(app: Revenant, connection: Connection, crew: Crew) -> None:
    new = await crew.hire(app=NEW)
    assert await app.call(app.ref(NewParcel, "p").stamp(), timeout=20) == 1
    old = await crew.hire(app=OLD)
    new.kill()
    row = "select version, vsn, state from revenant.entities"
    known = await rows(connection, row)
    message_id = await app.cast(app.ref(NewParcel, "p").add(5))
    with pytest.raises(CallTimeout):
        await app.call(app.ref(NewParcel, "p").stamp(), timeout=1)
    assert await app.ref(Letter, "l").write() == 1
    assert (await rows(connection, row + " where kind = 'Parcel'")) == known
    waiting = await rows(connection, "select id::text from revenant.messages order by seq")
    assert len(waiting) == 2
    assert waiting[0] == (message_id,)
    assert await value(connection, "select count(*) from revenant.dead") == 0
    await crew.hire(app=NEW)
    assert await app.call(app.ref(NewParcel, "p").stamp(), timeout=20) == 3
    assert await app.ref(NewParcel, "p").add(0) == 5
    assert old.running


async def test_a_handler_that_no_live_worker_knows_is_refused_once_the_last_that_knew_it_is_gone(
    app: Revenant, crew: Crew
) -> None:
    old, new = crew.spawn(app=OLD), crew.spawn(app=NEW)
    await asyncio.gather(crew.serving(new), crew.serving(old))
    # Served from the moment on in which its row is there, though the old one has not heard of it yet.
    assert await app.call(app.ref(NewParcel, "p").stamp(), timeout=20) == 1
    new.signal(signal.SIGTERM)
    assert await asyncio.to_thread(new.process.wait, 20) == 0
    with pytest.raises(UnknownHandler, match="stamp"):
        await app.call(app.ref(NewParcel, "q").stamp(), timeout=20)


async def test_a_worker_serves_only_the_kinds_that_it_was_told(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    await crew.hire("--kinds", "Letter", app=NEW)
    waits = asyncio.create_task(app.call(app.ref(NewParcel, "p").add(5), timeout=20))
    for number in range(20):
        assert await app.ref(Letter, "l").write() == number + 1
    assert not waits.done()
    assert await value(connection, "select count(*) from revenant.messages") == 1
    await crew.hire("--kinds", "Parcel", app=NEW)
    assert await waits == 5
    await eventually(lambda: rows(connection, "select 1 from revenant.workers having count(*) = 2"))


async def test_runs_of_a_mixed_fleet_go_on_with_their_own_versions_and_old_workers_leave_newer_ones_alone(
    database: str, settings: Settings, connection: Connection, crew: Crew
) -> None:
    hands = [crew.spawn(app="tests.moves:old"), crew.spawn(app="tests.moves:new")]
    await asyncio.gather(*map(crew.serving, hands))
    async with Revenant(database_url=database, settings=settings) as app:
        keys: list[str] = []

        async def both_have_started_some() -> bool:
            more = [f"m{number}" for number in range(len(keys), len(keys) + 10)]
            await asyncio.gather(*(app.start("move", "a vase", id=key, timeout=20) for key in more))
            keys.extend(more)
            return {row[0] for row in await rows(connection, "select distinct version from revenant.runs")} == {1, 2}

        await eventually(both_have_started_some, what="runs of both versions")
        versions: dict[str, int] = dict(await rows(connection, "select id, version from revenant.runs"))
        runs = {key: app.run("move", key) for key in keys}
        half = [key for place, key in enumerate(keys) if place % 2]
        await asyncio.gather(*(runs[key].signal("go", timeout=20) for key in half))
        ends = {1: "packed a vase, carried", 2: "packed a vase, flown by air"}
        for key in half:
            assert await runs[key].result(timeout=30) == ends[versions[key]]
        # The deploy comes to its end: what is left of the old version is blocked, and nothing else.
        hands[0].signal(signal.SIGTERM)
        assert await asyncio.to_thread(hands[0].process.wait, 20) == 0
        left = [key for key in keys if key not in half]
        await asyncio.gather(*(runs[key].signal("go", timeout=20) for key in left))
        for key in left:
            if versions[key] == 2:
                assert await runs[key].result(timeout=30) == ends[2]
        stuck = "select array_agg(id) from revenant.stuck where reason = 'blocked'"
        old = sorted(key for key in left if versions[key] == 1)
        await eventually(lambda: _is(connection, stuck, old), what=f"{old} are blocked")
        await asyncio.gather(*(runs[key].migrate(timeout=20) for key in old))
        for key in old:
            assert await runs[key].result(timeout=30) == ends[2]
        # An old worker that comes back leaves all of that alone.
        waiting = await app.start("move", "a vase", id="newer", timeout=20)
        await eventually(lambda: value(connection, "select version = 2 from revenant.runs where id = 'newer'"))
        old_again = await crew.hire(app="tests.moves:old")
        hands[1].kill()
        await app.cast(app.ref("run:move", "newer").signal(name="go", payload=None))
        await app.start("move", "a vase", id="older", timeout=20)
        await eventually(lambda: value(connection, "select status = 'waiting' from revenant.runs where id = 'older'"))
        found = await waiting.describe()
        assert (found.version, found.messages, found.status) == (2, 1, "waiting")
        assert old_again.running
        await crew.hire(app="tests.moves:new")
        assert await waiting.result(timeout=30) == ends[2]


async def _is(connection: Connection, query: str, wanted: list[str]) -> bool:
    return sorted(await value(connection, query) or []) == wanted
