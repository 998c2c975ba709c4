"""Jobs: deferred in the commit with procrastinate's own options, and run by whoever runs its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import procrastinate
import psycopg
import pytest
import pytest_asyncio
from procrastinate.testing import InMemoryConnector

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerError
from revenant.eventloop import end
from revenant.worker.worker import Worker
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
tasks = procrastinate.App(connector=procrastinate.PsycopgConnector())
LATER = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
ran: list[tuple[str, int]] = []


@tasks.task(name="pack", queue="parcels", priority=3, lock="scales")
async def pack(order: str) -> None:
    """Never runs: only its options are looked at."""


@tasks.task(name="stumble", retry=procrastinate.RetryStrategy(max_attempts=3, wait=0), pass_context=True)
async def stumble(context: procrastinate.JobContext, order: str) -> None:
    """Fail twice."""
    ran.append((order, context.job.attempts))
    if context.job.attempts < 2:
        raise ValueError("not yet")


class Order(Entity):
    """Defers jobs in every way there is."""

    paid: int = 0

    @handler
    async def pay(self) -> int:
        self.paid += 1
        self.turn.defer(pack, order=self.key)
        return self.paid

    @handler
    async def pay_with_options(self) -> int:
        self.paid += 1
        options = pack.configure(queue="express", priority=9, lock="l", schedule_at=LATER, task_kwargs={"order": "x"})
        self.turn.defer(options)
        self.turn.defer(pack.configure(queueing_lock="one at a time"), order=self.key)
        self.turn.defer(pack, order="last")
        return self.paid

    @handler
    async def pay_in_steps(self) -> int:
        self.paid += 1
        self.turn.defer(stumble, order=self.key)
        return self.paid

    @handler
    async def defer_nonsense(self, how: str) -> None:
        self.turn.defer("pack" if how == "name" else pack, order=object() if how == "argument" else "o")


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    """An application whose worker runs no jobs."""
    quiet = settings.model_copy(update={"jobs": 0})
    async with Revenant(entities=[Order], database_url=database, settings=quiet, jobs=tasks) as application:
        yield application


async def jobs(connection: Connection, columns: str) -> list[tuple[Any, ...]]:
    return await rows(connection, f"select {columns} from procrastinate_jobs order by id")


async def test_a_job_has_its_tasks_options_and_those_it_was_configured_with(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    assert await app.ref(Order, "o1").pay() == 1
    assert await app.ref(Order, "o2").pay_with_options() == 1
    assert await jobs(connection, "queue_name, priority, lock, queueing_lock, scheduled_at, args->>'order'") == [
        ("parcels", 3, "scales", None, None, "o1"),
        ("express", 9, "l", None, LATER, "x"),
        ("parcels", 3, "scales", "one at a time", None, "o2"),
        ("parcels", 3, "scales", None, None, "last"),
    ]


async def test_a_job_whose_queueing_lock_is_taken_is_left_out_and_all_else_is_kept(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    assert await app.ref(Order, "o1").pay_with_options() == 1
    assert await app.ref(Order, "o2").pay_with_options() == 1
    found = await jobs(connection, "queueing_lock, args->>'order'")
    assert found == [(None, "x"), ("one at a time", "o1"), (None, "last"), (None, "x"), (None, "last")]
    assert await value(connection, "select state->'paid' from revenant.entities where key = 'o2'") == 1


async def test_a_turn_with_what_is_no_job_fails_and_defers_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    order = app.ref(Order, "o1")
    results = await asyncio.gather(
        order.defer_nonsense("name"), order.defer_nonsense("argument"), return_exceptions=True
    )
    assert "takes a procrastinate task" in str(results[0])
    assert isinstance(results[1], HandlerError)
    assert await jobs(connection, "id") == []


async def test_a_job_that_fails_is_retried_by_its_tasks_own_strategy(
    app: Revenant, settings: Settings, connection: Connection
) -> None:
    running = app.worker(settings=settings.model_copy(update={"jobs": 1}))
    await running.start()
    assert await app.ref(Order, "steps").pay_in_steps() == 1

    async def succeeded() -> bool:
        return await jobs(connection, "status::text, attempts") == [("succeeded", 3)]

    await eventually(succeeded, what="the third attempt")
    assert ran == [("steps", 0), ("steps", 1), ("steps", 2)]
    await running.stop(drain_timeout=5)


async def test_an_application_with_workers_of_its_own_keeps_them(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database, min_size=1, max_size=3))
    done: list[str] = []

    @theirs.task(name="own")
    async def own(order: str) -> None:
        done.append(order)

    monkeypatch.setitem(globals(), "pack", own)
    quiet = settings.model_copy(update={"jobs": 0})
    async with (
        theirs.open_async(),
        Revenant(entities=[Order], database_url=database, settings=quiet, jobs=theirs) as app,
    ):
        their_worker = asyncio.create_task(theirs.run_worker_async(install_signal_handlers=False))
        worker = app.worker()
        await worker.start()
        await own.defer_async(order="by hand")
        assert await app.ref(Order, "by a turn").pay() == 1

        async def both_ran() -> bool:
            return await jobs(connection, "status::text") == [("succeeded",)] * 2

        await eventually(both_ran, what="both jobs, run by their worker")
        assert done == ["by hand", "by a turn"]
        await worker.stop(drain_timeout=5)
        await end(their_worker)


async def test_jobs_are_in_the_commit_whatever_connector_the_application_uses(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = procrastinate.App(connector=InMemoryConnector())

    @elsewhere.task(name="pack")
    async def packing(order: str) -> None: ...

    monkeypatch.setitem(globals(), "pack", packing)
    quiet = settings.model_copy(update={"jobs": 0})
    async with Revenant(entities=[Order], database_url=database, settings=quiet, jobs=elsewhere) as app:
        worker = app.worker()
        await worker.start()
        assert await app.ref(Order, "o1").pay() == 1
        await worker.stop(drain_timeout=5)
    assert await jobs(connection, "task_name") == [("pack",)]
