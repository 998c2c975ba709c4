"""Stored state that does not fit: casts wait for a person, however many, and calls are told at once, wherever they wait."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.codec import bucket_of
from revenant.errors import StateInvalid
from revenant.queue.callers import claim_calls
from revenant.queue.claim import ENTITY_LIMIT, claim
from revenant.queue.records import Claim, Claimed, Delivery, Hint
from revenant.worker.agenda import Agenda
from revenant.worker.lanes import aftermath
from revenant.worker.worker import Worker
from tests.entities import Account
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
CASTS = 300
STUCK = ("Account", "stuck")
WAITING = "select count(*) from revenant.messages"


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[Claimed]:
    """The turns that the stuck entity gets."""
    found: list[Claimed] = []

    async def counted(*given: Any, **named: Any) -> Claim:
        claimed = await claim(*given, **named)
        found.extend(entity for entity in claimed.entities if entity.key == "stuck")
        return claimed

    monkeypatch.setattr("revenant.worker.lanes.partners.claim", counted)
    return found


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The net passes a stuck entity by for so long that nothing is ever told by the net."""
    monkeypatch.setattr(aftermath, "BLOCKED_SECONDS", 3600.0)


async def spoil(app: Revenant, connection: Connection, *, casts: int = CASTS) -> Account:
    """Make a state that does not fit, and casts that wait behind it."""
    assert casts > ENTITY_LIMIT
    stuck = app.ref(Account, "stuck")
    await stuck.deposit(5)
    await connection.execute('update revenant.entities set state = \'{"balance": "much"}\'')
    await asyncio.gather(*(app.cast(stuck.deposit(1)) for _ in range(casts)))
    return stuck


async def test_a_call_behind_more_stuck_casts_than_a_turn_reads_is_told_and_the_casts_wait(
    app: Revenant, worker: Worker, connection: Connection, turns: list[Claimed], blocked: None
) -> None:
    stuck = await spoil(app, connection)
    turns.clear()
    for _ in range(3):
        with pytest.raises(StateInvalid):
            await app.call(stuck.deposit(1), timeout=20)
    for number in range(200):
        assert await app.ref(Account, "other").deposit(1) == number + 1
    assert len(turns) <= 6, "the casts cause turns by themselves"
    assert await value(connection, WAITING) == CASTS
    assert await value(connection, "select count(*) from revenant.dead") == 0
    await connection.execute("update revenant.entities set state = '{\"balance\": 5}' where key = 'stuck'")
    worker._agenda._blocked.clear()  # in the end the net looks again
    await eventually(
        lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="the end of the casts"
    )
    assert await stuck.read() == 5 + CASTS


async def test_many_calls_behind_stuck_casts_are_all_told(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    stuck = await spoil(app, connection)
    many = ENTITY_LIMIT + 50
    told = await asyncio.gather(
        *(app.call(stuck.deposit(1), timeout=10) for _ in range(many)),
        app.call(stuck.deposit(1), timeout=10, idempotency_key="k"),
        return_exceptions=True,
    )
    assert {type(error) for error in told} == {StateInvalid}
    with pytest.raises(StateInvalid):
        await app.call(stuck.deposit(1), timeout=10, idempotency_key="k")
    assert await value(connection, WAITING) == CASTS


async def quiet(worker: Worker) -> Agenda:
    """Wait until the casts have had their turns, and nothing but the net would look at them again."""
    agenda = worker._agenda
    await eventually(
        lambda: STUCK in agenda._blocked and not agenda.running and not len(agenda), what="the end of the casts' turns"
    )
    return agenda


async def test_a_call_that_comes_with_the_net_while_the_casts_get_stuck_is_told_all_the_same(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch, blocked: None
) -> None:
    """Both hints come while a turn runs; by its end they are one, and the net passes the entity by."""
    stuck = await spoil(app, connection)
    agenda = await quiet(worker)
    net = Hint(bucket_of(*STUCK), *STUCK, 0)
    calls: list[asyncio.Task[int]] = []

    async def read(*given: Any, **named: Any) -> list[Delivery]:
        found = await claim_calls(*given, **named)
        if not calls:
            calls.append(asyncio.create_task(app.call(stuck.deposit(1), timeout=20)))
            await eventually(lambda: agenda._running[STUCK], what="the call's hint")
            agenda.add([net], backlog=True)
        return found

    monkeypatch.setattr("revenant.worker.lanes.stuck.claim_calls", read)
    agenda._blocked.clear()
    agenda.add([net], backlog=True)
    await eventually(lambda: calls, what="the net's turn")
    with pytest.raises(StateInvalid):
        await calls[0]
    assert await value(connection, WAITING) == CASTS


async def test_more_casts_than_a_turn_reads_go_on_at_once_after_a_deletion(
    app: Revenant, worker: Worker, connection: Connection, blocked: None
) -> None:
    stuck = await spoil(app, connection)
    await quiet(worker)
    assert await app.delete(stuck) is True
    await eventually(lambda: value(connection, f"select ({WAITING}) = 0"), what="the end of the casts")
    assert await stuck.read() == CASTS


async def test_a_deletion_behind_stuck_casts_ends_the_state_and_lets_them_go_on(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = await spoil(app, connection)
    taken: list[list[Delivery]] = []

    async def kept(*given: Any, **named: Any) -> list[Delivery]:
        taken.append(await claim_calls(*given, **named))
        return taken[-1]

    monkeypatch.setattr("revenant.worker.lanes.stuck.claim_calls", kept)
    deleted, balance = await asyncio.gather(app.delete(stuck), app.call(stuck.deposit(1), timeout=10))
    assert deleted is True
    assert balance == CASTS + 1, "a call overtook the casts before it"
    assert taken
    assert await rows(connection, "select version from revenant.entities where key = 'stuck'") == [(CASTS + 1,)]
