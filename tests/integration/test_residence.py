"""Relaxed durability: who lives in memory, when it is written, and what a caller may rely on."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.client.inbox import Inbox
from revenant.config import Settings
from revenant.errors import ConfigurationError, HandlerError, IdempotencyConflict, Unstorable
from revenant.queue.residence import answer
from revenant.worker.worker import Worker
from tests.relaxed import KINDS, Fly, Lamp, Spark, Stone
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> Any:
    async with Revenant(entities=KINDS, database_url=database, settings=settings) as application:
        yield application


@pytest_asyncio.fixture
async def worker(app: Revenant) -> Any:
    running = app.worker()
    await running.start()
    await running.ready()
    yield running
    await running.stop(drain_timeout=5)


async def stored(connection: Connection, kind: str, key: str) -> Any:
    return await value(connection, "select state from revenant.entities where kind = %s and key = %s", kind, key)


async def waiting(connection: Connection) -> int:
    return int(await value(connection, "select count(*) from revenant.messages"))


async def test_an_interval_answers_before_it_writes_and_writes_once_for_many_messages(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lamp = app.ref(Lamp, "a")
    assert [await lamp.shine() for _ in range(10)] == list(range(1, 11))
    assert await stored(connection, "Lamp", "a") is None
    assert await waiting(connection) == 10
    await worker.stop(drain_timeout=5)
    assert await stored(connection, "Lamp", "a") == {"shines": 10, "farewells": 1}
    assert await waiting(connection) == 0
    assert await value(connection, "select version from revenant.entities") == 11
    assert await rows(connection, "select * from revenant.residents") == []


@pytest.mark.parametrize("options", [{}, {"durability": "strict"}], ids=["visited", "flushed"])
async def test_a_number_that_a_crash_of_postgres_gave_away_again_hides_no_message(
    app: Revenant, worker: Worker, connection: Connection, options: dict[str, Any]
) -> None:
    """The call was never on the disk, its number is the next one's, and what was made of it is still in memory."""
    lamp = app.ref(Lamp, "a")
    await app.ref(Lamp, "other").shine()
    assert await lamp.shine() == 1
    number = await value(connection, "select seq from revenant.messages where key = 'a'")
    await connection.execute("delete from revenant.messages where key = 'a'")
    await connection.execute("alter table revenant.messages alter column seq restart with " + str(number))
    await app.cast(lamp.shine(10))
    assert await value(connection, "select seq from revenant.messages where key = 'a'") == number
    assert await app.call(lamp.shine(100), timeout=20, **options) == 110


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_message_whose_hint_was_lost_is_handled_before_the_next_one(
    app: Revenant, worker: Worker, connection: Connection, flushed: bool
) -> None:
    lamp = app.ref(Lamp, "a")
    assert await app.call(lamp.shine(), durability="strict" if flushed else None) == 1
    await connection.execute(
        "insert into revenant.messages (bucket, kind, key, id, handler, args) "
        "select b, 'Lamp', 'a', revenant.new_id_v1(b), 'shine', '{\"by\": 10}' from revenant.bucket_v1('Lamp', 'a') b"
    )
    assert await lamp.shine(100) == 111


async def test_the_interval_ends_by_itself(app: Revenant, worker: Worker, connection: Connection) -> None:
    spark = app.ref(Spark, "a")
    assert await spark.add() == 1
    await eventually(lambda: stored(connection, "Spark", "a"))
    assert await spark.add() == 2
    await eventually(lambda: _is(connection, {"count": 2}))


async def _is(connection: Connection, state: Any) -> bool:
    return bool(await value(connection, "select state from revenant.entities") == state)


async def test_a_strict_call_flushes_all_that_is_pending_and_then_replies(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    await lamp.shine()
    assert await stored(connection, "Lamp", "a") is None
    assert await app.call(lamp.shine(), durability="strict") == 3
    assert await stored(connection, "Lamp", "a") == {"shines": 3, "farewells": 0}
    assert await waiting(connection) == 0
    await lamp.shine()
    assert await stored(connection, "Lamp", "a") == {"shines": 3, "farewells": 0}


async def test_passivation_by_hand_runs_the_hook_and_flushes(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    assert await app.passivate(lamp) is True
    assert await stored(connection, "Lamp", "a") == {"shines": 1, "farewells": 1}
    assert await rows(connection, "select * from revenant.residents") == []
    assert await app.passivate(lamp) is False
    assert await lamp.shine() == 2


async def test_an_idle_entity_leaves_memory(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert await app.ref(Fly, "a").add() == 1
    await eventually(lambda: stored(connection, "Fly", "a"))
    assert await stored(connection, "Fly", "a") == {"count": 1, "farewells": 1}
    await eventually(lambda: _no_residents(connection))
    assert await app.ref(Fly, "a").add() == 2


async def _no_residents(connection: Connection) -> bool:
    return not await rows(connection, "select * from revenant.residents")


async def test_on_stop_writes_when_the_worker_stops(app: Revenant, worker: Worker, connection: Connection) -> None:
    stone = app.ref(Stone, "a")
    await asyncio.gather(*(stone.add() for _ in range(50)))
    assert await stored(connection, "Stone", "a") is None
    await worker.stop(drain_timeout=5)
    assert await stored(connection, "Stone", "a") == {"count": 50}
    assert await waiting(connection) == 0


async def test_a_failure_costs_its_message_only_and_sql_is_refused_with_words(app: Revenant, worker: Worker) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    with pytest.raises(HandlerError):
        await lamp.fail()
    with pytest.raises(ConfigurationError, match='durability="strict"'):
        await lamp.use_sql()
    assert await lamp.shine() == 2


async def test_what_a_handler_casts_leaves_with_the_flush(app: Revenant, worker: Worker) -> None:
    await app.ref(Lamp, "a").light("b")
    await app.passivate(app.ref(Lamp, "a"))
    assert await app.ref(Lamp, "b").shine() == 2


async def test_a_reply_too_long_for_a_notification_comes_with_its_row(app: Revenant, worker: Worker) -> None:
    assert await app.ref(Lamp, "a").say(20_000) == "x" * 20_000


async def test_a_deleted_entity_starts_afresh(app: Revenant, worker: Worker, connection: Connection) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine(5)
    assert await app.delete(lamp) is True
    assert await stored(connection, "Lamp", "a") is None
    assert await lamp.shine() == 1
    assert await app.call(lamp.look(), durability="strict") == 1
    await lamp.end()
    # A new state, at the very version that the row has.
    assert await lamp.shine(7) == 7
    assert await app.call(lamp.look(), durability="strict") == 7
    assert await stored(connection, "Lamp", "a") == {"shines": 7, "farewells": 0}
    assert await value(connection, "select version from revenant.entities") == 1


async def test_a_stale_writer_is_refused_and_drops_its_memory(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    lamp = app.ref(Lamp, "a")
    assert await lamp.shine() == 1
    # As another worker does, that took this one for dead: it owned the entity, wrote, and died in its turn.
    await connection.execute("update revenant.residents set owner = gen_random_uuid(), fence = default")
    await connection.execute("delete from revenant.messages")
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        'select bucket, kind, key, 7, 1, \'{"shines": 70, "farewells": 0}\', 0 from revenant.residents'
    )
    # The look at all messages finds that it lives elsewhere; what is in memory is gone.
    assert await lamp.shine() == 71
    assert "is owned by another worker now" in caplog.text
    await app.passivate(lamp)
    assert await stored(connection, "Lamp", "a") == {"shines": 71, "farewells": 1}
    assert await value(connection, "select version from revenant.entities") == 9


async def test_a_flush_is_refused_where_the_row_was_changed_by_somebody_else(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    await connection.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        'select bucket, kind, key, 7, 1, \'{"shines": 70, "farewells": 0}\', 0 from revenant.residents'
    )
    assert await app.call(lamp.shine(), durability="strict", timeout=20) == 72
    assert "was changed by somebody else" in caplog.text
    assert await stored(connection, "Lamp", "a") == {"shines": 72, "farewells": 0}


async def test_a_worker_that_stops_writes_nothing_that_another_one_owns(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await app.ref(Lamp, "a").shine()
    await connection.execute("update revenant.residents set owner = gen_random_uuid(), fence = default")
    await worker.stop(drain_timeout=5)
    assert "is owned by another worker now" in caplog.text
    assert await stored(connection, "Lamp", "a") is None
    assert await waiting(connection) == 1


async def test_nothing_stays_in_the_list_of_a_worker_that_is_dead(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(
        "insert into revenant.residents (bucket, kind, key, owner) values (1, 'Gone', 'a', gen_random_uuid())"
    )
    await eventually(lambda: _no_residents(connection))


async def test_an_answer_is_refused_once_another_worker_owns_the_entity(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    answered: list[Any] = []

    async def taken_over(*words: Any) -> list[int]:
        if not answered:
            await connection.execute("update revenant.residents set owner = gen_random_uuid(), fence = default")
        slots = await answer(*words)
        answered.append(slots)
        return slots

    monkeypatch.setattr("revenant.worker.residents.residence.answer", taken_over)
    # What was handled in memory was not answered; it is handled again, with the message before it.
    assert await lamp.shine() == 2
    assert answered[0] == [0]
    assert "is owned by another worker now" in caplog.text


async def test_a_message_that_is_met_again_is_not_handled_twice(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lamp = app.ref(Lamp, "a")
    await app.cast(lamp.shine())
    assert await lamp.shine() == 2
    await connection.execute(
        "insert into revenant.messages (bucket, kind, key, id, handler, args, origin) "
        "select bucket, kind, key, id, handler, args, origin from revenant.messages"
    )
    await connection.execute(
        "select pg_notify('revenant_wake', json_build_array(json_build_array(bucket, kind, key, 0))::text) "
        "from revenant.residents"
    )
    await eventually(lambda: sum(len(one.seqs) for home in worker._homes for one in home.memory) == 4)
    assert await lamp.shine() == 3
    await app.passivate(lamp)
    assert await stored(connection, "Lamp", "a") == {"shines": 3, "farewells": 1}
    assert await waiting(connection) == 0


async def test_an_idempotency_key_is_honoured_before_and_after_the_flush(app: Revenant, worker: Worker) -> None:
    lamp = app.ref(Lamp, "a")
    for _ in range(2):
        assert await app.call(lamp.shine(), idempotency_key="once") == 1
    await app.passivate(lamp)
    assert await app.call(lamp.shine(), idempotency_key="once") == 1
    with pytest.raises(IdempotencyConflict):
        await app.call(lamp.shine(9), idempotency_key="once")


async def test_lost_wake_ups_cost_time_and_no_message(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine()
    monkeypatch.setattr("revenant.worker.switchboard.Switchboard.hear", lambda *_: [])
    assert await app.call(lamp.shine(), timeout=20) == 2
    assert await app.call(app.ref(Lamp, "b").shine(), timeout=20) == 1


async def test_a_lost_reply_is_given_again_before_the_flush(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    hear = Inbox.hear

    def deaf_once(inbox: Inbox, payload: str) -> None:
        if lost:
            hear(inbox, payload)
        lost.append(payload)

    monkeypatch.setattr(Inbox, "hear", deaf_once)
    assert await app.call(app.ref(Lamp, "a").shine(), timeout=20) == 1
    assert lost[0] == lost[1]
    assert await stored(connection, "Lamp", "a") is None


async def test_replies_that_were_heard_leave_no_rows(app: Revenant, worker: Worker, connection: Connection) -> None:
    lamp = app.ref(Lamp, "a")
    for _ in range(40):
        await lamp.shine()
    unheard = [home.answers for home in worker._homes]
    await eventually(lambda: all(answers.next() is None for answers in unheard))
    await app.cast(lamp.shine())
    await worker.stop(drain_timeout=5)
    assert await value(connection, "select count(*) from revenant.replies") == 0


async def test_a_failing_cast_is_tried_again_and_then_kept_as_a_dead_letter(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await app.cast(app.ref(Lamp, "a").fail())
    await eventually(lambda: rows(connection, "select * from revenant.dead"))
    assert await value(connection, "select attempts from revenant.dead") == 5
    assert await app.ref(Lamp, "a").shine() == 1


async def test_a_message_that_cannot_be_flushed_fails_alone(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lamp = app.ref(Lamp, "a")
    await lamp.shine(2)
    await connection.execute(
        "alter table revenant.entities add constraint few check ((state->>'shines')::int <> 7) not valid"
    )
    with pytest.raises(Unstorable, match="few"):
        await app.call(lamp.shine(5), durability="strict", timeout=20)
    assert await app.call(lamp.shine(1), durability="strict", timeout=20) == 3
    assert await stored(connection, "Lamp", "a") == {"shines": 3, "farewells": 0}
