"""What is seen of runs, in Python and in SQL, without a worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import RunNotFound
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.flows import served
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
held = threading.Event()


async def unlucky(number: int) -> int:
    if number == 1:
        raise ConnectionError("not today")
    return number


async def holds() -> None:
    while not held.is_set():  # noqa: ASYNC110 # an asyncio.Event belongs to one test's loop
        await asyncio.sleep(0.01)


@workflow
async def looks_around(flow: Flow, number: int) -> Any:
    flow.show({"number": number})
    await flow.step(unlucky, 0)
    both = flow.gather(
        flow.step(unlucky, number, retry=Retry(backoff=3600)),
        flow.step(holds),
        flow.signal("word", timeout=3600),
        flow.sleep(3600),
    )
    return await both


@workflow
async def goes_round(flow: Flow, left: int) -> str:
    if left:
        flow.continue_as_new(left - 1)
    return "done"


@workflow
async def has_a_child(flow: Flow) -> Any:
    return await flow.child(goes_round, 0, id="child")


@workflow
async def fails(flow: Flow) -> None:
    raise ValueError("as it must")


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    held.clear()
    async with served(database, settings, looks_around, goes_round, has_a_child, fails) as application:
        yield application
    held.set()


async def test_a_run_is_described_with_all_that_it_asked_for(app: Revenant, connection: Connection) -> None:
    run = await app.start(looks_around, 1, id="r")
    await run.signal("other", 1)

    async def described() -> Any:
        found = await run.describe()
        return found if any(one.retrying for one in found.operations) else None

    found = await eventually(described, what="an attempt has failed")
    assert (found.workflow, found.id, found.status, found.version) == ("looks_around", "r", "running", 1)
    assert (found.input, found.result, found.shown, found.signals) == (1, None, {"number": 1}, {"other": 1})
    told = [(one.number, one.type, one.name, one.state, one.running, one.retrying) for one in found.operations]
    assert told == [
        (1, "step", "unlucky", "done", False, False),
        (2, "step", "unlucky", "open", False, True),
        (3, "step", "holds", "open", True, False),
        (4, "wait", "word", "open", False, False),
        (5, "timer", "sleep", "open", False, False),
    ]
    done, retried, *_ = found.operations
    assert [(one.number, one.error) for one in done.attempts] == [(1, None)]
    assert done.attempts[0].ended_at == done.ended_at
    assert retried.attempts[0].error["message"] == "not today"
    assert [one.number for one in found.waits] == [2, 4, 5]
    assert [one.number for one in found.timers] == [2, 4, 5]
    assert found.owner.alive
    assert (found.fence, found.recoveries, found.parent, found.earlier) == (1, 0, None, ())
    waiting = await rows(
        connection, "select op, type, name, due is not null from revenant.waiting where id = 'r' order by op"
    )
    assert waiting == [(2, "retry", "unlucky", True), (4, "wait", "word", True), (5, "timer", "sleep", True)]
    await run.cancel("enough")
    found = await eventually(lambda: ended(run), what="its end")
    assert {one.state for one in found.operations} == {"done", "cancelled"}
    assert found.owner is None
    assert [event.seq for event in await run.history()] == list(range(1, found.events + 1))


async def ended(run: Any) -> Any:
    found = await run.describe()
    return found if found.ended_at else None


async def test_earlier_histories_and_parents_are_named(app: Revenant, connection: Connection) -> None:
    assert await (await app.start(goes_round, 3, id="round")).result(timeout=20) == "done"
    found = await app.run(goes_round, "round").describe()
    assert (found.input, found.result, len(found.earlier)) == (0, "done", 3)
    assert found.run not in found.earlier
    assert len(set(found.earlier)) == 3
    assert await (await app.start(has_a_child, None, id="parent")).result(timeout=20) == "done"
    assert (await app.run("goes_round", "child").describe()).parent == ("has_a_child", "parent")
    parents = "select parent_workflow, parent_id from revenant.runs where id = 'child'"
    assert await rows(connection, parents) == [("has_a_child", "parent")]


async def test_a_run_that_there_is_not_is_not_found(app: Revenant) -> None:
    for look in (app.run("fails", "nobody").describe, app.run("fails", "nobody").history):
        with pytest.raises(RunNotFound, match="nobody"):
            await look()


async def test_what_is_stuck_is_listed_with_why(app: Revenant, connection: Connection) -> None:
    stuck = "select id, reason from revenant.stuck order by id"
    slow = await app.start(looks_around, 0, id="slow")
    parked = await app.start(looks_around, 0, id="parked")
    await parked.park("an audit")
    await app.start(fails, None, id="failed")
    await eventually(lambda: value(connection, "select ended_at from revenant.runs where id = 'failed'"))
    assert await rows(connection, stuck) == [("failed", "failed"), ("parked", "parked")]
    await connection.execute(
        "update revenant.run_heads set updated_at = updated_at - interval '11 minutes' where key = 'slow'"
    )
    await connection.execute("update revenant.run_heads set ended_at = now() - interval '2 days' where key = 'failed'")
    assert await rows(connection, stuck) == [("parked", "parked"), ("slow", "slow")]
    assert (await slow.describe()).status == "running"
    version = "update revenant.run_heads set version = 9 where key = 'slow'"
    await connection.execute(version)
    assert await rows(connection, stuck) == [("parked", "parked"), ("slow", "no version")]


async def test_a_role_that_may_only_read_reads_the_views(app: Revenant, connection: Connection) -> None:
    name = f"reader_{uuid4().hex}"
    await app.start(looks_around, 0, id="r")
    await connection.execute(f"create role {name}")
    try:
        await connection.execute(f"grant usage on schema revenant to {name}")
        await connection.execute(f"grant select on all tables in schema revenant to {name}")
        await connection.execute(f"set role {name}")
        assert await value(connection, "select count(*) from revenant.runs") == 1
        await rows(connection, "select * from revenant.waiting")
        assert await rows(connection, "select * from revenant.stuck") == []
    finally:
        await connection.execute("reset role")
        await connection.execute(f"drop owned by {name}")
        await connection.execute(f"drop role {name}")


PLANS = {
    "the youngest of one workflow": (
        "select id from revenant.runs where workflow = 'x' and started_at <= now() order by started_at desc limit 10",
        "run_heads_workflow",
    ),
    "those that have failed": (
        "select key from revenant.run_heads where status = 'failed' and ended_at > now() - interval '1 day'",
        "run_heads_attention",
    ),
    "those that left what was not undone": (
        "select key from revenant.run_heads where problem is not null and ended_at is not null and resolved is null",
        "run_heads_left",
    ),
}


@pytest.mark.parametrize("what", PLANS)
async def test_looking_at_runs_uses_the_indexes(what: str, connection: Connection) -> None:
    query, index = PLANS[what]
    await connection.execute("set enable_seqscan = off")
    plan = "\n".join(str(line) for (line,) in await rows(connection, f"explain {query}"))
    assert index in plan, plan
