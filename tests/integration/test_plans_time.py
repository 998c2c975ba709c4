"""What is due, cancelled, reminded and expired costs a page, however much is stored, with statistics that lie."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.codec import bucket_of
from tests.integration.test_plans import touched
from tests.tools import rows, value

pytestmark = pytest.mark.fresh  # plans depend on what autovacuum has seen
Connection = psycopg.AsyncConnection[Any]
STORED, PAGE = 50_000, 50
RELEASED, REMINDED, FIRED, CANCELLED, TOUCHED, WALKED, ENDED = 16, 4, 30, 8, 8, 1, 40
"""Buffers that one function may touch for each row of its page."""
OVERHEAD = 60
"""Buffers that a call touches whatever it finds."""
SCHEDULED = f"""
insert into revenant.scheduled (bucket, id, due, kind, key, handler, args)
select b, revenant.new_id_v1(b), now() + make_interval(secs => n - {PAGE * 2}), 'Visit', n::text, 'come', '{{}}'
from (select n, revenant.bucket_v1('Visit', n::text) as b from generate_series(1, {STORED}) n) as one
"""
REMINDERS = f"""
insert into revenant.reminders (
    bucket, kind, key, name, due, every, timezone, missed, to_bucket, to_kind, to_key, handler, args
)
select b, 'Visit', n::text, 'a', now() + make_interval(secs => n - {PAGE * 2}), 3600, 'UTC', 'once',
    b, 'Visit', n::text, 'come', '{{}}'
from (select n, revenant.bucket_v1('Visit', n::text) as b from generate_series(1, {STORED}) n) as one
"""
ENTITIES = f"""
insert into revenant.entities (bucket, kind, key, version, vsn, state, applied)
select revenant.bucket_v1('Visit', n::text), 'Visit', n::text, 1, 1, '{{}}', 0 from generate_series(1, {STORED}) n
"""


@pytest_asyncio.fixture
async def stale(connection: Connection) -> Connection:
    """A connection to a database of which the planner will always believe that it is empty."""
    for table in ("messages", "entities", "scheduled", "reminders"):
        await connection.execute(f"alter table revenant.{table} set (autovacuum_enabled = off)")
        await connection.execute(f"vacuum analyze revenant.{table}")
    return connection


async def test_releasing_and_cancelling_cost_a_page(stale: Connection) -> None:
    await stale.execute(SCHEDULED)
    release = "select * from revenant.release_due_v2(%s)"
    assert await touched(stale, release, PAGE) < RELEASED * PAGE + OVERHEAD
    ids = [found for (found,) in await rows(stale, f"select id from revenant.scheduled limit {PAGE}")]
    cancel = "select revenant.cancel_v1(%s::uuid[])"
    assert await touched(stale, cancel, ids) < CANCELLED * PAGE + OVERHEAD


async def test_reminders_that_are_due_cost_a_page(stale: Connection) -> None:
    await stale.execute(REMINDERS)
    due = "select * from revenant.due_reminders_v2(%s, %s::text[])"
    nobody = [f"Nobody{number}" for number in range(20)]
    (kind,) = [kind for (kind,) in await rows(stale, "select distinct to_kind from revenant.reminders")]
    assert await touched(stale, due, PAGE, nobody) < 4 * len(nobody) * 2 + OVERHEAD, "those of others cost nothing"
    assert await touched(stale, due, PAGE, [*nobody, kind]) < REMINDED * PAGE + OVERHEAD
    found = [row for row in await rows(stale, due, PAGE, [kind]) if row[1] is not None]
    assert len(found) == PAGE
    columns = [list(column) for column in zip(*(row[1:6] for row in found), strict=True)]
    fire = (
        "select revenant.fire_reminders_v1(%s::smallint[], %s::text[], %s::text[], %s::text[], %s::text[], "
        "%s::int[], %s::timestamptz[])"
    )
    nexts = [row[6].replace(year=2100) for row in found]
    assert await touched(stale, fire, *columns, [1] * PAGE, nexts) < FIRED * PAGE + OVERHEAD


async def test_noting_and_looking_for_idle_entities_costs_a_page(stale: Connection) -> None:
    await stale.execute(ENTITIES)
    keys = [str(n) for n in range(1, STORED, STORED // PAGE)]
    touch = "select revenant.touch_v1(%s::smallint[], %s::text[], %s::text[], %s::float8[])"
    named = ([bucket_of("Visit", key) for key in keys], ["Visit"] * len(keys), keys)
    assert await touched(stale, touch, *named, [-60.0] * len(keys)) < 2 * TOUCHED * PAGE + OVERHEAD
    assert await touched(stale, touch, *named, [60.0] * len(keys)) < TOUCHED * PAGE + OVERHEAD
    walk = "select * from revenant.expire_v1('Visit', %s, %s::smallint[], 0::smallint, '', %s)"
    page = 1000
    assert await touched(stale, walk, 3600.0, list(range(256)), page) < 2 * WALKED * page + OVERHEAD
    nobody = "select * from revenant.expire_v1('Nobody', %s, %s::smallint[], 0::smallint, '', %s)"
    assert await touched(stale, nobody, 3600.0, list(range(256)), page) < 5 * 256
    assert await value(stale, "select count(*) from revenant.messages") == 0


async def test_whether_idle_entities_wait_for_something_costs_a_look_up_each(stale: Connection) -> None:
    await stale.execute(ENTITIES)
    await stale.execute(SCHEDULED)
    await stale.execute("delete from revenant.scheduled where key::int % 2 = 0")
    walk = "select * from revenant.expire_v1('Visit', -60, %s::smallint[], 0::smallint, '', %s)"
    assert await touched(stale, walk, list(range(256)), PAGE) < ENDED * PAGE + OVERHEAD
    await stale.execute(walk, (list(range(256)), PAGE))
    told = await rows(stale, "select key from revenant.messages where handler = 'revenant:expire'")
    assert 0 < len(told) < PAGE
    assert all(int(key) % 2 == 0 for (key,) in told)
