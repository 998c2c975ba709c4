"""What a run and its attempts leave is gone at once: nothing of it is kept by a ring that only the collector finds."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from revenant.testing import memory_app
from revenant.worker.runs.attempt import RunningAttempt
from revenant.worker.runs.limits import Limits
from revenant.worker.runs.stage import Staged
from revenant.workflows.flow import Flow
from revenant.workflows.live import LiveRun
from revenant.workflows.step import Attempt, step
from revenant.workflows.workflow import workflow


@step(timeout=60, heartbeat=30)
async def count(number: int) -> int:
    return number + 1


@workflow
async def counting(flow: Flow, given: int) -> int:
    return await flow.step(count, await flow.step(count, given))


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("kind", [Attempt, Limits, LiveRun, RunningAttempt, Staged])
async def test_a_run_that_has_ended_is_gone_without_the_collector(kind: type) -> None:
    before = left(kind)
    async with memory_app(workflows=[counting]) as app:
        run = await app.start(counting, 1, id="a")
        assert await run.result() == 3
        assert left(kind) == before
