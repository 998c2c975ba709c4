"""Runs that a worker leaves to others are not read again and again, and are gone on with as soon as they are its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import bucket_of
from revenant.config import Settings
from revenant.queue.records import Hint
from revenant.worker.docket import Docket
from revenant.worker.runs.archive import PostgresArchive
from revenant.worker.worker import Worker
from revenant.workflows import snapshot
from revenant.workflows.commands import Command, Complete, Wait
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.flows import Connection, served, types
from tests.tools import eventually, rows, value

KIND = "run:hears"


@workflow(name="hears")
async def old(flow: Flow) -> Any:
    return await flow.signal("go")


@workflow(name="hears", version=2)
async def new(flow: Flow) -> Any:
    return await flow.signal("go")


class Reader:
    """Counts the events that visits read, and has the net look as often as one likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visits: list[int] = []
        visit = PostgresArchive.visit

        async def counted(*args: Any, **more: Any) -> Any:
            found = await visit(*args, **more)
            self.visits += [len(one.events) for one in found if one.head is not None]
            return found

        monkeypatch.setattr(PostgresArchive, "visit", counted)
        monkeypatch.setattr(Docket, "pass_by", lambda *_: None)

    async def net(self, worker: Worker, times: int) -> list[int]:
        """Have it look so many times more; return how many events each of these visits has read."""
        since = len(self.visits)
        for number in range(times):
            worker._runners[0].docket.add([Hint(bucket_of(KIND, "h"), KIND, "h", 0)])
            await eventually(lambda number=number: len(self.visits) > since + number)
        return self.visits[since:]


@pytest_asyncio.fixture
async def worker(database: str, settings: Settings, connection: Connection, reader: Reader) -> AsyncIterator[Worker]:
    """A worker of the older version, for a run of the newer one, for which a message waits that nobody has taken."""
    async with served(database, settings, new) as app:
        await app.start(new, id="h")
    await rows(connection, "select revenant.cast('run:hears', 'h', 'signal', %s)", '{"name": "go", "payload": 1}')
    async with Revenant(workflows=[old], database_url=database, settings=settings) as app:
        running = app.worker()
        await running.start()
        await running.ready()
        await eventually(lambda: reader.visits)
        yield running
        await running.stop(drain_timeout=5)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(monkeypatch)


async def test_a_run_of_a_version_that_only_others_have_is_not_read_whole_each_time_that_the_net_finds_it(
    worker: Worker, reader: Reader, connection: Connection
) -> None:
    await reader.net(worker, 2)
    assert set(await reader.net(worker, 5)) == {0}
    assert "signal.received" not in await types(connection, "h")


async def test_it_is_moved_to_a_version_that_is_here_although_nobody_hears_of_the_message(
    worker: Worker, reader: Reader, connection: Connection
) -> None:
    await reader.net(worker, 3)
    # As if its hint were lost.
    async with await psycopg.AsyncConnection.connect(connection.info.dsn) as quiet:
        await quiet.execute("set local session_replication_role = replica")
        await quiet.execute("select revenant.cast('run:hears', 'h', 'migrate', '{\"version\": 1}')")
    await reader.net(worker, 4)
    await eventually(lambda: ended(connection))
    assert (await types(connection, "h"))[-1] == "run.completed"


async def ended(connection: Connection) -> bool:
    return bool(await value(connection, "select ended_at is not null from revenant.run_heads"))


async def test_a_message_that_is_new_has_it_read_once(worker: Worker, reader: Reader, connection: Connection) -> None:
    await reader.net(worker, 3)
    since = len(reader.visits)
    await rows(connection, "select revenant.cast('run:hears', 'h', 'park', '{}')")
    await eventually(lambda: len(reader.visits) > since)
    await reader.net(worker, 3)
    assert sum(map(bool, reader.visits[since:])) <= 1


async def test_a_snapshot_that_cannot_be_read_costs_only_the_time_to_read_the_events(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LEAST_EVENTS", 4)
    async with served(database, settings, Listens.workflow) as app:
        run = await app.start(Listens, id="l")
        for _ in range(4):
            await run.signal("word", "more")
        await eventually(lambda: value(connection, "select count(*) = 1 from revenant.run_snapshots"))
    await connection.execute("update revenant.run_snapshots set view = '{\"view\": 5}'")
    async with served(database, settings, Listens.workflow) as app:
        run = app.run(Listens, "l")
        await run.signal("word", "end", timeout=20)
        assert await run.result(timeout=20) == 5
    assert "run.blocked" not in await types(connection, "l")


class Listens(Decider[None, int]):
    """Counts words until the end."""

    def decide(self, view: DecisionView[None]) -> Command:
        return Complete(len(view.waits)) if view.signal("word") == "end" else Wait("word")
