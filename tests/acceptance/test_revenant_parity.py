"""The list of tests of the Elixir library that this one comes from, by its names."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from pydantic import PydanticSchemaGenerationError

from revenant import telemetry
from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerError, Unstorable
from revenant.worker.worker import Worker
from tests.deploys import NewParcel, OldParcel
from tests.entities import Account
from tests.nemesis import Crew
from tests.relaxed import KINDS, Fly, Lamp, Rock, Stone
from tests.tools import eventually, rows, value, waits

Connection = psycopg.AsyncConnection[Any]
made: list[str] = []
"""The keys for which an initial state was made."""


class Sleeper(Entity):
    """Says when it comes to life."""

    naps: int = 0

    @classmethod
    def initial(cls, key: str) -> Sleeper:
        made.append(key)
        return cls()

    @handler
    async def nap(self) -> int:
        self.naps += 1
        return self.naps

    @handler
    async def read(self) -> int:
        return self.naps


class Holder(Entity):
    """Tries to keep what lives in one process only."""

    count: int = 0
    held: Any = None

    @handler
    async def hold(self, what: str) -> None:
        self.count += 1
        self.held = {"deep": [HANDLES[what]()]}

    @handler
    async def read(self) -> int:
        return self.count


HANDLES: dict[str, Callable[[], object]] = {
    "a lock": threading.Lock,
    "a function": lambda: print,
    "a task": asyncio.current_task,
    "a socket": socket.socket,
    "a generator": lambda: (number for number in range(3)),
    "an object": object,
}


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    kinds: list[type[Entity]] = [*KINDS, Account, Sleeper, Holder]
    async with Revenant(entities=kinds, database_url=database, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def writes(connection: Connection) -> Callable[[], Any]:
    """Return what counts how often a state was written."""
    await connection.execute("create table writes (key text, version bigint)")
    await connection.execute(
        "create function noted() returns trigger language plpgsql as "
        "$$ begin insert into public.writes values (new.key, new.version); return null; end $$"
    )
    await connection.execute(
        "create trigger noted after insert or update on revenant.entities for each row execute function noted()"
    )
    return lambda: rows(connection, "select key, version from writes order by version")


@pytest.fixture
def events() -> Iterator[list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]]:
    heard: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    detach = telemetry.attach(lambda *event: heard.append(event))
    yield heard
    detach()


async def row(connection: Connection, key: str) -> Any:
    found = await rows(connection, "select version, state from revenant.entities where key = %s", key)
    return found[0] if found else None


async def test_lazy_start(app: Revenant, worker: Worker, connection: Connection) -> None:
    made.clear()
    sleeper = app.ref(Sleeper, "s")
    assert made == []
    assert await sleeper.read() == 0
    assert await row(connection, "s") is None, "a look makes no row"
    assert await sleeper.nap() == 1
    assert await row(connection, "s") == (1, {"naps": 1})
    lives = len(made)
    assert await sleeper.nap() == 2
    assert (len(made), set(made)) == (lives, {"s"})


async def test_survives_stop_and_kill(app: Revenant, connection: Connection, database: str, tmp_path: Path) -> None:
    """In each durability: strict, an interval, and on stop."""

    async def step() -> set[int]:
        messages = [app.ref(Rock, "a").add(), app.ref(Lamp, "a").shine(), app.ref(Stone, "a").add()]
        return {await app.call(message, timeout=20) for message in messages}

    async with Crew(database, tmp_path, app="tests.relaxed:app") as crew:
        stopped = await crew.hire()
        assert [await step(), await step()] == [{1}, {2}]
        stopped.signal(signal.SIGTERM)
        assert await asyncio.to_thread(stopped.process.wait, 20) == 0
        assert await value(connection, "select count(*) from revenant.messages") == 0
        killed = await crew.hire()
        assert [await step(), await step()] == [{3}, {4}]
        killed.kill()
        await crew.hire()
        assert await step() == {5}
        for kind in (Lamp, Stone):
            await app.passivate(app.ref(kind, "a"), timeout=20)
    stored = "select coalesce(state->'shines', state->'count') from revenant.entities"
    assert await rows(connection, stored) == [(5,)] * 3
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_same_id_in_two_kinds(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert await app.ref(Account, "x").deposit(5) == 5
    assert await app.ref(Rock, "x").add() == 1
    assert await app.ref(Lamp, "x").shine(7) == 7
    assert await app.ref(Stone, "x").add() == 1
    assert await app.ref(Account, "x").deposit(5) == 10
    assert await app.delete(app.ref(Account, "x"))
    assert [await app.ref(Rock, "x").add(), await app.ref(Lamp, "x").shine(), await app.ref(Account, "x").read()] == [
        2,
        8,
        0,
    ]


async def test_passivation(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert await app.ref(Fly, "idle").add() == 1
    await eventually(lambda: row(connection, "idle"), what="the flush of what is idle")
    assert await row(connection, "idle") == (2, {"count": 1, "farewells": 1})
    assert await app.ref(Lamp, "by hand").shine() == 1
    assert await row(connection, "by hand") is None
    assert await app.passivate(app.ref(Lamp, "by hand"))
    assert await row(connection, "by hand") == (2, {"shines": 1, "farewells": 1})
    assert await rows(connection, "select key from revenant.residents") == []
    assert not await app.passivate(app.ref(Lamp, "nobody"))
    assert [await app.ref(Fly, "idle").add(), await app.ref(Lamp, "by hand").shine()] == [2, 2]


async def test_delete(app: Revenant, worker: Worker, connection: Connection) -> None:
    account = app.ref(Account, "a")
    sent = [app.cast(account.deposit(5)), app.delete(account), app.cast(account.deposit(3))]
    assert (await asyncio.gather(*sent))[1] is True
    assert await account.read() == 3
    assert await row(connection, "a") == (1, {"balance": 3, "log": []})
    await account.end()
    assert await row(connection, "a") is None
    assert await app.delete(account) is False
    assert await account.deposit(1) == 1


async def test_telemetry(
    app: Revenant,
    worker: Worker,
    connection: Connection,
    events: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
) -> None:
    def told(name: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        return [(measured, about) for event, measured, about in events if event == name]

    account = app.ref(Account, "a")
    assert await account.deposit(5) == 5
    await eventually(lambda: told("state.commit"), what="state.commit")
    (((measured, about),), (loaded,)) = told("state.commit"), told("state.load")
    assert measured == {"bytes": len('{"balance":5,"log":[]}'), "version": 1}
    assert (about["kind"], about["key"]) == ("Account", "a")
    assert loaded[0]["version"] == 0
    await connection.execute("create sequence tries")
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as "
        "$$ begin if nextval('public.tries') = 1 then return null; end if; return new; end $$"
    )
    await connection.execute(
        "create trigger refuse before update on revenant.entities for each row execute function refuse()"
    )
    assert await app.call(account.deposit(1), timeout=10) == 6
    assert told("state.conflict") == [({"version": 1}, {"kind": "Account", "key": "a"})]


async def test_commit_before_reply(app: Revenant, worker: Worker, connection: Connection, database: str) -> None:
    """A deferred constraint keeps the commit waiting, and with it the reply."""
    await connection.execute(
        "create function held() returns trigger language plpgsql as "
        "$$ begin perform pg_advisory_xact_lock(4711); return null; end $$"
    )
    await connection.execute(
        "create constraint trigger held after insert on revenant.entities deferrable initially deferred "
        "for each row execute function held()"
    )
    await connection.execute("select pg_advisory_lock(4711)")
    call = asyncio.ensure_future(app.call(app.ref(Account, "a").deposit(5), timeout=20))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        await eventually(lambda: waits(other, "advisory"), what="a commit that waits")
        assert await row(other, "a") is None
        assert not call.done()
        await connection.execute("select pg_advisory_unlock(4711)")
        assert await call == 5
        assert await row(other, "a") == (1, {"balance": 5, "log": []})


async def test_version_per_mutation(app: Revenant, worker: Worker, connection: Connection, writes: Any) -> None:
    account = app.ref(Account, "a")
    for version in range(1, 6):
        await account.deposit(1)
        assert await row(connection, "a") == (version, {"balance": version, "log": []})
        await account.read()
        with pytest.raises(HandlerError):
            await account.fail(1)
    await account.deposit(0)
    assert await writes() == [("a", version) for version in range(1, 6)]


async def test_casts_on_the_same_path(app: Revenant, worker: Worker, connection: Connection) -> None:
    account = app.ref(Account, "a")
    for number in range(50):
        await app.cast(account.note(f"cast {number}"))
        if number % 10 == 0:
            await account.note(f"call {number}")
    wanted = [word for n in range(50) for word in ([f"cast {n}"] + ([f"call {n}"] if n % 10 == 0 else []))]
    assert await account.note("end") == [*wanted, "end"]
    assert await row(connection, "a") == (56, {"balance": 0, "log": [*wanted, "end"]})
    await app.cast(account.fail(1))
    assert await account.read() == 0


async def test_interval_coalescing(app: Revenant, worker: Worker, connection: Connection, writes: Any) -> None:
    lamp = app.ref(Lamp, "a")
    assert [await lamp.shine() for _ in range(20)] == list(range(1, 21))
    assert await writes() == []
    worker.hurry()
    await eventually(lambda: row(connection, "a"), what="the flush")
    assert await writes() == [("a", 20)]
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_strict_escalation(app: Revenant, worker: Worker, connection: Connection, writes: Any) -> None:
    lamp = app.ref(Lamp, "a")
    assert [await lamp.shine(), await lamp.shine()] == [1, 2]
    assert await row(connection, "a") is None
    assert await app.call(lamp.shine(), durability="strict") == 3
    assert await row(connection, "a") == (3, {"shines": 3, "farewells": 0})
    assert await writes() == [("a", 3)]
    assert await lamp.shine() == 4
    assert await row(connection, "a") == (3, {"shines": 3, "farewells": 0})


async def test_flush_on_stop(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert [await app.ref(Lamp, "lamp").shine(), await app.ref(Stone, "stone").add()] == [1, 1]
    assert await rows(connection, "select key from revenant.entities") == []
    await worker.stop(drain_timeout=5)
    assert await row(connection, "lamp") == (2, {"shines": 1, "farewells": 1})
    assert await row(connection, "stone") == (1, {"count": 1})
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_stale_writer_refused(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody took the worker for dead, owned the entity, wrote, and went: what it kept in memory is worth nothing."""
    lamp = app.ref(Lamp, "a")
    assert await lamp.shine() == 1
    async with connection.transaction():
        await connection.execute("update revenant.residents set owner = gen_random_uuid(), fence = default")
        await connection.execute("delete from revenant.messages")
        await connection.execute(
            "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
            'select bucket, kind, key, 7, 1, \'{"shines": 70, "farewells": 0}\', 0 from revenant.residents'
        )
    with caplog.at_level(logging.WARNING):
        worker.hurry()
        await eventually(lambda: "is owned by another worker now" in caplog.text, what="the refusal")
    assert await row(connection, "a") == (7, {"shines": 70, "farewells": 0})
    assert await app.call(lamp.shine(), timeout=20, durability="strict") == 71
    assert await row(connection, "a") == (8, {"shines": 71, "farewells": 0})


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # what the refused handler left
@pytest.mark.parametrize("prove", [False, True])
async def test_runtime_handles_refused(database: str, settings: Settings, connection: Connection, prove: bool) -> None:
    async with serving(Holder, database, settings.model_copy(update={"validate_state": prove})) as app:
        holder = app.ref(Holder, "h")
        for what in HANDLES:
            with pytest.raises(Unstorable, match="has no JSON form|is not read as it was written") as refused:
                await holder.hold(what)
            assert refused.value.path == "held.deep.0", what
        assert await holder.read() == 0
    assert await row(connection, "h") is None


def test_runtime_handles_refused_in_the_class() -> None:
    with pytest.raises(PydanticSchemaGenerationError, match="socket"):

        class Open(Entity):
            line: socket.socket


async def test_upgrade_on_load(database: str, settings: Settings, connection: Connection) -> None:
    async with serving(OldParcel, database, settings) as app:
        assert await app.ref(OldParcel, "p").add(1500) == 1500
    assert await rows(connection, "select version, vsn, state from revenant.entities") == [(1, 1, {"grams": 1500})]
    async with serving(NewParcel, database, settings) as app:
        assert await app.ref(NewParcel, "p").add(0) == 1500
        assert await app.ref(NewParcel, "p").stamp() == 1
    found = await rows(connection, "select version, vsn, state from revenant.entities")
    assert [(vsn, state) for _, vsn, state in found] == [(2, {"kilos": 1.5, "stamps": 1})]


@asynccontextmanager
async def serving(kind: type[Entity], database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[kind], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        try:
            await worker.ready()
            yield app
        finally:
            await worker.stop(drain_timeout=5)
