"""Committed state, read without a worker; and handlers that only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import Field

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import ConfigurationError, DatabaseUnavailable, HistoryNotKept, ReadonlyBroken, StateInvalid
from revenant.queue.history import keep_history
from revenant.worker.chronicler import Chronicler
from tests.entities import jobs, note_job
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]


class Purse(Entity, kind="purse", vsn=3, history=timedelta(days=7)):
    """A kind that has changed twice, and keeps its history."""

    cents: int = 0
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def upgrade(cls, vsn: int, state: dict[str, Any]) -> dict[str, Any]:
        """From coins, by way of units, to cents."""
        return {"units": state["coins"]} if vsn == 1 else {"cents": state["units"] * 100}

    @handler
    async def put(self, cents: int, note: str | None = None) -> int:
        self.cents += cents
        if note:
            self.notes.append(note)
        return self.cents

    @handler(readonly=True)
    async def look(self) -> int:
        return self.cents

    @handler(readonly=True)
    async def cheat(self, how: str) -> int:
        match how:
            case "state":
                self.cents += 1
            case "inside":
                self.notes.append("x")
            case "cast":
                self.turn.cast(self.turn.ref(Purse, "other").put(1))
            case "job":
                self.turn.defer(note_job, word="x")
            case "delete":
                self.turn.delete()
        return self.cents

    @handler
    async def leave(self, then_put: int = 0) -> None:
        self.turn.cast(self.turn.ref(Purse, self.key).put(then_put))
        self.cents += 1
        self.turn.delete()


class OldPurse(Entity, kind="purse"):
    """What ran before."""

    coins: int = 0


class Plain(Entity):
    """A kind without a history."""

    n: int = 0

    @handler
    async def add(self) -> int:
        self.n += 1
        return self.n


ENTITIES: list[type[Entity]] = [Purse, Plain]


@pytest.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings, jobs=jobs) as application:
        yield application


async def store(connection: Connection, key: str, vsn: int, state: str, kind: str = "purse") -> None:
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "values (revenant.bucket_v1(%(kind)s, %(key)s), %(kind)s, %(key)s, 1, %(vsn)s, %(state)s::jsonb, 0)",
        {"kind": kind, "key": key, "vsn": vsn, "state": state},
    )


async def test_state_is_read_without_a_worker_and_upgraded_in_memory(app: Revenant, connection: Connection) -> None:
    assert await app.state(Purse, "p") is None
    await store(connection, "p", 1, '{"coins": 7}')
    found = await app.state(Purse, "p")
    assert found is not None
    assert (found.cents, found.key) == (700, "p")
    assert (await app.state(app.ref(Purse, "p"))) == found
    # By its name, of a class that is known here or not.
    assert (await app.state("purse", "p")).cents == 700
    async with Revenant(database_url=app.url(), settings=app.settings) as stranger:
        assert await stranger.state("purse", "p") == {"coins": 7}
        assert await stranger.state(stranger.ref("purse", "p")) == {"coins": 7}
    assert await rows(connection, "select vsn, state from revenant.entities") == [(1, {"coins": 7})]


async def test_blocking_code_reads_state_too(app: Revenant, connection: Connection) -> None:
    await store(connection, "p", 3, '{"cents": 5, "notes": []}')

    def look() -> Any:
        with app.sync() as rv:
            found = rv.state(Purse, "p")
            assert found == rv.state(rv.ref(Purse, "p"))
            assert rv.state(Purse, "q") is None
            return found

    assert (await asyncio.to_thread(look)).cents == 5


@pytest.mark.usefixtures("worker")
async def test_whoever_has_a_reply_reads_at_least_that(app: Revenant) -> None:
    purse = app.ref(Purse, "p")
    for wanted in range(1, 21):
        assert await purse.put(1) == wanted
        found = await app.state(purse)
        assert found is not None
        assert found.cents == wanted


async def test_what_cannot_be_read_says_why(app: Revenant, connection: Connection) -> None:
    await store(connection, "bad", 3, '{"cents": "many"}')
    await store(connection, "newer", 4, '{"cents": 1}')
    await store(connection, "stuck", 1, '{"no": "coins"}')
    with pytest.raises(StateInvalid, match="cents"):
        await app.state(Purse, "bad")
    with pytest.raises(StateInvalid, match="vsn 4"):
        await app.state(Purse, "newer")
    with pytest.raises(StateInvalid, match=r"from vsn 1 to 2: KeyError: 'coins'"):
        await app.state(Purse, "stuck")
    with pytest.raises(ConfigurationError, match="before the application was started"):
        await Revenant(entities=ENTITIES, database_url=app.url()).state(Purse, "p")
    with pytest.raises(ConfigurationError, match="A ref is wanted"):
        await app.state(Purse())
    away = Revenant(database_url="postgresql://127.0.0.1:1/nothing", settings=Settings(call_timeout=0.1))
    async with away:
        with pytest.raises(DatabaseUnavailable):
            await away.state("purse", "p")


async def test_a_copy_cannot_be_taken_for_the_entity(app: Revenant, connection: Connection) -> None:
    await store(connection, "p", 3, '{"cents": 5}')
    found = await app.state(Purse, "p")
    assert found is not None
    with pytest.raises(ConfigurationError, match=r"copy of the committed state of purse\('p'\)"):
        await found.put(5)


async def test_a_lost_connection_is_made_anew_and_the_state_read_again(app: Revenant, connection: Connection) -> None:
    await store(connection, "p", 3, '{"cents": 5}')
    for _ in range(3):
        assert (await app.state("purse", "p")).cents == 5
        killed = await value(
            connection,
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'revenant/reader' "
            "and datname = current_database()",
        )
        assert killed == 1


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", ["state", "inside", "cast", "job", "delete"])
async def test_a_readonly_handler_that_changes_something_fails_and_nothing_of_it_is_kept(
    app: Revenant, connection: Connection, how: str
) -> None:
    purse = app.ref(Purse, "p")
    await purse.put(5)
    before = await rows(connection, "select xmin::text, version, state from revenant.entities")
    with pytest.raises(ReadonlyBroken, match=r"Purse\.cheat is marked readonly and"):
        await purse.cheat(how)
    assert await purse.look() == 5
    assert await rows(connection, "select xmin::text, version, state from revenant.entities") == before
    assert await value(connection, "select count(*) from procrastinate_jobs") == 0
    assert await value(connection, "select count(*) from revenant.messages") == 0


@pytest.mark.usefixtures("worker")
async def test_a_readonly_handler_writes_nothing_to_the_entity(app: Revenant, connection: Connection) -> None:
    purse = app.ref(Purse, "p")
    await purse.put(5)
    before = await rows(connection, "select xmin::text, ctid::text from revenant.entities")
    assert [await purse.look() for _ in range(5)] == [5] * 5
    assert await app.ref(Purse, "none").look() == 0
    assert await rows(connection, "select xmin::text, ctid::text from revenant.entities") == before


@pytest.mark.usefixtures("worker")
async def test_turn_delete_is_in_order_and_what_was_cast_with_it_starts_afresh(
    app: Revenant, connection: Connection
) -> None:
    purse = app.ref(Purse, "p")
    assert list(await asyncio.gather(purse.put(5), purse.leave(70), purse.put(1), purse.put(1))) == [5, None, 1, 2]
    # The cast left with the deletion's commit, and came after what was waiting then.
    assert await purse.look() in (2, 72)
    await purse.leave()
    assert await app.state(Plain, "p") is None
    found = await app.state(Purse, "p")
    assert found is None or found.cents in (0, 70)


@pytest.mark.usefixtures("worker")
async def test_a_history_has_every_version_and_the_message_that_made_it(app: Revenant) -> None:
    purse = app.ref(Purse, "p")
    ids = [await app.cast(purse.put(1)) for _ in range(3)]
    assert await purse.look() == 3
    with pytest.raises(ReadonlyBroken):
        await purse.cheat("state")
    assert await app.delete(purse)
    assert await purse.put(9) == 9
    changes = await app.history(purse)
    states = [(change.version, None if change.state is None else change.state.cents) for change in changes]
    assert states == [(1, 9), (0, None), (3, 3), (2, 2), (1, 1)]
    assert [change.handler for change in changes] == ["put", "revenant:delete", "put", "put", "put"]
    assert [change.message_id for change in reversed(changes)][:3] == ids
    assert [change.at for change in changes] == sorted((change.at for change in changes), reverse=True)
    assert await app.history(Purse, "p", limit=2) == changes[:2]
    assert await app.history(Purse, "p", until=changes[1].at) == changes[2:]
    assert await app.history(Purse, "p", since=changes[1].at) == changes[:2]
    assert await app.history(Purse, "q") == []
    with pytest.raises(ConfigurationError, match="keeps no history"):
        await app.history(Plain, "p")
    with pytest.raises(ConfigurationError, match="time zone"):
        await app.history(Purse, "p", since=datetime(2026, 1, 1))


@pytest.mark.usefixtures("worker")
async def test_the_state_at_a_moment_is_what_it_was(app: Revenant) -> None:
    purse = app.ref(Purse, "p")
    for _ in range(3):
        await purse.put(1)
    await app.delete(purse)
    await purse.put(9)
    changes = await app.history(purse)
    for change in changes:
        found = await app.state(purse, at=change.at)
        assert found == change.state
    assert await app.state(purse, at=changes[-1].at - timedelta(microseconds=1)) is None
    now = await app.state(Purse, "p", at=changes[0].at + timedelta(hours=1))
    assert now is not None
    assert now.cents == 9
    with pytest.raises(HistoryNotKept, match="does not go back so far"):
        await app.state(Purse, "p", at=changes[0].at - timedelta(days=8))
    with pytest.raises(ConfigurationError, match="keeps no history"):
        await app.state(Plain, "p", at=changes[0].at)
    with pytest.raises(ConfigurationError, match="limit=0"):
        await app.history(Purse, "p", limit=0)
    with pytest.raises(ConfigurationError, match="time zone"):
        await app.state(Purse, "p", at=datetime(2026, 1, 1))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("ends", ["now", "with a change"])
async def test_what_a_worker_without_the_history_did_is_not_taken_for_what_was_before(
    app: Revenant, connection: Connection, ends: str
) -> None:
    purse = app.ref(Purse, "p")
    await purse.put(1)
    await purse.put(1)
    seen = (await app.history(purse))[0].at
    assert (await app.state(purse, at=seen)) == Purse(cents=2)
    # As an older release would: a version that nobody records.
    await connection.execute('update revenant.entities set version = 3, state = \'{"cents": 50, "notes": []}\'')
    if ends == "with a change":
        assert await purse.put(1) == 51
    with pytest.raises(HistoryNotKept, match="kept no history of it"):
        await app.state(purse, at=seen + timedelta(microseconds=1))


@asynccontextmanager
async def at_day(database: str, moment: str) -> AsyncIterator[None]:
    """Have every new connection to the database live at that time."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as admin:
        await admin.execute(f"alter database {name} set revenant.testing = 'on'")
        await admin.execute(f"alter database {name} set revenant.fake_now = '{moment}'")
    yield


async def puts(database: str, settings: Settings, moment: str, cents: int) -> None:
    """Handle one message on that day."""
    async with at_day(database, moment), Revenant(entities=ENTITIES, database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        await app.ref(Purse, "p").put(cents)
        await worker.stop(drain_timeout=5)


async def kept(database: str, settings: Settings, moment: str) -> tuple[list[str], int]:
    """Let the history be kept on that day; return the partitions, and how many rows are in none of their own."""
    async with at_day(database, moment), await psycopg.AsyncConnection.connect(database, autocommit=True) as later:
        await keep_history(later, {"purse": timedelta(days=7)})
        parts = await rows(
            later,
            "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid "
            "where i.inhparent = 'revenant.history'::regclass and c.relname <> 'history_rest' order by 1",
        )
        return [name for (name,) in parts], await value(later, "select count(*) from revenant.history_rest")


@pytest.mark.fresh
async def test_a_history_is_written_whatever_day_it_is_and_dropped_a_day_at_a_time(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rest(*_: Any) -> float:
        return 60.0

    # Nobody makes partitions until the test does: the days are years after the last one.
    await keep_history(connection, {"purse": timedelta(days=7)})
    monkeypatch.setattr(Chronicler, "run_once", rest)
    await puts(database, settings, "2040-03-01 23:59:59Z", 1)
    await puts(database, settings, "2040-03-02 00:00:01Z", 2)
    assert await value(connection, "select count(*) from revenant.history_rest") == 3
    parts, strays = await kept(database, settings, "2040-03-07 12:00:00Z")
    assert strays == 0
    assert {"history_20400301", "history_20400302", "history_20400307", "history_20400310"} <= set(parts)
    assert await value(connection, "select count(*) from revenant.history_20400302") == 2
    await puts(database, settings, "2040-03-20 12:00:00Z", 4)
    parts, strays = await kept(database, settings, "2040-03-21 12:00:00Z")
    assert (min(parts), strays) == ("history_20400320", 0)
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings) as app:
        # What was written on a day that is dropped is still known where it is the state before the next change.
        long_before = datetime.fromisoformat("2040-03-15T00:00:00Z")
        found = await app.state(Purse, "p", at=long_before)
        assert found is not None
        assert found.cents == 3
        assert [change.version for change in await app.history(Purse, "p")] == [3]


@pytest.mark.fresh
async def test_histories_survive_two_keepers_at_once_and_one_that_waits_in_vain(
    database: str, connection: Connection
) -> None:
    async with await psycopg.AsyncConnection.connect(database) as reader:
        await reader.execute("select count(*) from revenant.history")
        await keep_history(connection, {"purse": timedelta(days=7)})
        await connection.execute(
            "insert into revenant.history (bucket, kind, key, at, seq, version, vsn, state, message, handler) "
            "values (0, 'k', 'k', now() + interval '1 day', 1, 1, 1, '{}', gen_random_uuid(), 'h')"
        )
    parts = "select count(*) from pg_inherits where inhparent = 'revenant.history'::regclass"
    await asyncio.gather(*(keeping(database) for _ in range(4)))
    assert await value(connection, parts) == 5
    assert await value(connection, "select count(*) from only revenant.history_rest") == 0


async def keeping(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await keep_history(connection, {"purse": timedelta(days=7)})


class Visit(Entity, kind="visit", durability=Interval(seconds=600), history=timedelta(days=1)):
    """A relaxed kind: many messages, one write."""

    n: int = 0

    @handler
    async def add(self) -> int:
        self.n += 1
        return self.n

    async def passivate(self) -> None:
        self.n += 100


async def test_a_relaxed_entity_has_every_version_in_its_history_too(database: str, settings: Settings) -> None:
    async with Revenant(entities=[Visit], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        visit = app.ref(Visit, "v")
        assert [await visit.add() for _ in range(5)] == [1, 2, 3, 4, 5]
        await worker.stop(drain_timeout=5)
        changes = await app.history(visit)
        states = [(change.version, change.handler, change.state and change.state.n) for change in reversed(changes)]
        assert states == [(n, "add", n) for n in range(1, 6)] + [(6, "passivate", 105)]


class Reads(Entity):
    """Uses the application's own tables."""

    n: int = 0

    @handler(readonly=True)
    async def insert(self) -> int:
        await self.turn.connection.execute("insert into own (n) values (1)")
        cursor = await self.turn.connection.execute("select count(*) from own")
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


async def test_what_a_readonly_handlers_own_sql_wrote_is_undone(
    database: str, settings: Settings, connection: Connection
) -> None:
    await connection.execute("create table own (n int)")
    async with Revenant(entities=[Reads], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        assert await asyncio.gather(*(app.ref(Reads, "r").insert() for _ in range(3))) == [1, 1, 1]
        await worker.stop(drain_timeout=5)
    assert await value(connection, "select count(*) from own") == 0
