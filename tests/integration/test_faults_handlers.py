"""Handlers and messages that misbehave: collisions, poison and duplicates cost their own message, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client.envelope import seal
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.entities.turn import COLLISION_RERUNS
from revenant.errors import HandlerError, StateInvalid
from revenant.queue.claim import claim
from revenant.queue.mailbox import enqueue
from revenant.queue.records import Claim, Claimed, Hint
from revenant.worker import sweeper
from revenant.worker.worker import Worker
from tests.entities import Account, Ledger
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
COLLIDE = """
do $$ begin
    if nextval('own_runs') <= {times} then
        raise exception 'collided' using errcode = '{state}';
    end if;
end $$
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_handler_whose_sql_collides_is_run_again_from_fresh_state(
    app: Revenant, worker: Worker, connection: Connection, state: str
) -> None:
    await connection.execute("create sequence own_runs; create table own_rows (value int)")
    ledger = app.ref(Ledger, "l")
    script = [
        "insert into own_rows values (1)",
        COLLIDE.format(times=2, state=state),
        "insert into own_rows values (2)",
    ]
    assert await ledger.run(script) == 1
    assert await value(connection, "select last_value from own_runs") == 3, "it did not collide twice"
    assert await rows(connection, "select value from own_rows order by 1") == [(1,), (2,)]
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def test_a_handler_that_collides_for_ever_fails_alone(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute("create sequence own_runs; create table own_rows (value int)")
    ledger = app.ref(Ledger, "l")
    script = ["insert into own_rows values (1)", COLLIDE.format(times=1000, state="40001")]
    failed, *others = await asyncio.gather(
        ledger.run(script), ledger.insert(7), app.ref(Account, "a").deposit(1), return_exceptions=True
    )
    assert isinstance(failed, HandlerError)
    assert "SerializationFailure" in failed.type
    assert others == [1, 1]
    assert await value(connection, "select last_value from own_runs") == COLLISION_RERUNS + 1
    assert await rows(connection, "select value from own_rows") == [(7,)]


async def test_a_handler_that_loses_a_deadlock_gets_through_at_last(
    app: Revenant, worker: Worker, connection: Connection, database: str
) -> None:
    await connection.execute("create table own_rows (value int, n int); insert into own_rows values (1, 0), (2, 0)")
    move = "update own_rows set n = n + 1 where value = {}"
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute("set deadlock_timeout = '60s'")
        await other.execute(move.format(2))
        call = asyncio.create_task(app.call(app.ref(Ledger, "l").run([move.format(1), move.format(2)])))
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        await eventually(lambda: value(connection, waiting), what="the handler's wait")
        before = await value(connection, "select deadlocks from pg_stat_database where datname = current_database()")
        # Now each waits for the other, until Postgres chooses the handler: it has waited longer.
        await other.execute(move.format(1))
        await other.commit()
    async with asyncio.timeout(15):
        assert await call == 1

    async def counted() -> bool:
        now = await value(connection, "select deadlocks from pg_stat_database where datname = current_database()")
        return bool(now > before)

    await eventually(counted, what="a deadlock in the statistics")
    assert await rows(connection, "select value, n from own_rows order by 1") == [(1, 2), (2, 2)]


async def test_a_deletion_and_a_new_beginning_in_one_turn_are_written(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    """The new state has reached the old one's version: it is a change all the same."""
    account = app.ref(Account, "a")
    assert await account.deposit(5) == 5
    assert list(await asyncio.gather(app.delete(account), account.deposit(1))) == [True, 1]
    assert await rows(connection, "select version, state->'balance' from revenant.entities") == [(1, 1)]
    assert await account.read() == 1


async def test_a_turn_over_new_and_old_entities_gives_each_its_own_state(app: Revenant, connection: Connection) -> None:
    """Whichever of them are new, held by another turn, or there already, and in whatever order they are named."""
    late = app.worker()
    await late.start()
    balances = {f"old-{n}": n + 100 for n in range(20)}
    await asyncio.gather(*(app.ref(Account, key).deposit(balance) for key, balance in balances.items()))
    await late.stop(drain_timeout=5)
    buckets: dict[str, int] = dict(await rows(connection, "select key, bucket from revenant.entities"))
    news = [f"new-{n}" for n in range(20)]
    buckets |= {key: bucket_of("Account", key) for key in news}
    orders = [
        [*news, *balances],
        [*balances, *news],
        [key for pair in zip(news, balances, strict=True) for key in pair],
        [key for pair in zip(balances, news, strict=True) for key in pair],
    ]
    for key in buckets:
        await app.cast(app.ref(Account, key).deposit(0))
    for keys in orders:
        async with connection.transaction(force_rollback=True):
            claimed = await claim(connection, [Hint(buckets[key], "Account", key, 0) for key in keys], {"Account": 1})
        assert claimed.later == claimed.locked == []
        found = {
            entity.key: json.loads(entity.state)["balance"] if entity.state else None for entity in claimed.entities
        }
        assert found == {**dict.fromkeys(news), **balances}
        assert [entity.key for entity in claimed.entities] == keys


async def test_a_poisoned_entity_makes_no_hot_loop_and_holds_up_nobody(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "IDLE_SECONDS", 0.02)
    turns: list[Claimed] = []

    async def counted(*given: Any, **named: Any) -> Claim:
        claimed = await claim(*given, **named)
        turns.extend(entity for entity in claimed.entities if entity.key == "poisoned")
        return claimed

    poisoned = app.ref(Account, "poisoned")
    await poisoned.deposit(5)
    await connection.execute('update revenant.entities set state = \'{"balance": "much"}\'')
    monkeypatch.setattr("revenant.worker.lanes.partners.claim", counted)
    await app.cast(poisoned.deposit(1))
    for n in range(300):
        assert await app.ref(Account, f"other-{n % 10}").deposit(1) == n // 10 + 1
    with pytest.raises(StateInvalid):
        await poisoned.deposit(1)
    assert 2 <= len(turns) <= 6
    assert await value(connection, "select count(*) from revenant.messages") == 1


@pytest.mark.parametrize("digest", [None, b"d" * 16])
@pytest.mark.parametrize("origin", [None, "revenant_reply_nobody"])
async def test_a_message_that_is_there_twice_counts_once(
    app: Revenant, worker: Worker, connection: Connection, digest: bytes | None, origin: str | None
) -> None:
    account = app.ref(Account, "a")
    envelope = seal(account.deposit(5), origin=origin, idempotency_key=None)._replace(digest=digest)
    await enqueue(connection, batch=new_id(0), settled=[], envelopes=[envelope, envelope], read_ids=[])
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
    assert await account.read() == 5
    if digest is not None or origin is not None:
        # As long as its reply is there, it is known however late it comes again.
        await enqueue(connection, batch=new_id(0), settled=[], envelopes=[envelope], read_ids=[])
        await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
        assert await account.read() == 5
    assert await rows(connection, "select version from revenant.entities") == [(1,)]


async def test_a_key_counts_once_over_the_clients_restarts(
    database: str, settings: Settings, worker: Worker, connection: Connection
) -> None:
    replies = []
    for _ in range(3):
        async with Revenant(entities=[Account], database_url=database, settings=settings) as app:
            account = app.ref(Account, "a")
            replies.append(await app.call(account.deposit_versioned(5), idempotency_key="k"))
    assert replies == [replies[0]] * 3
    assert await rows(connection, "select version, state->'balance' from revenant.entities") == [(1, 5)]


async def test_callers_who_share_a_key_do_not_lose_each_others_reply(app: Revenant, connection: Connection) -> None:
    account = app.ref(Account, "a")
    patient = asyncio.create_task(app.call(account.deposit(5), idempotency_key="k", timeout=10))
    attached = []
    with pytest.raises(TimeoutError):
        await app.call(account.deposit(5), idempotency_key="k", timeout=0.1)
    message_id = await value(connection, "select id::text from revenant.messages")
    attached.append(asyncio.create_task(app.reply(message_id, timeout=10, returns=int)))
    with pytest.raises(TimeoutError):
        await app.reply(message_id, timeout=0.1)
    late = app.worker()
    await late.start()
    assert await asyncio.gather(patient, *attached) == [5, 5]
    await late.stop()
