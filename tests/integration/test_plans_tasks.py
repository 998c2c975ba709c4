"""Tasks are written, removed and listed by look-ups, however many there are, with statistics that lie."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.sql import statement
from tests.integration.test_plans import touched
from tests.tools import rows

pytestmark = pytest.mark.fresh  # plans depend on what autovacuum has seen
Connection = psycopg.AsyncConnection[Any]
STORED, PAGE = 20_000, 50
WRITTEN, GONE, LISTED = 16, 6, 4
"""Buffers that each row of a page may touch."""
OVERHEAD = 60
"""Buffers that a call touches whatever it finds."""
TASKS = f"""
insert into revenant.run_tasks (bucket, run, op, kind, key, type, name, assignee, input, made_at)
select n %% 256, revenant.new_id_v1((n %% 256)::smallint), 1, 'run:w', n::text, 'approval', 'manager',
    'person ' || n %% 400, '{{}}', now() + make_interval(secs => n)
from generate_series(1, {STORED}) n
"""
WRITE = (
    "select revenant.write_tasks_v1(%s::smallint[], %s::uuid[], %s::int[], %s::smallint[], %s::uuid[], %s::int[], "
    "%s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[], %s::text[], %s::timestamptz[], "
    "%s::text[])"
)
NOTHING: list[Any] = []
FIRST = {"after": "1970-01-01T00:00:00Z", "stream": "00000000-0000-0000-0000-000000000000", "op": 0, "page": PAGE}


@pytest_asyncio.fixture
async def stale(connection: Connection) -> Connection:
    """A connection to a database of which the planner will always believe that it is empty."""
    await connection.execute("alter table revenant.run_tasks set (autovacuum_enabled = off)")
    await connection.execute("vacuum analyze revenant.run_tasks")
    await connection.execute(TASKS.replace("%%", "%"))
    return connection


async def test_writing_and_removing_tasks_cost_a_look_up_each(stale: Connection) -> None:
    found = await rows(stale, f"select bucket, run::text, op from revenant.run_tasks limit {PAGE}")
    keys = [list(column) for column in zip(*found, strict=True)]
    assert await touched(stale, WRITE, *keys, *[NOTHING] * 12) < GONE * PAGE + OVERHEAD
    told = [["run:w"] * PAGE, ["k"] * PAGE, ["approval"] * PAGE, ["manager"] * PAGE, [1] * PAGE, ["ann"] * PAGE]
    again = [*[NOTHING] * 3, *keys, *told, ["{}"] * PAGE, [None] * PAGE, ["key"] * PAGE]
    assert await touched(stale, WRITE, *again) < WRITTEN * PAGE + OVERHEAD


@pytest.mark.parametrize("prepared", [False, True])
async def test_what_waits_for_one_person_is_listed_by_the_index(stale: Connection, prepared: bool) -> None:
    query = f"explain (analyze, buffers, format json) {statement('list_approvals')}"
    parameters = {"assignee": "person 7", "kind": None, **FIRST}
    for _ in range(12 if prepared else 1):
        cursor = await stale.execute(query.encode(), parameters, prepare=prepared)
    (row,) = await cursor.fetchall()
    plan = row[0][0]["Plan"]
    assert plan["Actual Rows"] == PAGE
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < LISTED * PAGE + OVERHEAD, row
