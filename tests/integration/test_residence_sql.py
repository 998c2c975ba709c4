"""Who may visit, answer and flush, as Postgres decides it: by owner, fence and the owner's life."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest_asyncio

from revenant.codec import bucket_of, new_id
from revenant.queue.claim import peek
from revenant.queue.records import RELEASED, Hint
from revenant.queue.residence import Look, Place, Visit, answer, hold, release_dead, visit
from revenant.queue.script import run_script
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]
ME, OTHER = new_id(0), new_id(0)
BUCKET = bucket_of("Lamp", "a")
BORN = """
insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start)
select %s, 'here', 1, '{}', 1, 0, a.pid, a.backend_start from pg_stat_get_activity(pg_backend_pid()) a
"""


@pytest_asyncio.fixture
async def fleet(connection: Connection) -> Connection:
    """Two workers that live as long as this connection, and a message for one entity."""
    for worker in (ME, OTHER):
        await connection.execute(BORN, (worker,))
    await connection.execute("select revenant.cast('Lamp', 'a', 'shine')")
    return connection


async def die(connection: Connection, how: str) -> None:
    if how == "silent":
        await connection.execute(
            "update revenant.workers set heartbeat_at = now() - make_interval(secs => 9) where id = %s", (OTHER,)
        )
    elif how == "gone":
        await connection.execute("delete from revenant.workers where id = %s", (OTHER,))
    else:
        await connection.execute("update revenant.workers set backend_pid = 1 where id = %s", (OTHER,))


async def visited(
    connection: Connection, worker: str, fence: int = 0, *, since: int = 0, most: int = 256, **known: int
) -> Visit:
    """Visit the entity; one that is owned has a way of its own where it is alone, and both ways find the same."""
    look = Look(Place(BUCKET, "Lamp", "a", fence), since, known.get("known", 0), known.get("last", 0))
    found = await visit(connection, worker, [look], {"Lamp": 1}, most=most)
    if fence:
        company = Look(Place(BUCKET, "Lamp", "nobody", 0), 0, 0, 0)
        beside = await visit(connection, worker, [look, company], {"Lamp": 1}, most=most)
        assert (beside.entities, beside.lost, beside.later) == (found.entities, found.lost, found.later)
        assert abs((beside.now - found.now).total_seconds()) < 60
    return found


async def fence_of(connection: Connection) -> int:
    return int(await value(connection, "select fence from revenant.residents"))


async def test_whoever_visits_first_owns_it_and_another_is_turned_away(fleet: Connection) -> None:
    found = await visited(fleet, OTHER)
    assert found.entities[0].acquired
    assert [one.handler for one in found.entities[0].claimed.deliveries] == ["shine"]
    turned_away = await visited(fleet, ME)
    assert (turned_away.elsewhere, turned_away.entities) == ([0], {})


async def test_an_entity_without_messages_is_nobody_s(fleet: Connection) -> None:
    await fleet.execute("delete from revenant.messages")
    assert (await visited(fleet, ME)).entities == {}
    assert await rows(fleet, "select * from revenant.residents") == []


async def test_what_a_dead_worker_owns_is_taken_over_by_a_new_fence(fleet: Connection) -> None:
    for how in ("silent", "gone", "backend"):
        async with fleet.transaction(force_rollback=True):
            await visited(fleet, OTHER)
            old = await fence_of(fleet)
            await die(fleet, how)
            assert (await visited(fleet, ME)).entities[0].fence > old, how
            # It goes on, and is told.
            assert (await visited(fleet, OTHER, old)).lost == [0]
            place = Place(BUCKET, "Lamp", "a", old)
            assert await answer(fleet, OTHER, [place], [("revenant_x", "y")]) == [0]


async def test_a_fence_does_not_come_again(fleet: Connection) -> None:
    await visited(fleet, ME)
    old = await fence_of(fleet)
    await fleet.execute("delete from revenant.residents")
    await visited(fleet, ME)
    assert (await visited(fleet, ME, old)).lost == [0]


async def test_a_hold_leaves_out_what_is_owned_by_another_fence(fleet: Connection) -> None:
    await visited(fleet, ME)
    fence = await fence_of(fleet)
    ((seq, name),) = await rows(fleet, "select seq, id::text from revenant.messages")
    for worker, number, leaving in ((ME, fence + 1, False), (OTHER, fence, False), (OTHER, fence, True)):
        held = await hold(fleet, worker, [Place(BUCKET, "Lamp", "a", number)], leaving=[leaving], handled=[{seq: name}])
        await run_script(fleet, "commit")
        assert held.held == []
    held = await hold(
        fleet, ME, [Place(BUCKET, "Lamp", "a", fence)], leaving=[True], handled=[{seq: name, seq + 1: OTHER}]
    )
    await run_script(fleet, "commit")
    ((slot, tid, version, message_tids),) = held.held
    assert (slot, tid, version, len(message_tids)) == (0, None, 0, 1)
    assert await rows(fleet, "select * from revenant.residents") == []


async def test_a_hold_finds_no_message_that_only_has_the_number_of_another(fleet: Connection) -> None:
    await visited(fleet, ME)
    place = Place(BUCKET, "Lamp", "a", await fence_of(fleet))
    seq = await value(fleet, "select seq from revenant.messages")
    held = await hold(fleet, ME, [place], leaving=[False], handled=[{seq: OTHER}])
    await run_script(fleet, "commit")
    assert [one.message_tids for one in held.held] == [[]]


async def test_a_look_at_all_messages_goes_on_behind_those_that_are_handled(fleet: Connection) -> None:
    await visited(fleet, ME)
    fence = await fence_of(fleet)
    first = await value(fleet, "select seq from revenant.messages")
    assert (await visited(fleet, ME, fence, known=1, last=first)).entities == {}
    await fleet.execute("select revenant.cast('Lamp', 'a', 'shine')")
    later = await visited(fleet, ME, fence, known=1, last=first)
    assert [one.seq for one in later.entities[0].claimed.deliveries] == [first + 1]
    # One that was numbered early and committed late is counted, and then looked for.
    missed = await visited(fleet, ME, fence, known=1, last=first + 1)
    assert [one.seq for one in missed.entities[0].claimed.deliveries] == [first, first + 1]


async def test_what_is_read_of_one_is_bounded_and_says_where_it_goes_on(fleet: Connection) -> None:
    await visited(fleet, ME)
    fence = await fence_of(fleet)
    first = await value(fleet, "select seq from revenant.messages")
    for _ in range(3):
        await fleet.execute("select revenant.cast('Lamp', 'a', 'shine', '{\"x\": 1}')")
    for most in (1, 2, 3):
        found = await visited(fleet, ME, fence, most=most)
        assert [one.seq for one in found.entities[0].claimed.deliveries] == list(range(first, first + most))
        assert found.later == {0: first + most}
    found = await visited(fleet, ME, fence, since=first + 2, most=4)
    assert [one.seq for one in found.entities[0].claimed.deliveries] == [first + 2, first + 3]
    assert found.later == {}


async def test_a_reply_that_is_there_already_comes_with_its_message(fleet: Connection) -> None:
    await visited(fleet, ME)
    fence = await fence_of(fleet)
    await fleet.execute("update revenant.messages set digest = '\\x01'")
    await fleet.execute(
        "insert into revenant.replies (bucket, id, status, version, body, digest, expires_at) "
        "select bucket, id, 'ok', 3, '\"done\"', '\\x01', now() + make_interval(days => 1) from revenant.messages"
    )
    (delivery,) = (await visited(fleet, ME, fence)).entities[0].claimed.deliveries
    assert delivery.done is not None
    assert (delivery.done.status, delivery.done.version, delivery.done.body) == ("ok", 3, '"done"')


async def test_callers_are_woken_while_the_entity_is_owned_one_or_many(fleet: Connection, database: str) -> None:
    await visited(fleet, ME)
    mine = Place(BUCKET, "Lamp", "a", await fence_of(fleet))
    wake = ("revenant_x", "for you")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as ear:
        await ear.execute('listen "revenant_x"')
        for places, wakes in (([mine], [wake]), ([mine, mine], [wake]), ([mine], [wake, wake])):
            assert await answer(fleet, ME, places, wakes) == []
            assert [note.payload async for note in ear.notifies(timeout=5, stop_after=1)] == ["for you"]
        for worker, place in ((OTHER, mine), (ME, mine._replace(fence=mine.fence + 1)), (ME, mine._replace(key="b"))):
            assert await answer(fleet, worker, [place], [wake]) == [0]
        assert [note.payload async for note in ear.notifies(timeout=0.2)] == []


async def test_state_that_a_newer_class_wrote_is_left_alone(fleet: Connection) -> None:
    await fleet.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "values (%s, 'Lamp', 'a', 1, 2, '{}', 0)",
        (BUCKET,),
    )
    assert (await visited(fleet, ME)).newer == [0]
    assert await rows(fleet, "select * from revenant.residents") == []


async def test_a_message_needs_somebody_only_where_nobody_alive_keeps_its_entity(fleet: Connection) -> None:
    hint = Hint(BUCKET, "Lamp", "a", 0)
    assert await peek(fleet, [hint]) == [0]
    await visited(fleet, OTHER)
    assert await peek(fleet, [hint]) == []
    await die(fleet, "gone")
    assert await peek(fleet, [hint]) == [0]


async def test_the_residence_of_the_dead_ends_and_their_messages_are_told_of(fleet: Connection) -> None:
    await fleet.execute("select revenant.cast('Lamp', 'b', 'shine')")
    for key in ("a", "b"):
        look = Look(Place(bucket_of("Lamp", key), "Lamp", key, 0), 0, 0, 0)
        await visit(fleet, OTHER, [look], {"Lamp": 1})
    await fleet.execute("delete from revenant.messages where key = 'b'")
    assert await release_dead(fleet, ME, page=500) == []
    await die(fleet, "backend")
    assert await release_dead(fleet, ME, page=500) == [Hint(BUCKET, "Lamp", "a", RELEASED)]
    assert await rows(fleet, "select * from revenant.residents") == []
