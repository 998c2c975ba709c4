"""What has the event loop is named: an attempt, a run's code, messages; else all that may be to blame, up to a few."""

from __future__ import annotations

import asyncio

from revenant.worker.underway import MOST, attempt_name, under_way


async def test_the_task_that_runs_is_named_alone_where_it_is_an_attempt() -> None:
    async def nothing() -> None: ...

    tries = [asyncio.create_task(nothing(), name=attempt_name("w", f"r{n}", "charge", 1)) for n in range(MOST + 2)]
    other = asyncio.create_task(nothing(), name="Task-7")
    named = "step charge of run w('r1'), attempt 1"
    assert under_way(tries[1], attempts=tries, runs={other: ("run:w", "r9")}, messages=["m"]) == named
    assert "the code of run w('r9')" in under_way(other, attempts=tries, runs={other: ("run:w", "r9")}, messages=["m"])
    several = under_way(other, attempts=tries, runs={None: None, tries[0]: ("run:w", "r9")}, messages=["m"])
    assert several.startswith("message m, step charge of run w('r0'), attempt 1, step ")
    assert several.endswith(" and 3 more")
    assert under_way(other, attempts=[], runs={}, messages=[]) == "no message and no step, but the task 'Task-7'"
    assert under_way(None, attempts=[], runs={}, messages=[]) == "no message and no step"
    await asyncio.gather(*tries, other)
