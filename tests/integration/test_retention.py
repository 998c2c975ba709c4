"""Retention: a run is kept as long as its workflow says, and goes whole; what is exported can be read again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import Flow, Revenant, Settings, workflow
from revenant.queue.archive import as_json, ended_runs, expire_runs, release
from revenant.worker.retention import PAGE_SECONDS, Retention
from revenant.worker.worker import Worker
from tests.integration.test_plans import touched
from tests.runs import history, status
from tests.timed import set_clock
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
TABLES = ("run_heads", "run_events", "run_progress", "run_tasks", "run_snapshots")
STORED, PAGE = 20_000, 50


async def add(n: int) -> int:
    return n + 1


@workflow(keep=timedelta(days=30))
async def kept(flow: Flow, n: int) -> int:
    """Goes on afresh so often."""
    if n:
        flow.continue_as_new(await flow.step(_less, n))
    return 0


async def _less(n: int) -> int:
    return n - 1


@workflow
async def forever(flow: Flow, n: int) -> int:
    return await flow.step(add, n)


@workflow(keep=timedelta(seconds=1))
async def open_ended(flow: Flow) -> None:
    await flow.signal("never")


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    flows: list[Any] = [kept, forever, open_ended]
    async with Revenant(workflows=flows, database_url=database, settings=settings) as application:
        yield application


async def counts(connection: Connection, *, of: str | None = None) -> dict[str, int]:
    told = "" if of is None else f" where run in (select run from revenant.run_heads where key = '{of}')"
    return {table: await value(connection, f"select count(*) from revenant.{table}{told}") for table in TABLES}


async def started(app: Revenant, connection: Connection, generations: int) -> None:
    """Have a run of so many histories, one that is kept for good, and one that goes on."""
    run = await app.start(kept, generations, id="kept")
    other = await app.start(forever, 1, id="forever")
    assert await run.result(timeout=60) == 0
    assert await other.result(timeout=60) == 2
    await app.start(open_ended, id="open")
    await eventually(lambda: history(connection, "open"), seconds=60)


async def test_a_run_goes_when_its_time_is_over_and_others_stay(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await started(app, connection, 3)
    moment = await value(connection, "select ended_at from revenant.run_heads where key = 'kept'")
    assert await value(connection, "select expires_at - ended_at from revenant.run_heads where key = 'kept'") == (
        timedelta(days=30)
    )
    stay = await rows(connection, "select run, seq from revenant.run_heads where key <> 'kept' order by 1")
    loop = Retention(desk=None)  # type: ignore[arg-type]  # only rounds of it are run, over a connection of ours
    await set_clock(connection, moment + timedelta(days=29))
    assert await loop.run_once(connection) > 1
    assert await status(connection, "kept") == "completed"
    await set_clock(connection, moment + timedelta(days=31))
    await connection.execute(
        "insert into revenant.run_snapshots (bucket, run, seq, format, view) "
        "select bucket, run, 1, 'f', '{}' from revenant.run_heads where key = 'kept'"
    )
    assert await loop.run_once(connection) > 1
    assert await status(connection, "kept") is None
    assert await rows(connection, "select run, seq from revenant.run_heads order by 1") == stay
    left = await rows(connection, "select distinct run from revenant.run_events order by 1")
    assert left == [(run,) for run, _ in stay]
    assert (await counts(connection))["run_snapshots"] == 0
    again = await app.start(kept, 0, id="kept")
    assert await again.result(timeout=60) == 0


@pytest.mark.parametrize(("generations", "page"), [(12, 7), (2, 1)])
async def test_a_long_run_goes_in_pages_and_what_is_left_hangs_together(
    app: Revenant, worker: Worker, connection: Connection, generations: int, page: int
) -> None:
    await started(app, connection, generations)
    everything = sum((await counts(connection, of=None)).values())
    await connection.execute("update revenant.run_heads set expires_at = now() where key = 'kept'")
    rounds = 0
    while await status(connection, "kept") is not None:
        removed = await expire_runs(connection, page=page)
        assert 0 < removed <= page + 2
        rounds += 1
        if await status(connection, "kept") is None:
            break
        # It is told to the end how the run has ended, and no history is cut off from those that are left.
        assert await app.run(kept, "kept").result(timeout=60) == 0
        (found,) = [one async for page in ended_runs(connection, kind="run:kept", keys=[], before=None) for one in page]
        text = "".join([piece async for piece in as_json(connection, found)])
        told = json.loads(text)
        streams = {told["run"], *(one["run"] for one in told["earlier"])}
        there = "select distinct run::text from revenant.run_events where run in (select run from revenant.run_events where data ->> 'workflow' = 'kept')"
        assert {run for (run,) in await rows(connection, there)} == streams
    assert rounds > 5
    assert await expire_runs(connection, page=7) == 0
    assert sum((await counts(connection)).values()) < everything
    assert await rows(connection, "select key from revenant.run_heads order by 1") == [("forever",), ("open",)]


async def test_a_full_page_is_followed_by_the_next_at_once(app: Revenant, connection: Connection) -> None:
    await connection.execute(
        "insert into revenant.run_heads (bucket, kind, key, run, version, status, seq, fence, digest, ended_at, expires_at) "
        "select get_byte(uuid_send(run), 15), 'run:kept', n::text, run, 1, 'completed', 1, 0, '', now(), now() "
        "from (select n, gen_random_uuid() as run from generate_series(1, 2500) n) as made"
    )
    loop = Retention(desk=None)  # type: ignore[arg-type]  # as above
    assert await loop.run_once(connection) == PAGE_SECONDS
    assert await value(connection, "select count(*) from revenant.run_heads") == 500
    assert await loop.run_once(connection) > PAGE_SECONDS
    assert await value(connection, "select count(*) from revenant.run_heads") == 0


async def test_only_a_run_that_has_ended_is_let_go(app: Revenant, worker: Worker, connection: Connection) -> None:
    await started(app, connection, 0)
    found = [
        one async for page in ended_runs(connection, kind=None, keys=["open", "forever"], before=None) for one in page
    ]
    assert sorted(one["key"] for one in found) == ["forever", "open"]
    assert [await release(connection, one) for one in sorted(found, key=lambda one: one["key"])] == [True, False]
    await expire_runs(connection)
    assert await status(connection, "forever") is None
    assert await status(connection, "open") == "waiting"


MANY = f"""
insert into revenant.run_heads (
    bucket, kind, key, run, version, status, seq, fence, digest, started_at, ended_at, expires_at
)
select get_byte(uuid_send(run), 15), 'run:kept', n::text, run, 1, 'completed', 2, 0, '', now(), now(),
    now() + make_interval(hours => n - {PAGE} * 2)
from (select n, gen_random_uuid() as run from generate_series(1, {STORED}) n) as made
"""
EVENTS = """
insert into revenant.run_events (bucket, run, seq, type, at, data)
select h.bucket, h.run, s.seq, 'run.started', now(), '{}' from revenant.run_heads h, generate_series(1, 2) s (seq)
"""


async def test_what_has_expired_costs_a_page_however_much_is_stored(connection: Connection) -> None:
    for table in TABLES:
        await connection.execute(f"alter table revenant.{table} set (autovacuum_enabled = off)")
        await connection.execute(f"vacuum analyze revenant.{table}")
    await connection.execute(MANY)
    await connection.execute(EVENTS)
    page = 3 * PAGE
    assert await touched(connection, "select revenant.expire_runs_v1(%s)", page) < 40 * page
    assert await expire_runs(connection, page=page) == page
    assert await expire_runs(connection, page=page) == page
    assert await expire_runs(connection, page=page) == 0
    assert await value(connection, "select count(*) from revenant.run_heads") == STORED - 2 * PAGE
    plan = await rows(
        connection,
        "explain select h.key from revenant.run_heads h where (h.bucket, h.kind, h.key) > (3::smallint, 'run:a', 'k') "
        "and h.ended_at is not null order by h.bucket, h.kind, h.key limit 200",
    )
    assert "run_heads_pkey" in str(plan)


async def test_two_that_remove_share_the_work_and_wait_for_nobody(database: str, connection: Connection) -> None:
    await connection.execute(MANY)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other, other.transaction():
        assert await expire_runs(other, page=PAGE) == PAGE
        # The other one has not committed, and holds what it removes.
        assert await expire_runs(connection, page=PAGE) == PAGE
    assert await value(connection, "select count(*) from revenant.run_heads") == STORED - 2 * PAGE


async def test_an_export_is_written_whole_before_anything_is_removed(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await started(app, connection, 2)
    pages = [page async for page in ended_runs(connection, kind=None, keys=[], before=None)]
    lines = [json.loads("".join([piece async for piece in as_json(connection, one)])) for page in pages for one in page]
    by_id = {one["id"]: one for one in lines}
    assert set(by_id) == {"kept", "forever"}
    told = by_id["forever"]
    assert told["events"] == [
        {"seq": event.seq, "type": event.type, "op": event.op, "at": at, "data": event.data}
        for event, at in zip(await history(connection, "forever"), [one["at"] for one in told["events"]], strict=True)
    ]
    assert (told["workflow"], told["status"], told["version"], told["earlier"]) == ("forever", "completed", 1, [])
    assert [len(one["events"]) > 2 for one in by_id["kept"]["earlier"]] == [True, True]
    assert by_id["kept"]["earlier"][-1]["events"][0]["data"]["input"] == 2
