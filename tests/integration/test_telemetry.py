"""Telemetry: what happens is told to whoever listens; whoever fails at it is not asked again; nobody pays for silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from revenant import telemetry
from revenant.app import Revenant
from revenant.errors import HandlerError
from revenant.worker.worker import Worker
from tests.entities import Account
from tests.tools import eventually, value

Event = tuple[str, Mapping[str, Any], Mapping[str, Any]]


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    events: list[Event] = []
    detach = telemetry.attach(lambda *event: events.append(event))
    yield events
    detach()


def named(events: list[Event], name: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return [(measured, told) for event, measured, told in events if event == name]


async def test_a_call_is_told_from_its_sending_to_its_reply(app: Revenant, worker: Worker, heard: list[Event]) -> None:
    assert await app.ref(Account, "a").deposit(5) == 5
    where = {"kind": "Account", "key": "a"}
    ((sizes, sent),) = named(heard, "message.send")
    assert sizes == {"bytes": len('{"amount":5}')}
    message_id = sent["message_id"]
    assert sent == {**where, "handler": "deposit", "message_id": message_id, "call": True, "by": "client"}
    ((loaded, told),) = named(heard, "state.load")
    assert (loaded["version"], told) == (0, {**where, "fresh": True})
    ((measured, told),) = named(heard, "message.handle")
    assert 0 < measured["duration"] < 10
    assert told == {
        **where, "handler": "deposit", "message_id": message_id, "attempt": 1, "outcome": "ok", "error": None,
    }  # fmt: skip
    # The caller may hear of the commit before the worker has read its answer.
    await eventually(lambda: named(heard, "reply.commit"), what="the end of the turn")
    ((written, told),) = named(heard, "state.commit")
    assert written == {"bytes": len('{"balance":5,"log":[]}'), "version": 1}
    assert told == {**where, "vsn": 1, "deleted": False}
    ((_, told),) = named(heard, "reply.commit")
    assert told == {"message_id": message_id, "status": "ok"}
    ((_, told),) = named(heard, "reply.receive")
    assert told == {**where, "handler": "deposit", "message_id": message_id, "status": "ok"}
    names = [name for name, _, _ in heard]
    assert names.index("message.send") < names.index("message.handle") < names.index("state.commit")
    assert {"turn.commit", "wakeup.hear"} <= set(names)


async def test_failures_retries_and_dead_letters_are_told(app: Revenant, worker: Worker, heard: list[Event]) -> None:
    with pytest.raises(HandlerError):
        await app.ref(Account, "a").fail(1)
    ((_, told),) = named(heard, "message.handle")
    assert (told["outcome"], told["error"]) == ("error", "Broken")
    message_id = await app.cast(app.ref(Account, "b").fail(1))
    await eventually(lambda: named(heard, "dead_letter.keep"), what="the dead letter")
    retries = [measured["attempts"] for measured, _ in named(heard, "message.retry")]
    assert retries == [1, 2, 3, 4]
    ((measured, told),) = named(heard, "dead_letter.keep")
    assert (measured, told["message_id"], told["error"]) == ({"attempts": 5}, message_id, "HandlerError")
    assert named(heard, "state.commit") == [], "nothing has changed"


async def test_a_refused_commit_is_told_as_a_conflict(
    app: Revenant, worker: Worker, connection: psycopg.AsyncConnection[Any], heard: list[Event]
) -> None:
    """The row is written behind the lock's back: by a trigger, as no other transaction could."""
    account = app.ref(Account, "a")
    await account.deposit(1)
    await connection.execute(
        "create function once() returns trigger language plpgsql as $$ begin "
        "if nextval('tries') = 1 then return null; end if; return new; end $$"
    )
    await connection.execute("create sequence tries")
    await connection.execute(
        "create trigger once before update on revenant.entities for each row execute function once()"
    )
    assert await app.call(account.deposit(1), timeout=10) == 2
    ((measured, told),) = named(heard, "state.conflict")
    assert (measured, told) == ({"version": 1}, {"kind": "Account", "key": "a"})
    await eventually(lambda: len(named(heard, "state.commit")) == 2, what="the second commit")
    assert [written["version"] for written, _ in named(heard, "state.commit")] == [1, 2]
    assert named(heard, "turn.fail") == [({}, {"error": "Conflict"})]


@pytest.mark.parametrize("failure", [ValueError, SystemExit, GeneratorExit], ids=lambda kind: kind.__name__)
async def test_a_handler_that_raises_is_detached_and_hurts_nobody(
    app: Revenant,
    worker: Worker,
    heard: list[Event],
    caplog: pytest.LogCaptureFixture,
    failure: type[BaseException],
) -> None:
    asked: list[str] = []

    def fails(event: str, *_: object) -> None:
        asked.append(event)
        raise failure("no")

    telemetry.attach(fails)
    with caplog.at_level(logging.ERROR, "revenant.telemetry"):
        assert [await app.ref(Account, "a").deposit(1) for _ in range(3)] == [1, 2, 3]
    assert len(asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"A telemetry handler failed at {asked[0]}; it is detached, and nothing else is touched."
    ]
    await eventually(lambda: len(named(heard, "state.commit")) == 3, what="the others' events")


async def test_nothing_is_prepared_where_nobody_listens(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert telemetry.handlers == ()
    told: list[str] = []
    monkeypatch.setattr(telemetry, "emit", lambda event, *_: told.append(event))
    account = app.ref(Account, "a")
    assert [await account.deposit(1) for _ in range(3)] == [1, 2, 3]
    await app.cast(account.transfer("b", 1))
    assert await app.call(account.read(), timeout=10) == 2
    assert told == []


async def test_detaching_ends_it_and_may_be_done_twice(app: Revenant, worker: Worker) -> None:
    events: list[Event] = []
    detach = telemetry.attach(lambda *event: events.append(event))
    await app.ref(Account, "a").deposit(1)
    detach()
    detach()
    before = len(events)
    assert before
    assert await app.ref(Account, "a").deposit(1) == 2
    assert len(events) == before


async def test_a_dead_peer_is_told_once(
    app: Revenant, worker: Worker, connection: psycopg.AsyncConnection[Any], heard: list[Event]
) -> None:
    await connection.execute(
        "insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start) "
        "values (gen_random_uuid(), 'gone', 1, '{}', 1, 0, 1, now())"
    )
    peer = str(await value(connection, "select id::text from revenant.workers where host = 'gone'"))
    await eventually(lambda: named(heard, "takeover.begin"), what="the news")
    for _ in range(3):
        worker._heartbeat.nudge()
        await app.ref(Account, "a").deposit(1)
    assert named(heard, "takeover.begin") == [({}, {"worker": peer})]
