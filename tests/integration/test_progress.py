"""Heartbeats: what an attempt says of its progress is there for the next one, and gone when its step ends."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import psycopg
import pytest

from revenant import Flow, Retry, current_step, workflow
from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import RunCancelled, RunFailed, Unstorable
from revenant.queue.progress import ProgressWrite, write_progress
from tests.flows import history, served
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
QUICK = Retry(backoff=0.01)
KEPT = "select progress from revenant.run_progress"


async def test_what_a_failed_attempt_said_last_is_there_for_the_next_one(
    database: str, settings: Settings, connection: Connection
) -> None:
    seen: list[Any] = []
    kept: list[Any] = []

    async def load() -> str:
        me = current_step()
        seen.append(me.progress)
        if me.attempt == 2:
            kept.append(await value(connection, KEPT))
            return "done"
        me.heartbeat({"row": 1})
        await eventually(lambda: value(connection, KEPT))
        for row in range(100):
            me.heartbeat({"row": row})  # within the second in which nothing more is written
        assert me.progress == {"row": 99}
        raise ConnectionError

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load, retry=QUICK)

    async with served(database, settings, load_all) as app:
        assert await (await app.start(load_all, id="l")).result(timeout=20) == "done"
    assert seen == [None, {"row": 99}]
    assert kept == [{"row": 99}]
    assert await rows(connection, KEPT) == []


async def test_progress_is_kept_while_the_attempt_runs_and_another_worker_reads_it(
    database: str, settings: Settings, connection: Connection
) -> None:
    seen: list[Any] = []
    go = asyncio.Event()

    async def load() -> str:
        me = current_step()
        seen.append(me.progress)
        if len(seen) == 1:
            me.heartbeat("half")
            await asyncio.Event().wait()
        await go.wait()
        return "done"

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load)

    async with Revenant(workflows=[load_all], database_url=database, settings=settings) as app:
        first, second = app.worker(), app.worker()
        await first.start()
        await first.ready()
        run = await app.start(load_all, id="l")
        assert await eventually(lambda: value(connection, KEPT)) == "half"
        await second.start()
        await second.ready()
        await first.stop(drain_timeout=0.1)
        try:
            await eventually(lambda: len(seen) == 2)
            go.set()
            assert await run.result(timeout=20) == "done"
        finally:
            await second.stop(drain_timeout=5)
    assert seen == [None, "half"]
    assert await rows(connection, KEPT) == []


async def test_a_stopping_worker_writes_what_was_said_last(
    database: str, settings: Settings, connection: Connection
) -> None:
    said = asyncio.Event()

    async def load() -> None:
        me = current_step()
        me.heartbeat(1)
        await eventually(lambda: value(connection, KEPT))
        me.heartbeat(2)  # within the second in which nothing more is written
        said.set()
        await asyncio.Event().wait()

    @workflow
    async def load_all(flow: Flow) -> None:
        await flow.step(load)

    async with Revenant(workflows=[load_all], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        await worker.ready()
        await app.start(load_all, id="l")
        await said.wait()
        await worker.stop(drain_timeout=0.1)
    assert await value(connection, KEPT) == 2


async def test_an_attempt_without_heartbeats_fails_and_is_followed_by_another(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def load() -> str:
        if current_step().attempt == 1:
            await asyncio.Event().wait()
        return "done"

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load, heartbeat=0.1, retry=QUICK)

    async with served(database, settings, load_all) as app:
        assert await (await app.start(load_all, id="l")).result(timeout=20) == "done"
    (failed,) = [data for type, data in await history(connection, "l") if type == "attempt.failed"]
    assert failed["error"]["type"] == "revenant.errors.HeartbeatTimeout"
    assert failed["error"]["message"] == "the attempt sent no heartbeat for 0.1 s"


async def test_heartbeats_keep_an_attempt_alive_also_from_a_thread(
    database: str, settings: Settings, connection: Connection
) -> None:
    def load() -> str:
        me = current_step()
        for number in range(20):
            threading.Event().wait(0.1)
            me.heartbeat(number)
        return "done"

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load, heartbeat=1.5, retry=Retry(attempts=1))

    async with served(database, settings, load_all) as app:
        assert await (await app.start(load_all, id="l")).result(timeout=30) == "done"
    assert await rows(connection, KEPT) == []


async def test_progress_that_cannot_be_stored_is_refused_where_it_is_said(database: str, settings: Settings) -> None:
    async def load() -> str:
        with pytest.raises(Unstorable, match="The progress of step load"):
            current_step().heartbeat(object())
        return "done"

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load)

    async with served(database, settings, load_all) as app:
        assert await (await app.start(load_all, id="l")).result(timeout=20) == "done"


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_progress_goes_when_its_step_ends_in_any_way(
    database: str, settings: Settings, connection: Connection, ending: str
) -> None:
    go = asyncio.Event()

    async def load() -> None:
        current_step().heartbeat("half")
        await go.wait()
        raise ValueError

    @workflow
    async def load_all(flow: Flow) -> None:
        await flow.step(load, retry=Retry(attempts=1))

    async with served(database, settings, load_all) as app:
        run = await app.start(load_all, id="l")
        await eventually(lambda: value(connection, KEPT))
        if ending == "failed":
            go.set()
        else:
            await run.cancel()
        with pytest.raises(RunFailed if ending == "failed" else RunCancelled):
            await run.result(timeout=20)
    assert await rows(connection, KEPT) == []


async def test_many_heartbeats_are_few_writes(database: str, settings: Settings, connection: Connection) -> None:
    took: list[float] = []

    async def load() -> str:
        me = current_step()
        began = time.monotonic()
        for number in range(300):
            me.heartbeat(number)
            await value(connection, KEPT)
        took.append(time.monotonic() - began)
        return "done"

    @workflow
    async def load_all(flow: Flow) -> str:
        return await flow.step(load)

    async with served(database, settings, load_all) as app:
        assert await (await app.start(load_all, id="l")).result(timeout=60) == "done"
    await connection.execute("select pg_stat_force_next_flush()")

    async def written() -> int:
        counted = "select n_tup_ins + n_tup_upd from pg_stat_user_tables where relname = 'run_progress'"
        return int(await value(connection, counted) or 0)

    # One at once, one for each second, and perhaps one at the end.
    assert 0 < await eventually(written) <= 3 + took[0]


async def test_a_worker_that_lost_a_run_cannot_write_its_progress(
    database: str, settings: Settings, connection: Connection
) -> None:
    inside = asyncio.Event()

    async def load() -> None:
        inside.set()
        await asyncio.Event().wait()

    @workflow
    async def load_all(flow: Flow) -> None:
        await flow.step(load)

    async with served(database, settings, load_all) as app:
        await app.start(load_all, id="l")
        await inside.wait()
        head = "select bucket, kind, key, run::text, fence, owner::text from revenant.run_heads"
        ((bucket, kind, key, run, fence, owner),) = await rows(connection, head)
        zombie = "00000000-0000-0000-0000-00000000000a"
        for worker, known in ((zombie, fence), (owner, fence - 1)):
            await write_progress(connection, worker, [ProgressWrite(bucket, kind, key, run, known, 1, 1, '"x"')])
            assert await rows(connection, KEPT) == []
        await write_progress(connection, owner, [ProgressWrite(bucket, kind, key, run, fence, 1, 1, '"x"')])
        assert await rows(connection, KEPT) == [("x",)]
