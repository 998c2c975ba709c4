"""`app.sync()` and workflows: the same doors, and handles with the same names, for blocking code."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.config import Settings
from revenant.errors import RunCancelled, RunEnded, RunExists
from revenant.sync_runs import BlockingRun
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.flows import served


async def work(number: int) -> int:
    return number + 1


@workflow
async def adds(flow: Flow, number: int) -> int:
    flow.show("waits")
    more = await flow.signal("more", int)
    return await flow.step(work, number + more)


async def test_blocking_code_starts_runs_and_does_all_that_there_is_to_do(database: str, settings: Settings) -> None:
    def program(app: Revenant) -> None:
        with app.sync() as rv:
            run = rv.start(adds, 1, id="r")
            assert (run.id, run.workflow) == ("r", "adds")
            with pytest.raises(RunExists):
                rv.start("adds", 2, id="r")
            assert run.state() == "waits"
            run.park("a while")
            assert run.describe().problem == "a while"
            run.resume()
            run.requeue()
            run.migrate()
            assert run.signal("more", 5, id="s") is True
            assert run.result(timeout=20) == 7
            with pytest.raises(RunEnded):
                run.signal("more", 5)
            assert rv.run(adds, "r").result(timeout=20) == 7
            assert [event.type for event in run.history()][-1] == "run.completed"
            again = rv.fork(run, id="again", step="work")
            assert again.result(timeout=20) == 7
            other = rv.start(adds, 1, id="other")
            other.cancel("enough")
            with pytest.raises(RunCancelled):
                other.result(timeout=20)
            assert rv.approvals() == []

    async with served(database, settings, adds) as app:
        await asyncio.to_thread(program, app)


def test_the_handle_has_the_names_and_parameters_of_the_async_one() -> None:
    def doors(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(found).parameters)
            for name, found in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in ("sibling", "decide")
        }

    assert doors(BlockingRun) == doors(Run)
