"""`revenant run export`, as people type it: JSON lines of runs, to be kept elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.command import revenant

pytestmark = pytest.mark.acceptance
HEAD = """
insert into revenant.run_heads (bucket, kind, key, run, version, status, seq, fence, digest, started_at, ended_at)
select get_byte(uuid_send(run), 15), kind, key, run, 1, status, 2, 0, '', '2026-01-01Z', ended_at::timestamptz
from (values
    ('run:order', 'o-1', 'completed', '2026-01-02Z', gen_random_uuid()),
    ('run:order', 'o-2', 'failed', '2026-02-02Z', gen_random_uuid()),
    ('run:order', 'o-3', 'waiting', null, gen_random_uuid()),
    ('run:mail', 'm-1', 'completed', '2026-01-02Z', gen_random_uuid())
) s (kind, key, status, ended_at, run)
"""
EVENTS = """
insert into revenant.run_events (bucket, run, seq, type, at, data)
select bucket, run, n, case n when 1 then 'run.started' else 'run.completed' end, '2026-01-01Z',
    jsonb_build_object('n', n, 'words', 'a "quoted" ü')
from revenant.run_heads, generate_series(1, 2) n
"""


@pytest.fixture
def stored(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(HEAD.encode())
        connection.execute(EVENTS.encode())
    return database


def keys(database: str) -> list[str]:
    with psycopg.connect(database, autocommit=True) as connection:
        return [key for (key,) in connection.execute("select key from revenant.run_heads order by key").fetchall()]


def read(text: str) -> dict[str, Any]:
    return {one["id"]: one for one in map(json.loads, text.splitlines())}


def test_runs_that_ended_are_written_a_line_each(stored: str) -> None:
    done = revenant("run", "export", url=stored)
    assert (done.returncode, done.stderr) == (0, "3 runs written.\n")
    found = read(done.stdout)
    assert set(found) == {"o-1", "o-2", "m-1"}
    assert found["o-1"]["workflow"] == "order"
    assert [event["data"] for event in found["o-1"]["events"]] == [{"n": n, "words": 'a "quoted" ü'} for n in (1, 2)]
    assert found["o-1"]["events"][1]["type"] == "run.completed"
    before = revenant("run", "export", "--workflow", "order", "--before", "2026-01-15T00:00:00Z", url=stored)
    assert set(read(before.stdout)) == {"o-1"}
    with psycopg.connect(stored, autocommit=True) as connection:
        connection.execute("update revenant.run_heads set version = 2 where key = 'o-2'")
    assert set(read(revenant("run", "export", "--version", "2", url=stored).stdout)) == {"o-2"}
    named = revenant("run", "export", "o-3", "m-1", url=stored)
    assert set(read(named.stdout)) == {"o-3", "m-1"}
    assert revenant("run", "export", "nobody", url=stored).returncode == 3
    assert len(keys(stored)) == 4


def test_what_was_written_to_a_file_can_be_removed(stored: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    done = revenant("run", "export", "o-1", "o-3", "--to", str(file), "--remove", url=stored)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 runs written, 1 of them removed.\n")
    assert set(read(file.read_text())) == {"o-1", "o-3"}
    assert keys(stored) == ["m-1", "o-2", "o-3"]
    again = revenant("run", "export", "--to", str(file), "--remove", url=stored)
    assert again.returncode == 1
    assert "not there" in again.stderr
    assert set(read(file.read_text())) == {"o-1", "o-3"}
    assert keys(stored) == ["m-1", "o-2", "o-3"]
