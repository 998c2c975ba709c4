"""Updates and states of runs, by their doors: who waits is told in the commit, whichever worker answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import InvalidArguments, ReplyInvalid, ReplyNotKept, RunEnded, RunNotFound, UpdateRefused
from revenant.worker.worker import Worker
from revenant.workflows import pending
from tests.tools import eventually, value
from tests.waiting import WORKFLOWS, adds, rounds, types

Connection = psycopg.AsyncConnection[Any]


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        yield application


async def received(connection: Connection, key: str) -> bool:
    return (await types(connection, key)).count("update.received") == 1


async def test_an_update_returns_what_the_code_answers(app: Revenant, worker: Worker) -> None:
    run = await app.start(adds, id="a")
    sent = asyncio.create_task(run.update("add", 3, returns=int, timeout=30))
    await run.signal("go")
    assert await sent == 3
    with pytest.raises(UpdateRefused, match="refuses update 'add': it is below zero"):
        await run.update("add", -1, timeout=30)
    with pytest.raises(InvalidArguments, match="valid integer"):
        await run.update("add", "many", timeout=30)
    await run.signal("go")
    with pytest.raises(ReplyInvalid):
        await run.update("add", 3, returns=list[str], timeout=30)


async def test_a_worker_that_stops_between_receipt_and_answer_loses_nothing(
    app: Revenant, connection: Connection
) -> None:
    first = app.worker()
    await first.start()
    run = await app.start(adds, id="a", timeout=30)
    sent = asyncio.create_task(run.update("add", 3, timeout=60))
    await eventually(lambda: received(connection, "a"))
    await first.stop(drain_timeout=0)
    second = app.worker()
    await second.start()
    await run.signal("go", timeout=30)
    assert await sent == 3
    await second.stop()


async def test_updates_of_one_id_count_once_and_have_one_answer(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(adds, id="a")
    sent = [asyncio.create_task(run.update("add", 3, id="once", timeout=60)) for _ in range(3)]
    await eventually(lambda: value(connection, "select count(*) = 2 from revenant.run_events where type ~ 'joined'"))
    await run.signal("go")
    assert await asyncio.gather(*sent) == [3, 3, 3]
    assert await run.update("add", 3, id="once", timeout=30) == 3
    assert await run.state() == {"total": 3}


async def test_the_end_of_a_run_is_told_to_those_who_wait_for_its_answer(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(adds, id="a")
    sent = asyncio.create_task(run.update("add", 3, timeout=60))
    await eventually(lambda: received(connection, "a"))
    await run.cancel()
    with pytest.raises(RunEnded, match="ended before it answered"):
        await sent
    with pytest.raises(RunEnded, match="has ended"):
        await run.update("add", 3, timeout=30)


async def test_an_update_that_was_answered_has_that_answer_after_the_end(app: Revenant, worker: Worker) -> None:
    run = await app.start(adds, id="a")
    await run.signal("go")
    assert await run.update("add", 3, id="once", timeout=30) == 3
    await run.cancel()
    assert await run.update("add", 3, id="once", timeout=30) == 3
    assert await app.run("adds", "a").update("add", 3, id="once", timeout=30) == 3
    for late in ("other", None):
        with pytest.raises(RunEnded, match="has ended"):
            await run.update("add", 3, timeout=30, id=late)


async def test_a_state_is_read_without_a_worker_and_wakes_nobody(app: Revenant, connection: Connection) -> None:
    worker = app.worker()
    await worker.start()
    run = await app.start(adds, id="a", timeout=30)
    sent = asyncio.create_task(run.update("add", 4, timeout=30))
    await run.signal("go", timeout=30)
    await sent
    await worker.stop()
    count = len(await types(connection, "a"))
    assert await run.state() == {"total": 4}
    assert await app.run("adds", "a").state() == {"total": 4}
    assert await value(connection, "select count(*) from revenant.messages") == 0
    assert len(await types(connection, "a")) == count
    with pytest.raises(RunNotFound, match="There is no run 'b' of adds"):
        await app.run(adds, "b").state()


async def test_what_waits_for_an_answer_is_taken_along_when_the_run_goes_on_afresh(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(rounds, 2, id="r")
    sent = [asyncio.create_task(run.update("add", number, id=f"u{number}", timeout=60)) for number in range(3)]
    await eventually(lambda: value(connection, "select count(*) >= 3 from revenant.run_events where type ~ 'received'"))
    await run.signal("go")
    assert sorted(await asyncio.gather(*sent)) == [0, 1, 2]
    assert await run.result(timeout=30) == 0
    assert await value(connection, "select count(distinct run) from revenant.run_events") == 3


async def test_an_answer_is_remembered_when_the_run_goes_on_afresh(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(rounds, 2, id="r")
    await run.signal("go")
    first = await run.update("add", 7, id="once", timeout=30)
    assert await run.update("add", 7, id="once", timeout=30) == first
    assert await value(connection, "select count(*) from revenant.run_events where type = 'update.answered'") == 1


async def test_an_update_whose_answer_was_too_large_to_go_along_is_not_done_again(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 0)
    run = await app.start(rounds, 2, id="r")
    await run.signal("go")
    await run.update("add", 7, id="once", timeout=30)
    with pytest.raises(ReplyNotKept, match="nothing was done again"):
        await run.update("add", 7, id="once", timeout=30)
    assert await value(connection, "select count(*) from revenant.run_events where type = 'update.answered'") == 1
