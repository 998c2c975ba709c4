"""An attempt that is under way is never begun beside itself, whatever keeps its run from being written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from revenant import Flow, step, workflow
from revenant.app import Revenant
from revenant.config import Settings
from revenant.worker.runs import apart
from tests.flows import served, types
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]


class Hands:
    """Counts who is at work; they all wait for the gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.at_work = self.most = self.begun = 0

    def work(self) -> int:
        with self.lock:
            self.begun += 1
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        self.gate.wait(60)
        with self.lock:
            self.at_work -= 1
        return self.begun


hands = Hands()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(globals(), "hands", Hands())
    yield
    hands.gate.set()


@step(external=True)
async def resize(picture: str) -> str:
    raise NotImplementedError


def blocks() -> int:  # in a thread, which nobody can cancel
    return hands.work()


@workflow
async def album(flow: Flow) -> list[Any]:
    async def picture() -> Any:
        return await flow.race(flow.step(resize, "cat"), flow.signal("enough"))

    return list(await flow.gather(flow.step(blocks), picture()))


@workflow
async def alone(flow: Flow) -> int:
    return await flow.step(blocks)


async def test_a_run_that_cannot_be_written_now_keeps_its_attempts_and_what_comes_meanwhile(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "REFUSED_SECONDS", 0.3)
    async with served(database, settings, album) as app:
        run = await app.start(album, id="a")
        await eventually(lambda: hands.begun)
        claim = "select token::text from revenant.claim_step('resize', 'me', 60)"
        token = await eventually(lambda: value(connection, claim))
        async with await psycopg.AsyncConnection.connect(database) as slow:
            await slow.execute("select revenant.complete_step(%s::uuid, '\"good\"')", (token,))
            # Has the step given up, for which its row is needed.
            told = asyncio.create_task(run.signal("enough", "heard", timeout=30))
            more = asyncio.create_task(run.signal("later", timeout=30))
            await asyncio.sleep(1.5)
            assert not told.done()
            assert not more.done()
            assert hands.begun == 1, "its attempt was begun anew"
            hands.gate.set()
            await eventually(lambda: hands.at_work == 0)
            await slow.rollback()
        assert await told is True
        assert await more is True
        assert await run.result(timeout=20) == [1, [1, "heard"]]
    assert hands.begun == 1
    assert (await types(connection, "a")).count("attempt.started") == 2


async def test_an_attempt_whose_run_is_read_again_here_waits_for_its_own_end(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with Revenant(workflows=[alone], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        run = await app.start(alone, id="a")
        await eventually(lambda: hands.begun)
        key = ("run:alone", "a")
        runner = next(one for one in worker._runners if one.has(key))
        for _ in range(3):
            staged = runner.stage.find(key)
            assert staged is not None
            runner._give_back(staged)
            await eventually(lambda staged=staged: runner.stage.find(key) not in (None, staged))
            await asyncio.sleep(0.2)
        assert hands.begun == 1
        hands.gate.set()
        assert await run.result(timeout=20) == 2
        await worker.stop(drain_timeout=5)
    assert (hands.begun, hands.most) == (2, 1)
