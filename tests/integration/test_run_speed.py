"""How soon runs go on: a long history is read in 150 ms, and a timer of a run fires within 50 ms of its time."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import psycopg
import pytest

from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.queue.records import Hint, Settlement
from revenant.queue.runs import UNKNOWN, EventWrite, RunWrite, append_runs, visit_runs
from revenant.workflows.advancing import advance
from revenant.workflows.events import TIMER_FIRED, event
from revenant.workflows.flow import Flow
from revenant.workflows.live import LiveRun
from revenant.workflows.workflow import workflow
from tests.dry import DryRun
from tests.flows import served
from tests.tools import anybodys_lateness, eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
STEPS, EVENTS = 3333, 10_001
ROUND_TRIPS = 3
"""What is due is found, claimed and committed, one after another."""
TRIES = 20
"""Others may keep the machine busy: what counts is the best of them."""
WORKER = new_id(0)
VISIT = (
    f"select * from revenant.visit_runs_v2('{WORKER}', array[%s]::smallint[], '{{run:counts}}', '{{r}}', '{{null}}', '{{0}}', "
    "'{0}', '{false}', '{true}', '{null}', 512, 16777216)"
)


async def add(number: int) -> int:
    return number + 1


@workflow
async def counts(flow: Flow, steps: int) -> Any:
    number = 0
    while number < steps:
        number = await flow.step(add, number)
    return [number, await flow.signal("go")]


async def stored(connection: Connection) -> DryRun:
    """Store a run of so many steps, one after another, that waits for a signal."""
    run = DryRun(counts, STEPS)
    for number in range(1, STEPS + 1):
        run.succeed(number, number)
    head = RunWrite(
        bucket=run.address.bucket, kind=counts.kind, key="r", run=None, stream=run.run, expected=0, seq=len(run.events),
        fence=0, take=False, owned=False, version=1, status="waiting", recoveries=0, digest=b"", origin=None,
        parent=None, waits=None, view=None, problem=None, keep=None,
    )  # fmt: skip
    events = [EventWrite(1, one.seq, one.type, one.op, one.at.isoformat(), one.text) for one in run.events]
    assert len(events) == EVENTS
    assert await append_runs(connection, WORKER, [head], events, Settlement()) is None
    return run


async def test_a_history_of_ten_thousand_events_is_read_in_150_ms(connection: Connection) -> None:
    """Our own time, and the server's: what others take of a busy machine is left out as far as that goes."""
    run = await stored(connection)
    hint = Hint(bucket_of(counts.kind, "r"), counts.kind, "r", 0)
    ours, theirs = 1.0, 1.0
    for _ in range(TRIES):
        began = time.process_time()
        now, (visited,) = await visit_runs(connection, WORKER, [hint], [UNKNOWN], forced=[True], formats=[None])
        live = LiveRun(address=run.address, run=run.run, workflow=counts, now=now, chance=lambda: 0.5, limit=10**6)
        live.load([event(*one) for one in visited.events])
        advance(live)
        ours = min(ours, time.process_time() - began)
        assert live.view.seq == EVENTS
        assert [(one.type, one.name) for one in live.view.operations.values()] == [("wait", "go")]
        live.put_aside()
        found = await rows(connection, f"explain (analyze, timing off, format json) {VISIT}", hint.bucket)
        theirs = min(theirs, found[0][0][0]["Execution Time"] / 1000)
        if ours + theirs < 0.15:
            return
    pytest.fail(f"the best of {TRIES} tries took {1000 * ours:.0f} ms here, and {1000 * theirs:.0f} ms in Postgres")


@workflow
async def naps(flow: Flow, seconds: float) -> None:
    await flow.sleep(seconds)


async def test_a_timer_of_a_run_has_fired_within_50_ms(
    database: str, settings: Settings, connection: Connection
) -> None:
    """By the database's clock, from due to committed; and what a busy machine takes of anybody, for each round trip."""
    many = 15
    late: list[float] = []
    async with served(database, settings, naps) as app:
        for attempt in range(5):
            lengths = {f"{attempt}-{number}": 0.5 + 0.037 * number for number in range(many)}
            await asyncio.gather(*(app.start(naps, length, id=key) for key, length in lengths.items()))
            fired = (
                "select e.at, h.updated_at - (s.data ->> 'due')::timestamptz from revenant.run_heads h "
                "join revenant.run_events e using (bucket, run) join revenant.run_events s using (bucket, run) "
                f"where starts_with(h.key, '{attempt}-') and h.status = 'completed' and e.type = '{TIMER_FIRED}' "
                "and s.type = 'timer.scheduled'"
            )
            others = await anybodys_lateness(database, lengths.values())
            await eventually(lambda fired=fired: value(connection, f"select count(*) = {many} from ({fired}) f"))
            late = [after.total_seconds() for _, after in await rows(connection, fired)]
            assert min(late) >= 0, "before its time"
            if median(late) < 0.05 + ROUND_TRIPS * others:
                return
    pytest.fail(f"half of what was due was recorded {median(late):.3f} s late or more, and anybody {others:.3f} s")
