"""Course: the workflows that are measured: their steps do nothing, so that what is measured is the engine."""

from __future__ import annotations

from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow


async def pace(number: int) -> int:
    """Count one on."""
    return number + 1


@workflow(name="BenchCourse")
async def course(flow: Flow, steps: int) -> int:
    """One step after the other; each is durable before the next begins."""
    number = 0
    for _ in range(steps):
        number = await flow.step(pace, number)
    return number


@workflow(name="BenchField")
async def field(flow: Flow, items: int) -> int:
    """One step for each item, 50 at a time."""
    return sum(await flow.map(pace, range(items)))


@workflow(name="BenchRest")
async def rest(flow: Flow, seconds: float) -> None:
    """Sleep."""
    await flow.sleep(seconds)
