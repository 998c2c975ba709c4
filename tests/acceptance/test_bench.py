"""The benchmark as people run it, briefly: its figures are there, its sums agree, and it leaves nothing behind."""

from __future__ import annotations

import json
import sys
from typing import Any

import psycopg
import pytest

from revenant.bench.calls import CALL_PARTS
from tests.acceptance.command import revenant
from tests.tools import value

pytestmark = pytest.mark.acceptance
LEFT = """
select (select count(*) from revenant.entities) + (select count(*) from revenant.messages)
    + (select count(*) from revenant.run_heads) + (select count(*) from revenant.run_events)
    + (select count(*) from revenant.scheduled)
    + (select count(*) from pg_namespace where nspname like 'revenant\\_bench%')
"""


def run(url: str, *arguments: str) -> dict[str, Any]:
    done = revenant("bench", *arguments, url=url)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_calls_are_measured_fresh_and_under_a_snapshot_and_every_one_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(
        database,
        *("calls", "--callers", "8", "--entities", "20", "--seconds", "0.5"),
        "--hold-snapshot",
        "0.5",
        "--json",
    )
    for name in (
        "calls_per_second",
        "baseline_per_second",
        "baseline_p50_ms",
        "ratio",
        "fresh_per_second",
        "fresh_p50_ms",
    ):
        assert found[name] > 0, name
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert found["total"] == found["expected"] >= found["calls"] > 0
    assert found["errors"] == found["unknown"] == 0
    assert found["ratio"] == pytest.approx(found["calls_per_second"] / found["baseline_per_second"], rel=0.02)
    if sys.platform == "linux":
        parts = [found[f"{part}_cpu_us"] for part in CALL_PARTS]
        assert None not in parts, "somebody who takes part in a call was not seen"
        # The system counts by ticks of 10 ms, and the listeners may need less.
        assert sorted(parts)[1] > 0
        assert sum(parts) == pytest.approx(found["cpu_us"], rel=0.01)
        assert found["cpu_ratio"] == pytest.approx(found["baseline_cpu_us"] / found["cpu_us"], rel=0.02)
    assert await value(connection, LEFT) == 0


async def test_a_backlog_is_drained_and_every_message_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, "drain", "--messages", "500", "--entities", "100", "--json")
    assert min(found["messages_per_second"], found["seconds"], found["baseline_per_second"], found["ratio"]) > 0
    assert found["total"] == found["messages"] == 500
    assert found["messages_per_turn"] is None or found["messages_per_turn"] >= 1
    if sys.platform == "linux":
        assert 0 < found["worker_cores"] < 2
        assert 0 < found["machine_busy"] <= 1.1
    assert await value(connection, LEFT) == 0


async def test_runs_are_measured_beside_plain_commits_and_every_result_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, *("workflows", "--runs", "40", "--in-flight", "8", "--items", "60", "--json"))
    for name in ("runs_per_second", "baseline_runs_per_second", "ratio", "wal_bytes_per_run", "items_seconds"):
        assert found[name] > 0, name
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert found["runs"] == 40
    assert found["total"] == found["expected"] == 40 + 4 + 40 + 1
    assert found["errors"] == found["unknown"] == 0
    assert await value(connection, LEFT) == 0


@pytest.mark.parametrize("of", ["timers", "casts", "sent"])
async def test_callers_are_measured_beside_a_crowd_and_every_message_counts_once(
    of: str, database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, "crowd", "--of", of, "--messages", "300", "--entities", "100", "--seconds", "0.4", "--json")
    for name in ("drained_seconds", "alone_per_second", "alone_p50_ms", "beside_per_second", "beside_p50_ms"):
        assert found[name] > 0, name
    assert found["kept"] == pytest.approx(found["beside_per_second"] / found["alone_per_second"], rel=0.02)
    assert found["slower"] == pytest.approx(found["beside_p50_ms"] / found["alone_p50_ms"], rel=0.02)
    assert found["total"] == found["expected"] > found["messages"] == 300
    assert found["errors"] == found["unknown"] == 0
    assert await value(connection, LEFT) == 0


async def test_sleeping_runs_are_counted_as_they_are_committed(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, *("sleepers", "--runs", "50", "--json"))
    assert found["total"] == found["expected"] == 50
    assert len(found["resident_bytes"]) == 10
    assert await value(connection, LEFT) == 0


async def test_another_worker_answers_for_each_that_is_killed_and_every_call_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, "recovery", "--kills", "2", "--entities", "20", "--json")
    assert found["kills"] == 2
    assert 0 < found["recovery_p50_ms"] <= found["recovery_p99_ms"] <= found["recovery_max_ms"]
    assert found["recovery_max_ms"] <= found["recovery_all_max_ms"]
    assert found["any_p50_ms"] > 0
    assert found["total"] == found["expected"] > found["calls"] > 0
    assert found["errors"] == found["unknown"] == 0
    assert await value(connection, LEFT) == 0


def test_the_library_s_own_time_needs_no_database() -> None:
    found = run("postgresql://nowhere.invalid/", "overhead", "--messages", "640", "--json")
    assert min(found["client_us"], found["worker_us"], found["reply_us"]) > 0
    assert (found["messages"], found["errors"]) == (640, 0)


async def test_durabilities_are_measured_and_every_call_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    for _ in range(3):
        found = run(database, "durability", "--callers", "8", "--seconds", "0.4", "--messages", "20", "--json")
        if found["strict_wal_bytes"] > 4 * found["interval_wal_bytes"]:
            break  # else another test of this server wrote much at the same time
    for level in ("strict", "interval"):
        for name in ("calls_per_second", "p50_ms", "wal_bytes"):
            assert found[f"{level}_{name}"] > 0, name
    # Twenty times 256 KiB, against once.
    assert found["strict_wal_bytes"] > 4 * found["interval_wal_bytes"]
    assert found["total"] == found["expected"] > 2000
    assert found["errors"] == found["unknown"] == 0
    assert await value(connection, LEFT) == 0


async def test_memory_is_measured_and_every_visit_counts_once(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    found = run(database, "memory", "--entities", "500", "--json")
    assert len(found["resident_bytes"]) == 10
    assert all(seen > 2**20 for seen in found["resident_bytes"])
    assert found["total"] == found["expected"] == found["entities"] == 500
    assert await value(connection, LEFT) == 0
