"""Time: messages for later, reminders and schedules: stored, cancelled, released and fired, by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from revenant.queue.records import Hint, ReminderWrite, Scheduled, Settlement, Touch
from revenant.queue.script import array, columns, run_script
from revenant.queue.traces import trace_columns, traced, traces_of
from revenant.sql import statement

Connection = psycopg.AsyncConnection[Any]
DUE_CHANNEL = "revenant_due"
"""On which workers hear, in seconds, that something is due sooner than they may know."""
LONGEST_SLEEP = 5.0
"""Seconds after which a worker looks anyhow: what is due later than that needs no wake-up."""


class DueReminder(NamedTuple):
    """A reminder whose time has come, as it was read; `mark` changes with the row."""

    bucket: int
    kind: str
    key: str
    name: str
    mark: str
    due: datetime
    every: float | None
    cron: str | None
    timezone: str
    missed: str


class FiredReminder(NamedTuple):
    """What is done about a due reminder: so many `times` its message, and `next`; None: it goes."""

    bucket: int
    kind: str
    key: str
    name: str
    mark: str
    times: int
    next: datetime | None


class Registered(NamedTuple):
    """A schedule as a worker's application defines it; `due` is its first time, were it new."""

    name: str
    digest: bytes
    due: datetime
    every: float | None
    cron: str | None
    timezone: str
    missed: str
    bucket: int
    kind: str
    key: str
    handler: str
    args: str


class FiredSchedule(NamedTuple):
    """What is done about a schedule that was due at `due`."""

    name: str
    digest: bytes
    due: datetime
    times: int
    next: datetime


async def keep_time(connection: Connection, settlement: Settlement) -> list[tuple[str, str]]:
    """Inside a turn's transaction, write what it leaves for later; return the wake-ups for after the commit."""
    seconds: list[float | None] = []
    if settlement.schedules:
        seconds.append(await schedule(connection, settlement.schedules))
    if settlement.reminders:
        seconds.append(await remind(connection, settlement.reminders))
    if settlement.cancels:
        # After what was scheduled: a message may be cancelled in the turn that cast it.
        await cancel(connection, settlement.cancels)
    if settlement.touches:
        # A row that is written says so itself; touched first, it would not be where it was locked any more.
        written = {write[1:4] for write in settlement.writes}
        if touches := [touch for touch in settlement.touches if touch[:3] not in written]:
            await run_script(connection, statement("touch_entities"), columns(touches, Touch._fields))
    return due_wakes(seconds)


def due_wakes(seconds: Sequence[float | None]) -> list[tuple[str, str]]:
    """Return the wake-up, if any is needed, for what is due in so many seconds."""
    soonest = min((known for known in seconds if known is not None), default=LONGEST_SLEEP)
    return [(DUE_CHANNEL, f"{max(soonest, 0.0):.3f}")] if soonest < LONGEST_SLEEP else []


async def schedule(connection: Connection, rows: Sequence[Scheduled]) -> float | None:
    """Store messages that become due later; return the seconds until the earliest is."""
    traces = traces_of(row.id for row in rows)
    parameters = {**columns(rows, Scheduled._fields), **trace_columns(traces)}
    ((soonest,),), *_ = await run_script(connection, traced(statement("schedule_messages"), traces), parameters)
    return _seconds(soonest)


async def schedule_batch(connection: Connection, *, batch: str, rows: Sequence[Scheduled]) -> float | None:
    """Store one client's messages for later, exactly once however often it is retried; as `schedule`."""
    traces = traces_of(row.id for row in rows)
    parameters = {"batch": batch, **columns(rows, Scheduled._fields), **trace_columns(traces)}
    ((soonest,),), *_ = await run_script(connection, traced(statement("schedule_batch"), traces), parameters)
    return _seconds(soonest)


async def release_due(connection: Connection, *, page: int) -> tuple[list[Hint], float | None]:
    """Move due messages into their mailboxes; return their hints, and the seconds to the next due time, if any."""
    (rows,) = await run_script(connection, statement("release_due"), {"page": page})
    hints = [Hint._make(row[:4]) for row in rows if row[0] is not None]
    return hints, next((row[4] for row in rows if row[0] is None), None)


async def cancel(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Take messages that are not due yet out of the schedule; return those that were still there."""
    (rows,) = await run_script(connection, statement("cancel_messages"), {"ids": array(ids)})
    return [found for (found,) in rows]


async def remind(connection: Connection, rows: Sequence[ReminderWrite]) -> float | None:
    """Inside a turn, set, replace and cancel reminders in order; as `schedule`."""
    (((soonest,),),) = await run_script(connection, statement("set_reminders"), columns(rows, ReminderWrite._fields))
    return _seconds(soonest)


async def due_reminders(
    connection: Connection, *, kinds: Sequence[str], page: int
) -> tuple[datetime, list[DueReminder], float | None]:
    """Return the clock, a page of due reminders that go to these kinds, and the seconds until the next one is due."""
    (rows,) = await run_script(connection, statement("find_reminders"), {"page": page, "kinds": list(kinds)})
    moment, next_due = rows[-1][0], rows[-1][11]
    return moment, [DueReminder._make(row[1:11]) for row in rows[:-1]], next_due


async def fire_reminders(connection: Connection, rows: Sequence[FiredReminder]) -> list[str]:
    """Fire reminders that are still as they were read; return the wake-ups."""
    (found,) = await run_script(connection, statement("fire_reminders"), columns(rows, FiredReminder._fields))
    return [hint for (hint,) in found]


async def read_clock(connection: Connection) -> datetime:
    """Return the database's time, by which everything is due."""
    (((moment,),),) = await run_script(connection, statement("read_clock"))
    return moment  # type: ignore[no-any-return]  # as the statement says


async def register(connection: Connection, rows: Sequence[Registered]) -> dict[str, datetime]:
    """Say which schedules there are; return the due times of those whose definition is current."""
    (found,) = await run_script(connection, statement("register_schedules"), columns(rows, Registered._fields))
    return dict(found)


async def fire_schedules(connection: Connection, rows: Sequence[FiredSchedule]) -> list[str]:
    """Fire schedules that are still as they were read; return the wake-ups."""
    (found,) = await run_script(connection, statement("fire_schedules"), columns(rows, FiredSchedule._fields))
    return [hint for (hint,) in found]


async def expire(
    connection: Connection, *, kind: str, idle: float, buckets: Sequence[int], after: tuple[int, str], page: int
) -> tuple[list[str], tuple[int, str] | None]:
    """Tell the idle entities of a page to end; return the wake-ups, and the place to go on from, None at the end."""
    parameters = {
        "kind": kind, "idle": idle, "buckets": array(buckets), "bucket": after[0], "key": after[1], "page": page,
    }  # fmt: skip
    (rows,) = await run_script(connection, statement("expire_entities"), parameters)
    *_, (_, bucket, key) = rows
    return [hint for hint, _, _ in rows if hint is not None], None if bucket is None else (bucket, key)


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
