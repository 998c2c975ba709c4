"""Several entities in one commit: all of them change, or none does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import (
    CallTimeout,
    ConfigurationError,
    HandlerError,
    IntegrityViolation,
    InvalidArguments,
    InvalidKey,
    StateInvalid,
)
from revenant.worker.worker import Worker
from tests.purses import Purse, Vault
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


class Untyped(Entity):
    @handler(together="other")
    async def give(self, other: str) -> None: ...


class Relaxed(Entity, durability=Interval(seconds=5)):
    @handler(together="other")
    async def give(self, other: Purse) -> None: ...


class Eager(Entity):
    @handler(together="other")
    async def give(self, other: Relaxed) -> None: ...


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Purse, Vault], database_url=database, settings=settings) as application:
        yield application


async def states(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return (version, coins) of each purse."""
    found = await rows(
        connection, "select key, version, (state->>'coins')::int from revenant.entities where kind='Purse'"
    )
    return {key: (version, coins) for key, version, coins in found}


async def test_two_entities_change_in_one_commit(app: Revenant, worker: Worker, connection: Connection) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await ann.put(100)
    assert await ann.give(bob, 30) == (70, 30)
    assert await bob.look() == 30
    found = await rows(connection, "select key, xmin::text from revenant.entities order by key")
    assert found[0][1] == found[1][1], "written by one transaction"
    assert await states(connection) == {"ann": (2, 70), "bob": (1, 30)}


async def test_a_handler_that_fails_changes_neither(app: Revenant, worker: Worker, connection: Connection) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await asyncio.gather(ann.put(10), bob.put(10))
    results = await asyncio.gather(
        ann.give(bob, 1), ann.give(bob, 3, fail="no"), ann.give(bob, 2), return_exceptions=True
    )
    assert results[0] == (9, 11)
    assert isinstance(results[1], HandlerError)
    assert results[2] == (7, 13)
    assert await states(connection) == {"ann": (3, 7), "bob": (3, 13)}


async def test_three_entities_of_two_kinds_and_what_they_send_are_one_commit(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    ann = app.ref(Purse, "ann")
    assert await ann.share(app.ref(Purse, "bob"), app.ref(Vault, "v"), 5) == ["ann", "bob", "v"]
    await eventually(lambda: has_coins(app, "witness", 2), what="what two of the turns had cast")
    assert (
        await value(connection, "select count(distinct xmin::text) from revenant.entities where key <> 'witness'") == 1
    )
    assert await app.ref(Vault, "v").put(0) == 5


async def has_coins(app: Revenant, key: str, wanted: int) -> bool:
    return await app.ref(Purse, key).look() == wanted


async def test_the_same_entity_twice_is_one_object(app: Revenant, worker: Worker, connection: Connection) -> None:
    ann = app.ref(Purse, "ann")
    await ann.put(10)
    assert await ann.give(ann, 7) == (10, 10)
    assert await states(connection) == {"ann": (1, 10)}, "nothing changed, so nothing was written"


async def test_a_partner_can_be_ended(app: Revenant, worker: Worker, connection: Connection) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await bob.put(5)
    assert await ann.inherit(bob) == 5
    assert await states(connection) == {"ann": (1, 5)}
    assert await bob.put(1) == 1


async def test_the_handlers_own_sql_is_in_the_commit_of_both(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute("create table own_rows (value int check (value < 100))")
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    assert await ann.give_on_paper(bob, 5) == -5
    with pytest.raises(IntegrityViolation, match="own_rows"):
        await ann.give_on_paper(bob, 100)
    assert await states(connection) == {"ann": (1, -5), "bob": (1, 5)}
    assert await value(connection, "select count(*) from own_rows") == 1


async def test_anybody_can_name_a_partner_by_its_key(app: Revenant, worker: Worker, connection: Connection) -> None:
    await connection.execute("select revenant.cast('Purse', 'ann', 'give', '{\"other\": \"bob\", \"coins\": 4}')")
    async with Revenant(database_url=app.url(), settings=app.settings) as stranger:
        ann = stranger.ref("Purse", "ann")
        assert await ann.give(other="bob", coins=1) == [-5, 5]
        assert await ann.give("bob", 1) == [-6, 6]


async def test_what_is_no_partner_is_refused_before_it_is_sent(app: Revenant) -> None:
    ann: Any = app.ref(Purse, "ann")
    with pytest.raises(InvalidArguments, match="is the address of a Vault, and a Purse is wanted"):
        ann.give(app.ref(Vault, "v"), 1)
    with pytest.raises(InvalidArguments, match="a ref, as app.ref"):
        ann.give(7, 1)
    with pytest.raises(InvalidKey):
        ann.give("", 1)


async def test_a_busy_partner_is_waited_for_and_nobody_else_is_kept(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    ann, bob, cid = app.ref(Purse, "ann"), app.ref(Purse, "bob"), app.ref(Purse, "cid")
    lingering = asyncio.ensure_future(bob.linger(0.4))
    await eventually(lambda: is_locked(connection), what="bob's turn")
    giving = asyncio.ensure_future(ann.give(bob, 5))
    assert await cid.put(1) == 1
    assert not lingering.done()
    assert await giving == (-5, 5)
    assert lingering.done()


async def is_locked(connection: Connection) -> bool:
    """Whether a turn has an entity that has no row yet."""
    locks = "select count(*) from pg_locks join pg_stat_activity using (pid) where datname = current_database()"
    return bool(await value(connection, f"{locks} and locktype = 'advisory'"))


async def test_a_hot_partner_is_had_all_the_same(app: Revenant, worker: Worker) -> None:
    ann, hot = app.ref(Purse, "ann"), app.ref(Purse, "hot")
    given = asyncio.Event()

    async def caller() -> None:
        while not given.is_set():
            await hot.put(0)

    callers = [asyncio.ensure_future(caller()) for _ in range(32)]
    await hot.put(1)
    for number in range(5):
        assert await app.call(ann.give(hot, 1), timeout=10) == (-number - 1, number + 2)
    given.set()
    await asyncio.gather(*callers)


async def test_two_entities_that_want_each_other_all_the_time_both_get_on(app: Revenant, worker: Worker) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await asyncio.gather(*(one.give(other, 1) for _ in range(20) for one, other in ((ann, bob), (bob, ann))))
    assert await ann.look() == 0
    assert await bob.look() == 0


async def test_messages_to_one_entity_keep_their_order_around_one_with_a_partner(app: Revenant, worker: Worker) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    lingering = asyncio.ensure_future(bob.linger(0.1))
    results = await asyncio.gather(ann.put(1), ann.give(bob, 1), ann.put(5), ann.give(bob, 2), ann.look())
    assert list(results) == [1, (0, 1), 5, (3, 3), 3]
    await lingering


async def test_the_invalid_state_of_a_partner_is_told_and_holds_up_nobody(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await bob.put(1)
    await connection.execute('update revenant.entities set state = \'{"coins": "many"}\'')
    with pytest.raises(StateInvalid, match="bob"):
        await ann.give(bob, 1)
    assert await ann.put(2) == 2


async def test_a_partner_of_a_kind_or_version_that_is_not_known_here_leaves_the_message(
    app: Revenant, connection: Connection, settings: Settings
) -> None:
    ann, vault = app.ref(Purse, "ann"), app.ref(Vault, "v")
    narrow = app.worker(kinds=["Purse"])
    await narrow.start()
    with pytest.raises(CallTimeout) as caught:
        await app.call(ann.share(app.ref(Purse, "bob"), vault, 5), timeout=0.3)
    wide = app.worker()
    await wide.start()
    assert await app.reply(caught.value.message_id, timeout=10) == ["ann", "bob", "v"]
    await narrow.stop(drain_timeout=1)
    await connection.execute("update revenant.entities set vsn = 2 where key = 'bob'")
    with pytest.raises(CallTimeout):
        await app.call(ann.give(app.ref(Purse, "bob"), 5), timeout=0.3)
    await wide.stop(drain_timeout=1)
    assert await value(connection, "select handler from revenant.messages") == "give"


async def test_a_cast_to_an_entity_with_a_partner_that_is_due_later_finds_it(app: Revenant, worker: Worker) -> None:
    ann, bob = app.ref(Purse, "ann"), app.ref(Purse, "bob")
    await app.cast(ann.give(bob, 5), after=timedelta(milliseconds=1))
    await eventually(lambda: has_coins(app, "bob", 5), what="the coins")


def test_what_cannot_change_together_is_refused_with_the_class() -> None:
    with pytest.raises(ConfigurationError, match="none of its parameters"):

        class Misnamed(Entity):
            @handler(together="othre")
            async def give(self, other: Purse) -> None: ...

    with pytest.raises(ConfigurationError, match="Annotate it with the entity's class"):
        Revenant(entities=[Untyped])
    with pytest.raises(ConfigurationError, match="stored later than it changes"):
        Revenant(entities=[Eager])
    with pytest.raises(ConfigurationError, match="stored later than it changes"):
        Revenant(entities=[Relaxed])
