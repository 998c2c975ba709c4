"""Long histories: deciders are read from their snapshots, maps of many items hold what is under way, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import Decider, Flow, Retry, Revenant, RunFailed, Settings, step, workflow
from revenant.worker.worker import Worker
from revenant.workflows import Command, Complete, DecisionView, RunStep, Sleep, Wait
from tests.flows import served
from tests.runs import history, status
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
STEPS = 200
most, under_way = 0, 0


async def add(n: int) -> int:
    return n + 1


class Long(Decider[int, list[Any]]):
    steps = (add,)

    def decide(self, view: DecisionView[int]) -> Command:
        if len(view.results) < view.input:
            return RunStep(add, len(view.results))
        if not view.waits:
            return Wait("go")
        return Complete([len(view.results), view.result(add), view.signal("early"), view.signal("go")])


async def counted(n: int) -> int:
    global most, under_way  # noqa: PLW0603 # steps run side by side in this process
    under_way += 1
    most = max(most, under_way)
    await asyncio.sleep(0)
    under_way -= 1
    return n * n


@workflow
async def mapping(flow: Flow, items: int) -> list[int]:
    return await flow.map(counted, range(items), limit=50)


@step(retry=Retry(attempts=1))
async def picky(n: int) -> int:
    if n == 30:
        raise ValueError("not this one")
    return n


@workflow
async def failing(flow: Flow, items: int) -> list[int]:
    return await flow.map(picky, range(items), limit=10)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    flows: list[Any] = [Long, mapping, failing]
    async with Revenant(workflows=flows, database_url=database, settings=settings) as application:
        yield application


async def left_alone(app: Revenant, connection: Connection) -> tuple[str, int]:
    """Have a run of many events that waits, with nobody who has it in memory; return its stream and its snapshot."""
    worker = app.worker()
    await worker.start()
    run = await app.start(Long, STEPS, id="long")
    await run.signal("early", "bird")

    async def waits() -> bool:
        return await status(connection, "long") == "waiting"

    await eventually(waits, seconds=90)
    await worker.stop()
    ((stream, seq),) = await rows(connection, "select run::text, seq from revenant.run_snapshots")
    assert 500 <= seq < await value(connection, "select seq from revenant.run_heads")
    return stream, seq


async def test_load_state_reads_a_snapshot_and_the_events_since(app: Revenant, connection: Connection) -> None:
    stream, seq = await left_alone(app, connection)
    # What it covers is not looked at: it would be missed.
    await rows(connection, "delete from revenant.run_events where run = %s and seq <= %s returning seq", stream, seq)
    worker = app.worker()
    await worker.start()
    await app.run(Long, "long").signal("go", "on")
    assert await app.run(Long, "long").result(timeout=60) == [STEPS, STEPS, "bird", "on"]
    assert await rows(connection, "select * from revenant.run_snapshots") == [], "the end leaves it behind"
    await worker.stop()


async def test_load_state_ignores_obsolete_snapshot_revision(app: Revenant, connection: Connection) -> None:
    await left_alone(app, connection)
    await connection.execute("update revenant.run_snapshots set format = 'of old', view = '{}'")
    worker = app.worker()
    await worker.start()
    await app.run(Long, "long").signal("go", "on")
    assert await app.run(Long, "long").result(timeout=60) == [STEPS, STEPS, "bird", "on"]
    told = await history(connection, "long")
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    await worker.stop()


async def test_a_map_of_ten_thousand_items_has_its_results_in_order_and_fifty_under_way(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(mapping, 10_000, id="map")
    assert await run.result(timeout=110) == [n * n for n in range(10_000)]
    assert 1 < most <= 50
    told = await rows(connection, "select type, op, seq from revenant.run_events order by seq")
    open_, widest = set(), 0
    for type, op, _ in told:
        if type == "step.scheduled":
            open_.add(op)
        elif type == "step.succeeded":
            open_.discard(op)
        widest = max(widest, len(open_))
    assert (widest, len(told)) == (50, 30_002)


async def test_a_map_that_fails_gives_up_what_is_under_way(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(failing, 1000, id="fails")
    with pytest.raises(RunFailed, match="not this one"):
        await run.result(timeout=60)
    found: dict[str, int] = dict(await rows(connection, "select type, count(*) from revenant.run_events group by type"))
    assert found["step.failed"] == 1
    assert found["step.scheduled"] == found["step.succeeded"] + found["step.failed"] + found.get("step.cancelled", 0)
    assert found["step.scheduled"] <= 50


class Earlier(Decider[None, int], name="moving", version=1):
    steps = (add,)

    def decide(self, view: DecisionView[None]) -> Command:
        if len(view.results) < 3:
            return RunStep(add, len(view.results))
        return Wait("go") if not view.waits else Complete(len(view.results))


class Later(Decider[None, int], name="moving", version=2):
    """Begins in another way."""

    def decide(self, view: DecisionView[None]) -> Command:
        return Sleep(3600) if not view.timers else Complete(2)


async def test_other_code_is_run_along_all_that_has_happened_and_not_from_a_snapshot_of_the_first(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revenant.workflows.live.is_due", lambda seq, last: True)
    async with served(database, settings, Earlier.workflow) as app:
        run = await app.start(Earlier, id="m")
        await eventually(lambda: value(connection, "select seq from revenant.run_snapshots"))

        async def waits() -> bool:
            return await status(connection, "m") == "waiting"

        await eventually(waits)
    async with served(database, settings, Earlier.workflow, Later.workflow) as app:
        run = app.run(Later, "m")
        await run.migrate(2, timeout=20)

        async def blocked() -> bool:
            return await status(connection, "m") == "blocked"

        await eventually(blocked)
        problem = await value(connection, "select problem from revenant.run_heads")
        assert "step 'add'" in problem
        assert "timer 'sleep'" in problem
        await run.migrate(1, timeout=20)
        await run.signal("go", timeout=20)
        assert await app.run(Earlier, "m").result(timeout=20) == 3
