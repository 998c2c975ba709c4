"""The demo as people run it: real workers, a real kill, and a comparison that can fail."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from revenant.demo.aircraft import Aircraft
from revenant.demo.data import default_data
from revenant.demo.logbook import Logbook
from revenant.demo.play import verify
from revenant.trial.run import Run
from tests.acceptance.command import revenant
from tests.tools import eventually, rows, value

pytestmark = pytest.mark.acceptance
FLIGHTS = 2000
KEYS = [
    "flights",
    "entities",
    "lost",
    "doubled",
    "mismatched",
    "killed",
    "seconds",
    "messages_per_second",
    "call_p50_ms",
    "call_p99_ms",
    "recovery_ms",
]
COUNT = "select count(*) from revenant.entities where kind = 'demo.Aircraft'"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The first flights of the month, with two rows among them that cannot be read."""
    with gzip.open(default_data(), "rt") as file:
        lines = [next(file) for _ in range(FLIGHTS + 1)]
    lines.insert(100, "2013,1,1,early\n")
    lines.insert(500, lines[500].replace("2013", "year"))
    path = tmp_path / "flights.csv"
    path.write_text("".join(lines))
    return path


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "revenant", "demo", *arguments]
    environment = {**os.environ, "DATABASE_URL": url}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run(url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    ended = revenant("demo", "--json", *arguments, url=url)
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_nothing_is_lost_or_doubled_when_a_worker_is_killed_and_a_falsified_state_is_found(
    database: str, data: Path, connection: psycopg.AsyncConnection[Any]
) -> None:
    status, result, words = run(database, "--data", str(data), "--kill", "1", "--keep")
    assert (status, set(KEYS) - result.keys()) == (0, set()), words
    found = {name: result[name] for name in ("flights", "lost", "doubled", "mismatched", "killed", "bad_rows")}
    assert found == {"flights": FLIGHTS, "lost": 0, "doubled": 0, "mismatched": 0, "killed": 1, "bad_rows": 2}
    with data.open() as file:
        names = {row["tailnum"] for row in csv.DictReader(file) if row["tailnum"]}
    assert result["entities"] == len(names) == await value(connection, COUNT)
    assert result["out_of_order"] == result["dead_letters"] == result["workers_died"] == 0
    assert result["on_the_way_at_kill"] > 0
    assert result["recovery_all_ms"] >= result["recovery_ms"] > 0
    assert "Line 101 was passed over: it has 4 fields" in words
    assert "Line 501 was passed over: year should be a whole number" in words

    kept, logbook = Run(kind=Aircraft.entity_kind, id=result["run"]), Logbook(data)
    assert (await verify(connection, kept, logbook)).clean
    falsify = "update revenant.entities set state = jsonb_set(state, '{%s}', %s) where kind = %%s and key = %%s"
    some = sorted(names)[7]
    await connection.execute(falsify % ("miles", "'1'"), (kept.kind, kept.key(some)))
    verdict = await verify(connection, kept, logbook)
    assert (verdict.lost, verdict.doubled, verdict.mismatched) == (0, 0, 1)
    assert verdict.differences[0].startswith(f"{some}: miles is 1, should be ")
    await connection.execute(falsify % ("flights", "'999'"), (kept.kind, kept.key(some)))
    await connection.execute("delete from revenant.entities where key = %s", (kept.key(sorted(names)[8]),))
    verdict = await verify(connection, kept, logbook)
    assert min(verdict.lost, verdict.doubled) > 0
    assert verdict.mismatched == 2


def test_an_empty_file_is_no_error_and_missing_columns_are_one(database: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    status, result, words = run(database, "--data", str(empty), "--workers", "1", "--kill", "0")
    assert (status, result["flights"], result["entities"], result["killed"]) == (0, 0, 0, 0), words
    empty.write_text("year,month,day\n")
    status, result, words = run(database, "--data", str(empty), "--workers", "1", "--kill", "0")
    assert (status, result) == (2, {})
    assert "lacks the columns sched_dep_time, dep_time" in " ".join(words.split())


async def test_a_stopped_demo_leaves_neither_workers_nor_entities(
    database: str, connection: psycopg.AsyncConnection[Any]
) -> None:
    others = "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) values (0, %s, %s, 1, 1, '{}', 0)"
    await connection.execute(others, ("demo.Aircraft", "somebody else's"))
    process = start(database)
    try:
        await eventually(lambda: value(connection, COUNT + " having count(*) > 20"), what="some aircraft")
        pids = [row[0] for row in await rows(connection, "select pid from revenant.workers")]
        process.send_signal(signal.SIGTERM)
        words = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode not in (0, -signal.SIGTERM), words
    assert pids
    assert [pid for pid in pids if alive(pid)] == []
    assert await value(connection, COUNT) == 1
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_neither_workers_nor_files_outlive_a_demo_that_is_killed(
    database: str, connection: psycopg.AsyncConnection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with start(database, "--kill", "0") as process:
        await eventually(lambda: value(connection, COUNT + " having count(*) > 20"), what="some aircraft")
        process.kill()
    gone = "select count(*) = 0 from revenant.workers"
    await eventually(lambda: value(connection, gone), what="the end of both workers")
    assert os.listdir(tmp_path) == []
