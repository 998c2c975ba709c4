"""Undoing in a worker: a step that hangs costs its time, and neither the others nor the run's end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import current_step, step
from revenant.workflows.workflow import workflow
from tests.flows import Connection, history, served
from tests.tools import eventually, value

undone: list[tuple[str, int]] = []
gate = threading.Event()
ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, backoff=0.01)


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    undone.clear()
    gate.clear()
    yield
    gate.set()


def blocks(what: str) -> None:
    undone.append((what, current_step().attempt))
    gate.wait(30)


async def hangs(what: str) -> None:
    undone.append((what, current_step().attempt))
    await asyncio.Event().wait()


async def undo(what: str) -> None:
    undone.append((what, current_step().attempt))


@step(external=True)
async def refund(what: str) -> None:
    undone.append((what, 0))


async def fails() -> None:
    raise ValueError("no")


@workflow
async def travel(flow: Flow) -> None:
    await flow.on_failure(undo, "car")
    await flow.on_failure(blocks, "flight", timeout=0.2, retry=ONCE)
    await flow.on_failure(hangs, "room", timeout=0.1, retry=TWICE)
    await flow.on_failure(hangs, "meal", heartbeat=0.1, retry=ONCE)
    await flow.step(fails, retry=ONCE)


@workflow
async def buys(flow: Flow) -> None:
    await flow.on_failure(refund, "order-7")
    await flow.step(fails, retry=ONCE)


async def test_an_undo_that_hangs_is_tried_again_and_given_up(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, travel) as app:
        run = await app.start(travel, id="t")
        with pytest.raises(RunFailed, match="ValueError"):
            await run.result(timeout=20)
        gate.set()
    assert undone == [("meal", 1), ("room", 1), ("room", 2), ("flight", 1), ("car", 1)]
    type, last = (await history(connection, "t"))[-1]
    assert type == "run.failed"
    told = [(one["name"], one["error"]["type"]) for one in last["undo_errors"]]
    assert told == [
        ("hangs", "revenant.errors.HeartbeatTimeout"), ("hangs", "TimeoutError"), ("blocks", "TimeoutError"),
    ]  # fmt: skip


async def test_an_external_step_that_undoes_is_done_by_whoever_takes_it(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, buys) as app:
        run = await app.start(buys, id="b")
        claim = "select token::text from revenant.claim_step('refund', 'me', 60)"
        token = await eventually(lambda: value(connection, claim))
        assert undone == [], "the function is only what it takes"
        await connection.execute("select revenant.complete_step(%s::uuid, 'null')", (token,))
        with pytest.raises(RunFailed, match="ValueError"):
            await run.result(timeout=20)
    assert undone == []
