"""A worker that drains: while attempts of a run are under way there, nobody else can go on with it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.config import Settings
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.flows import types
from tests.tools import eventually

Connection = psycopg.AsyncConnection[Any]
gate: dict[str, asyncio.Event] = {}


async def lasts(name: str) -> str:
    await gate[name].wait()
    return name


@workflow
async def both(flow: Flow, name: str) -> list[Any]:
    return list(await flow.gather(flow.step(lasts, name), flow.signal("word")))


async def test_what_is_sent_to_a_run_with_attempts_under_way_is_taken_in_while_its_worker_drains(
    database: str, settings: Settings, connection: Connection
) -> None:
    gate.update({name: asyncio.Event() for name in ("one", "other")})
    async with Revenant(workflows=[both], database_url=database, settings=settings) as app:
        draining = app.worker()
        await draining.start()
        await draining.ready()
        run, parked = [await app.start(both, name, id=name) for name in ("one", "other")]

        async def begun() -> bool:
            return all([(await types(connection, name)).count("attempt.started") == 1 for name in ("one", "other")])

        await eventually(begun)
        stopping = asyncio.create_task(draining.stop(drain_timeout=30))
        await eventually(lambda: draining.wrong() == "the worker is draining")
        assert await run.signal("word", "heard", timeout=5)
        await parked.cancel("enough", timeout=5)
        assert not stopping.done(), "an attempt is still under way"
        gate["one"].set()
        await asyncio.wait_for(stopping, timeout=10)
        assert (await types(connection, "other"))[-1] == "run.cancelled"
        assert await run.result(timeout=10) == ["one", "heard"]
