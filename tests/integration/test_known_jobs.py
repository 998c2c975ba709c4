"""Workers with different tasks on one table of jobs, as in a rolling deploy: each takes those that it knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
import psycopg
import pytest

from revenant.queue.facts import gather
from revenant.sql import migrate
from revenant.worker.jobs import JobRunner
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]


class Tasks:
    """An application of procrastinate's with some tasks, and what they have done."""

    def __init__(self, *names: str) -> None:
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector())
        self.done: list[tuple[str, int, int]] = []
        for name in names:
            self.app.task(name=name, pass_context=True, retry=2)(self._note(name))

    def _note(self, name: str) -> Any:
        async def note(context: procrastinate.JobContext, number: int) -> None:
            self.done.append((name, number, context.job.attempts))

        return note

    @asynccontextmanager
    async def working(self, database: str, *, at_once: int = 1) -> AsyncIterator[None]:
        """Have them run meanwhile."""
        runner = JobRunner(app=self.app, url=database, concurrency=at_once)
        await runner.start()
        try:
            yield
        finally:
            await runner.stop(timeout=10)


async def defer(connection: Connection, tasks: Tasks, name: str, numbers: Sequence[int], **options: Any) -> None:
    """Put jobs into the table."""
    task = tasks.app.tasks[name].configure(**options)
    for number in numbers:
        job = task.make_new_job(number=number)
        await connection.execute(
            "select procrastinate_defer_jobs_v1(array[row(%s, %s, %s, %s, null, %s::jsonb, null)"
            "::procrastinate_job_to_defer_v1])",
            (job.queue, job.task_name, job.priority, job.lock, f'{{"number": {number}}}'),
        )


async def states(connection: Connection, name: str) -> set[tuple[str, int]]:
    """The states and attempts of the jobs of a task."""
    found = await rows(connection, "select status::text, attempts from procrastinate_jobs where task_name = %s", name)
    return set(found)


async def test_a_worker_leaves_jobs_of_tasks_that_it_has_not_to_one_that_has(
    database: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database)
    old, new = Tasks("greet"), Tasks("greet", "part")
    await defer(connection, new, "part", range(20))
    await defer(connection, new, "greet", range(20))
    with caplog.at_level(logging.WARNING, "revenant.jobs"):
        async with old.working(database, at_once=4):
            await eventually(lambda: len(old.done) == 20, what="the old worker's jobs")
            await eventually(lambda: "'part'" in caplog.text, what="the word about the others")
            assert await states(connection, "part") == {("todo", 0)}, "they wait, as if nobody had seen them"
            async with new.working(database, at_once=4):
                await eventually(lambda: len(new.done) == 20, what="the new worker's jobs")
    assert {(name, attempts) for name, _, attempts in new.done} == {("part", 0)}
    assert sorted(number for _, number, _ in new.done) == list(range(20))
    assert await states(connection, "part") == {("succeeded", 1)}
    (said,) = [one.getMessage() for one in caplog.records if "'part'" in one.getMessage()]
    assert said.startswith("No task 'part' is known here: its jobs (20 now) are left to workers that have it.")


async def test_a_check_tells_of_jobs_that_nobody_runs(database: str, connection: Connection) -> None:
    await migrate(database)
    tasks = Tasks("mail", "bill", "later")
    await defer(connection, tasks, "mail", [1, 2])
    await defer(connection, tasks, "bill", [3])
    await defer(connection, tasks, "later", [4])
    await connection.execute(
        "update procrastinate_events set at = at - interval '1 hour' where job_id in "
        "(select id from procrastinate_jobs where args->>'number' <> '2')"
    )
    await connection.execute("update procrastinate_jobs set scheduled_at = now() where task_name = 'later'")
    traffic = (await gather(database)).traffic
    assert traffic is not None
    assert [(one.task, one.jobs, round(one.seconds / 60)) for one in traffic.jobs] == [("mail", 2, 60), ("bill", 1, 60)]
    await connection.execute("drop table procrastinate_jobs cascade")
    traffic = (await gather(database)).traffic
    assert traffic is not None
    assert traffic.jobs == []


async def test_jobs_of_one_lock_stay_in_order_behind_one_whose_task_is_elsewhere(
    database: str, connection: Connection
) -> None:
    await migrate(database)
    old, new = Tasks("greet"), Tasks("greet", "part")
    await defer(connection, new, "part", [1], lock="door")
    await defer(connection, new, "greet", [2], lock="door")
    await defer(connection, new, "greet", [3])
    async with old.working(database, at_once=4):
        await eventually(lambda: len(old.done) == 1)
        await asyncio.sleep(0.3)
        assert [number for _, number, _ in old.done] == [3], "what came first is first"
        async with new.working(database):
            await eventually(lambda: len(old.done) + len(new.done) == 3)
    assert await value(connection, "select count(*) from procrastinate_jobs where status <> 'succeeded'") == 0


async def test_jobs_come_by_priority_then_in_order_and_when_they_are_due(database: str, connection: Connection) -> None:
    await migrate(database)
    tasks = Tasks("greet")
    await defer(connection, tasks, "greet", [1, 2], priority=1)
    await defer(connection, tasks, "greet", [3], priority=5)
    await defer(connection, tasks, "greet", [4], queue="other")
    await connection.execute(
        "update procrastinate_jobs set scheduled_at = now() + interval '1 hour' where args->>'number' = '2'"
    )
    async with tasks.working(database):
        await eventually(lambda: len(tasks.done) == 3)
    assert [number for _, number, _ in tasks.done] == [3, 1, 4]
    assert await value(connection, "select status::text from procrastinate_jobs where args->>'number' = '2'") == "todo"


async def test_ten_workers_take_each_job_once(database: str, connection: Connection) -> None:
    await migrate(database)
    crew = [Tasks("greet") for _ in range(3)]
    await defer(connection, crew[0], "greet", range(100))
    async with (
        crew[0].working(database, at_once=4),
        crew[1].working(database, at_once=3),
        crew[2].working(database, at_once=3),
    ):
        await eventually(lambda: sum(len(one.done) for one in crew) >= 100)
    assert sorted(number for one in crew for _, number, _ in one.done) == list(range(100))
