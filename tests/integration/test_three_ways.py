"""A function, a decider and a list of steps: three ways to write the same, of which the same is recorded."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from revenant import Decider, Flow, Retry, sequence, step, workflow
from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.workflows import Command, Complete, DecisionView, RunStep
from tests.flows import history, served
from tests.tools import rows

Connection = psycopg.AsyncConnection[Any]
tries: dict[str, int] = {}


@step(retry=Retry(attempts=3, backoff=0.0))
async def reserve(order: str) -> int:
    tries[order] = tries.get(order, 0) + 1
    if tries[order] == 1 or order.startswith("bad"):
        raise ConnectionError("not yet")
    return len(order)


@step(version=4)
async def pack(size: int) -> str:
    return f"{size} parcels"


@workflow
async def as_function(flow: Flow, order: str) -> str:
    return await flow.step(pack, await flow.step(reserve, order))


class AsDecider(Decider[str, str]):
    steps = (reserve, pack)

    def decide(self, view: DecisionView[str]) -> Command:
        if (size := view.result(reserve)) is None:
            return RunStep(reserve, view.input)
        packed = view.result(pack)
        return RunStep(pack, size) if packed is None else Complete(packed)


as_list = sequence("as_list", reserve, pack)
OWN = ("workflow", "key", "after", "due")
"""What a run has to itself: its workflow's name, its steps' keys for the outside world, chance and the time."""


async def recorded(connection: Connection, key: str) -> list[Any]:
    """Return a run's events without what is its own; of a failure only that it was one: code has a traceback, too."""
    return [
        (type, {name: value for name, value in data.items() if name not in OWN and type != "run.failed"})
        for type, data in await history(connection, key)
    ]


async def test_a_function_a_decider_and_a_list_of_steps_record_the_same(
    database: str, settings: Settings, connection: Connection
) -> None:
    tries.clear()
    ways: dict[str, Any] = {"function": as_function, "decider": AsDecider, "list": as_list}
    async with served(database, settings, *ways.values()) as app:
        for way, code in ways.items():
            run = await app.start(code, "order 7", id=way)
            assert await run.result(timeout=30) == "7 parcels"
            tries.clear()
            bad = await app.start(code, "bad", id=f"{way} bad")
            with pytest.raises(RunFailed, match="ConnectionError: not yet"):
                await bad.result(timeout=30)
            tries.clear()
        for ending in ("", " bad"):
            by_way = [await recorded(connection, f"{way}{ending}") for way in ways]
            assert by_way[0] == by_way[1] == by_way[2]
    assert [type for type, _ in by_way[0]][-3:] == ["attempt.failed", "step.failed", "run.failed"]


async def test_a_failed_attempt_and_what_is_decided_about_it_are_one_append(
    database: str, settings: Settings, connection: Connection
) -> None:
    tries.clear()
    async with served(database, settings, as_function) as app:
        run = await app.start(as_function, "bad", id="r")
        with pytest.raises(RunFailed):
            await run.result(timeout=30)
    found = await rows(connection, "select type, xmin::text from revenant.run_events order by seq")
    decided = {
        place: (found[place + 1][0], found[place + 1][1] == commit)
        for place, (type, commit) in enumerate(found)
        if type == "attempt.failed"
    }
    assert list(decided.values()) == [("retry.scheduled", True), ("retry.scheduled", True), ("step.failed", True)]
    begun = [commit for type, commit in found if type == "attempt.started"]
    assert len(set(begun)) == 3, "each attempt is durable before it runs"
