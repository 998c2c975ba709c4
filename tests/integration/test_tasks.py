"""Tasks: what waits for somebody outside stands in a table, exactly as long as its run waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import new_id
from revenant.config import Settings
from revenant.errors import RunCancelled
from revenant.queue.tasks import TaskKey, TaskWrite, write_tasks
from revenant.worker.worker import Worker
from revenant.workflows.draft import Draft, Task
from revenant.workflows.flow import Flow
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow
from tests.tools import eventually, rows

Connection = psycopg.AsyncConnection[Any]


@step(external=True)
async def weigh(parcel: str) -> int:
    raise NotImplementedError(f"{parcel} is weighed elsewhere")


@workflow
async def parcel(flow: Flow, name: str) -> int:
    return await flow.step(weigh, name)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=[parcel], database_url=database, settings=settings) as application:
        yield application


async def test_a_task_is_there_from_the_commit_that_asks_for_it_to_the_one_that_gives_it_up(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(parcel, "box", id="p-1")
    asked = "select type, name, kind, key, attempt, input::text from revenant.run_tasks"
    (task,) = await eventually(lambda: rows(connection, asked))
    assert task == ("step", "weigh", "run:parcel", "p-1", 1, '["box"]')
    await run.cancel("lost on the way")
    with pytest.raises(RunCancelled, match="lost on the way"):
        await run.result(timeout=30)
    assert await rows(connection, asked) == []


async def test_a_task_that_is_written_again_is_unclaimed_and_others_are_left(connection: Connection) -> None:
    bucket = 7
    first = TaskWrite(bucket, new_id(bucket), 1, "run:w", "k", "step", "weigh", 1, None, '{"n": 1}', None)
    other = first._replace(op=2, type="approval", name="manager", assignee="ann")
    await write_tasks(connection, gone=[], tasks=[other, first])
    await connection.execute(
        "update revenant.run_tasks set token = gen_random_uuid(), holder = 'h', held_until = now() where op = 1"
    )
    await write_tasks(connection, gone=[], tasks=[first._replace(attempt=2)])
    found = "select op, attempt, assignee, token, holder, held_until from revenant.run_tasks order by op"
    assert await rows(connection, found) == [(1, 2, None, None, None, None), (2, 1, "ann", None, None, None)]
    await write_tasks(connection, gone=[TaskKey(bucket, first.run, 1)], tasks=[])
    assert [row[0] for row in await rows(connection, found)] == [2]
    await write_tasks(connection, gone=[TaskKey(bucket, first.run, 2)], tasks=[other])
    assert [row[0] for row in await rows(connection, found)] == [2], "what is gone goes first"


def test_the_last_word_about_a_task_counts() -> None:
    """It may be asked for and given up in one commit, or given up and asked for again."""
    draft, task = Draft(), Task(1, "step", "weigh", 1, None, "[]", None)
    draft.hand_out(task)
    draft.withdraw(1)
    assert (draft.tasks, draft.withdrawn) == ({}, {1})
    again = replace(draft)
    again.hand_out(task._replace(attempt=2))
    assert again.tasks[1].attempt == 2
