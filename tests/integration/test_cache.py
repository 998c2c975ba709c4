"""Strict entities in a worker's memory: a state is read once, and never believed when the row is another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities import instance, snapshot
from revenant.errors import HandlerError
from revenant.worker.lanes.cache import ENTRY_BYTES, Cache, Entry
from revenant.worker.worker import Worker
from tests.relaxed import KINDS, Boulder, Rock
from tests.tools import eventually

Connection = psycopg.AsyncConnection[Any]


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=KINDS, database_url=database, settings=settings) as application:
        yield application


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The stored states that were parsed."""
    states: list[str | None] = []
    load = snapshot.load_state

    def counted(*words: Any, state: str | None, **more: Any) -> Any:
        states.append(state)
        return load(*words, state=state, **more)

    monkeypatch.setattr(instance, "load_state", counted)
    return states


async def test_a_state_in_memory_is_not_read_and_parsed_again(
    app: Revenant, worker: Worker, read: list[str | None]
) -> None:
    boulder = app.ref(Boulder, "a")
    assert [await boulder.add() for _ in range(10)] == list(range(1, 11))
    assert read == [None]
    with pytest.raises(HandlerError):
        await boulder.fail()
    # The object is gone with what the handler did to it; its text is what is stored.
    assert await boulder.add() == 11
    assert len(read) == 2


async def test_an_entity_deleted_and_made_anew_at_the_same_version_is_read_again(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    boulder = app.ref(Boulder, "a")
    assert await boulder.add() == 1
    async with connection.transaction():
        await connection.execute("create temp table old as select * from revenant.entities")
        await connection.execute("delete from revenant.entities")
        await connection.execute("update old set state = jsonb_set(state, '{count}', '50')")
        await connection.execute("insert into revenant.entities select * from old")
    assert await boulder.add() == 51


async def test_a_row_mended_by_hand_is_read_again(app: Revenant, worker: Worker, connection: Connection) -> None:
    boulder = app.ref(Boulder, "a")
    assert await boulder.add() == 1
    await connection.execute("update revenant.entities set state = jsonb_set(state, '{count}', '50')")
    assert await boulder.add() == 51


async def test_two_workers_with_copies_of_one_entity_agree(app: Revenant, worker: Worker) -> None:
    other = app.worker()
    await other.start()
    await other.ready()
    counts = []
    for number in range(30):
        # Whoever is first has it: now the one, now the other.
        quiet, loud = (worker, other) if number % 2 else (other, worker)
        quiet._fleet.goes_first = lambda *_: False  # type: ignore[method-assign]  # as if another were preferred
        loud._fleet.goes_first = lambda *_: True  # type: ignore[method-assign]  # as above
        counts.append(await app.ref(Boulder, "a").add())
    assert counts == list(range(1, 31))
    assert worker.counters.turns > 5
    assert other.counters.turns > 5
    await other.stop(drain_timeout=5)


async def test_memory_is_bounded_and_the_longest_unused_goes_first(
    database: str, settings: Settings, read: list[str | None]
) -> None:
    small = settings.model_copy(update={"cache_bytes": 5 * (ENTRY_BYTES + 1000)})
    async with Revenant(entities=KINDS, database_url=database, settings=small) as app:
        worker = app.worker()
        await worker.start()
        for number in range(20):
            await app.ref(Boulder, str(number)).grow(900)
        await eventually(lambda: len(worker._cache) == 5)
        assert worker._cache.size <= small.cache_bytes
        read.clear()
        await app.ref(Boulder, "19").add()
        assert read == []
        await app.ref(Boulder, "0").add()
        assert len(read) == 1
        await app.ref(Boulder, "huge").grow(100_000)
        assert len(worker._cache) == 5
        await worker.stop(drain_timeout=5)


async def test_what_is_idle_leaves_memory(app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: set[str] = set()
    put = Cache.put

    def noted(cache: Cache, key: tuple[str, str], entry: Entry) -> None:
        kept.add(key[0])
        put(cache, key, entry)

    monkeypatch.setattr(Cache, "put", noted)
    await app.ref(Boulder, "a").add()
    await app.ref(Rock, "a").add()
    await eventually(lambda: kept == {"Boulder", "Rock"})
    await eventually(lambda: len(worker._cache) == 1)


async def test_a_strict_entity_leaves_memory_by_hand(app: Revenant, worker: Worker, read: list[str | None]) -> None:
    boulder = app.ref(Boulder, "a")
    await boulder.add()
    assert await app.passivate(boulder) is True
    assert await app.passivate(boulder) is False
    read.clear()
    assert await boulder.add() == 2
    assert len(read) == 1
