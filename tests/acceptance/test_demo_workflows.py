"""The demo of workflows as people run it: real workers, a real kill, and a comparison that can fail."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from revenant.demo.data import default_data
from revenant.demo.logbook import Logbook
from revenant.demo.ops.ledger import Ledger
from revenant.demo.ops.play import audit, balance
from revenant.trial.run import Run
from tests.acceptance.command import revenant
from tests.tools import value

pytestmark = pytest.mark.acceptance
FLIGHTS = 2500
JOBS = "select count(*) from procrastinate_jobs"
RUNS = "select count(*) from revenant.run_heads where kind = 'run:demo.compensate' and status = 'completed'"
EVENTS = "select count(*) from revenant.run_events"
LEDGERS = "select count(*) from revenant.entities where kind = 'demo.Ledger'"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The first flights of the month, with a row among them that cannot be read."""
    with gzip.open(default_data(), "rt") as file:
        lines = [next(file) for _ in range(FLIGHTS + 1)]
    lines.insert(100, "2013,1,1,late\n")
    path = tmp_path / "flights.csv"
    path.write_text("".join(lines))
    return path


def shorten(data: Path) -> None:
    data.write_text("\n".join(data.read_text().splitlines()[:600]))


def run(url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    ended = revenant("demo", "workflows", "--json", *arguments, url=url)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


async def test_no_claim_is_lost_or_paid_twice_when_a_worker_is_killed_and_a_falsified_ledger_is_found(
    database: str, data: Path, connection: psycopg.AsyncConnection[Any]
) -> None:
    status, result, words = run(database, "--data", str(data), "--keep")
    assert status == 0, (result, words)
    expected = await balance(Logbook(data))
    assert expected.claims > 50
    names = ("flights", "runs", "airlines", "lost", "doubled", "mismatched", "unfinished", "killed", "bad_rows")
    assert [result[name] for name in names] == [FLIGHTS, expected.claims, len(expected.records), 0, 0, 0, 0, 1, 1]
    assert result["approved"] > 0 < result["rejected"]
    assert result["on_the_way_at_kill"] > 0
    assert result["recovery_all_ms"] >= result["recovery_ms"] > 0
    assert result["run_p99_ms"] >= result["run_p50_ms"] > 0
    assert result["notices_sent"] + result["notices_stalled"] == expected.claims == await value(connection, JOBS)
    assert await value(connection, RUNS) == expected.claims
    assert "Line 101 was passed over: it has 4 fields" in words

    kept = Run(kind=Ledger.entity_kind, id=result["run"])
    assert (await audit(connection, kept, expected)).clean
    falsify = "update revenant.entities set state = jsonb_set(state, '{%s}', %s) where kind = %%s and key = %%s"
    first, second = sorted(expected.records)[:2]
    await connection.execute(falsify % ("paid", "'1'"), (kept.kind, kept.key(first)))
    verdict = await audit(connection, kept, expected)
    assert (verdict.lost, verdict.doubled, verdict.mismatched) == (0, 0, 1)
    assert verdict.differences[0].startswith(f"{first}: paid is 1, should be ")
    await connection.execute(falsify % ("claims", "'9999'"), (kept.kind, kept.key(first)))
    await connection.execute("delete from revenant.entities where key = %s", (kept.key(second),))
    verdict = await audit(connection, kept, expected)
    assert min(verdict.lost, verdict.doubled) > 0
    assert verdict.mismatched == 2


async def test_a_demo_of_workflows_removes_what_it_made(
    database: str, data: Path, connection: psycopg.AsyncConnection[Any]
) -> None:
    shorten(data)
    status, result, words = run(database, "--data", str(data), "--workers", "1", "--kill", "0")
    assert (status, result["killed"], result["notices_stalled"]) == (0, 0, 0), words
    assert result["runs"] > 0
    left = [await value(connection, query) for query in (RUNS, EVENTS, LEDGERS, JOBS)]
    assert left == [0, 0, 0, 0]


def test_an_empty_file_starts_no_run(database: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    status, result, words = run(database, "--data", str(empty), "--workers", "1", "--kill", "0")
    assert (status, result["flights"], result["runs"], result["airlines"]) == (0, 0, 0, 0), words
