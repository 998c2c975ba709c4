"""Runs are visited and appended to by look-ups, however many there are, and whatever the planner believed of them."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from revenant.codec import bucket_of, new_id
from revenant.queue.claim import BYTE_LIMIT, MESSAGE_LIMIT
from revenant.queue.records import Settlement, Taken
from revenant.queue.runs import EVENT_COLUMNS, RUN_COLUMNS, UNKNOWN, EventWrite, Known, RunWrite
from revenant.queue.script import array, columns
from revenant.queue.settle import run_parameters
from revenant.sql import statement
from tests.integration.test_plans import touched
from tests.tools import rows

pytestmark = pytest.mark.fresh  # plans depend on what autovacuum has seen
Connection = psycopg.AsyncConnection[Any]
WORKER = "00000000-0000-0000-0000-000000000001"
RUNS, FEW, PAGE = 100_000, 300, 50
APPENDED, BEGUN, VISITED, READ, SETTLED = 70, 60, 20, 40, 4
"""Buffers that one run of a batch may touch: with two events appended, with its first two, visited, and read whole; and a
message that is taken."""
LISTED, FOUND, STUCK = 4, 40, 30
"""Buffers of one run of a page of the youngest, of all runs of one id, and of a run that is stuck."""
TABLES = ("run_heads", "run_events", "run_snapshots", "run_progress", "messages")
HEADS = """
insert into revenant.run_heads (bucket, kind, key, run, version, status, seq, fence, digest, started_at)
select b, 'run:w', n::text, (substr(md5(n::text), 1, 30) || lpad(to_hex(b::int), 2, '0'))::uuid, 1, 'waiting', 3, 1, '',
    timestamptz '2026-01-01Z' + make_interval(secs => n)
from generate_series(%s::int, %s) n, revenant.bucket_v1('run:w', n::text) b
"""
FAILED = """
update revenant.run_heads
set status = 'failed', ended_at = now() - case when key::int % 1000 = 0 then interval '1 hour' else interval '3 days' end
"""
EVENTS = """
insert into revenant.run_events (bucket, run, seq, type, op, at, data)
select h.bucket, h.run, s.seq, 'signal.received', null, now(), '{"name": "x", "payload": 1}'
from revenant.run_heads h, generate_series(1, 3) s (seq)
where h.key::int between %s and %s
"""
MESSAGES = """
insert into revenant.messages (bucket, kind, key, id, handler, args)
select h.bucket, h.kind, h.key, (substr(md5('m' || key), 1, 30) || lpad(to_hex(h.bucket::int), 2, '0'))::uuid,
    'signal', '{"name": "x"}'
from revenant.run_heads h where h.key::int between %s and %s and h.key::int %% 10 = 0
"""


async def load(connection: Connection, first: int, last: int) -> None:
    for insert in (HEADS, EVENTS, MESSAGES):
        await connection.execute(insert, (first, last))


def call(name: str, given: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the last statement of a script, and its parameters in their order."""
    (text,) = [part for part in statement(name).split(";") if "revenant." in part and "now()" not in part]
    return re.sub(r"%\(\w+\)s", "%s", text), [given[found] for found in re.findall(r"%\((\w+)\)s", text)]


async def known(connection: Connection, keys: list[str]) -> dict[str, Known]:
    """Return where the streams of those of these runs stand that there are."""
    query = "select key, run::text, seq, fence, false from revenant.run_heads where key = any (%s)"
    return {key: Known(*found) for key, *found in await rows(connection, query, keys)}


def addresses(keys: list[str]) -> list[tuple[int, str, str]]:
    return [(bucket_of("run:w", key), "run:w", key) for key in keys]


async def visited(connection: Connection, keys: list[str], *, whole: bool) -> int:
    """Return the buffers that a visit touches; `whole`: the runs are read, besides being looked at."""
    found = {} if whole else await known(connection, keys)
    text, parameters = call(
        "visit_runs",
        {
            "worker": WORKER,
            **columns(addresses(keys), ("buckets", "kinds", "keys")),
            **columns([found.get(key, UNKNOWN) for key in keys], ("known_runs", "known_seqs", "known_fences", "owned")),
            "forced": array([whole] * len(keys)),
            "formats": array(["f"] * len(keys)),
            "message_limit": MESSAGE_LIMIT,
            "byte_limit": BYTE_LIMIT,
        },
    )
    return await touched(connection, text, *parameters)


def append_to(address: tuple[int, str, str], run: str | None, stream: str, seq: int, fence: int) -> RunWrite:
    """Two events more."""
    bucket, kind, key = address
    return RunWrite(
        bucket=bucket, kind=kind, key=key, run=run, stream=stream, expected=seq, seq=seq + 2, fence=fence, take=True,
        owned=True, version=1, status="running", recoveries=0, digest=b"", origin=None, parent=None, waits=None,
        view=None, problem=None, keep=None,
    )  # fmt: skip


async def appended(connection: Connection, keys: list[str]) -> int:
    """Return the buffers that an append of two events to each run touches; those that there are not are begun."""
    found = await known(connection, keys)
    heads, events = [], []
    for slot, address in enumerate(addresses(keys), 1):
        run, seq, fence, _ = found.get(address[2], UNKNOWN)
        stream = run or new_id(address[0])
        heads.append(append_to(address, run, stream, seq, fence))
        events += [EventWrite(slot, seq + more, "signal.received", None, "2026-01-01Z", "{}") for more in (1, 2)]
    given = {"worker": WORKER, **columns(heads, RUN_COLUMNS), **columns(events, EVENT_COLUMNS)}
    text, parameters = call("append_runs", given)
    return await touched(connection, text, *parameters)


async def settled(connection: Connection, keys: list[str]) -> int:
    """Return the buffers that taking the messages of these runs touches."""
    query = "select ctid::text, seq, id::text from revenant.messages where key = any (%s)"
    taken = [Taken(*found) for found in await rows(connection, query, keys)]
    assert len(taken) == len(keys)
    text, parameters = call("settle_runs", run_parameters(Settlement(taken=taken)))
    return await touched(connection, text, *parameters)


async def check(connection: Connection, what: str) -> None:
    """The hot functions touch a few buffers for each run, whether there is such a run or not."""
    old = [str(number) for number in range(10, RUNS, RUNS // PAGE)]
    new = [f"new {number}" for number in range(PAGE)]
    assert await appended(connection, old) < APPENDED * PAGE, what
    assert await appended(connection, new) < BEGUN * PAGE, what
    assert await visited(connection, old, whole=False) < VISITED * PAGE, what
    assert await visited(connection, old, whole=True) < READ * PAGE, what
    assert await visited(connection, new, whole=False) < VISITED * PAGE, what
    assert await settled(connection, old) < SETTLED * PAGE, what


async def test_runs_are_visited_and_appended_to_by_look_ups_whatever_there_was_when_that_was_planned(
    connection: Connection, database: str
) -> None:
    for table in TABLES:
        await connection.execute(f"alter table revenant.{table} set (autovacuum_enabled = off)")
        await connection.execute(f"vacuum analyze revenant.{table}")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as early:
        # A session keeps the plans of its first call.
        await visited(connection, ["1", "nobody"], whole=True)
        await appended(connection, ["1", "nobody"])
        await load(connection, 1, FEW)
        await visited(early, ["1", "nobody"], whole=True)
        await appended(early, ["1", "nobody"])
        await load(connection, FEW + 1, RUNS)
        await check(connection, "planned while there was none")
        await check(early, "planned while there were few")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as late:
        await check(late, "planned without statistics")
    for table in TABLES:
        await connection.execute(f"analyze revenant.{table}")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as late:
        await check(late, "planned with statistics")
        await check_lists(late)


async def check_lists(connection: Connection) -> None:
    """People look at a page of runs, and at one, at the cost of a page, and of one."""
    top = {"kind": None, "key": None, "started_at": None}
    for place in (top, {"kind": "run:w", "key": "7", "started_at": "2026-01-02Z"}):
        for only in (None, "run:w"):
            text, parameters = call("list_runs", {"only": only, "status": None, "page": PAGE, **place})
            assert await touched(connection, text, *parameters) < LISTED * PAGE, place
    text, parameters = call("find_runs", {"key": "7"})
    assert await touched(connection, text, *parameters) < FOUND


async def test_what_has_failed_long_ago_is_not_read_by_whoever_looks_for_stuck_runs(connection: Connection) -> None:
    many = 20_000
    for table in TABLES:
        await connection.execute(f"alter table revenant.{table} set (autovacuum_enabled = off)")
    await connection.execute(HEADS, (1, many))
    await connection.execute(FAILED)
    await connection.execute(EVENTS, (1, many))
    for table in TABLES:
        await connection.execute(f"vacuum analyze revenant.{table}")
    # The mailbox is read as a whole: it has few messages as a rule, and whoever asks this is a person.
    assert await touched(connection, "select * from revenant.stuck", small="messages") < STUCK * many // 1000
    assert len(await rows(connection, "select * from revenant.stuck where reason = 'failed'")) == many // 1000
