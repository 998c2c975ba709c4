"""Rest: what a test's database still has to do, and the clock by which it is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from revenant.queue.script import array, run_script
from revenant.sql import statement

STANDS_STILL = "revenant.testing=clock"
"""The option of connections that go by a test's clock."""
Connection = psycopg.AsyncConnection[Any]


async def create_clock(connection: Connection, moment: datetime | None) -> datetime:
    """See to it that the database has a clock that stands still; return its time, which is `moment` where given."""
    results = await run_script(connection, statement("create_clock"), {"moment": moment})
    return results[-1][0][0]  # type: ignore[no-any-return]  # as the statement says


async def set_clock(connection: Connection, moment: datetime) -> None:
    """Move the clock."""
    await run_script(connection, statement("set_clock"), {"moment": moment})


async def unfinished(
    connection: Connection, *, kinds: Sequence[str], schedules: Sequence[str], jobs: bool
) -> dict[str, int]:
    """Return what waits and is due, by its name; empty where nothing is."""
    parameters = {"kinds": array(kinds), "schedules": array(schedules), "jobs": jobs}
    (rows,) = await run_script(connection, statement("count_unfinished"), parameters)
    return dict(rows)


async def next_due(
    connection: Connection, *, kinds: Sequence[str], schedules: Sequence[str], until: datetime
) -> datetime | None:
    """Return when the next thing becomes due, after now and not after `until`."""
    parameters = {"kinds": array(kinds), "schedules": array(schedules), "until": until}
    (((due,),),) = await run_script(connection, statement("find_next_due"), parameters)
    return due  # type: ignore[no-any-return]  # as the statement says
