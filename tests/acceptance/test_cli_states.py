"""The commands about state through time, as people type them: upgrade, views, history, dev."""

from __future__ import annotations

import csv
import io
import json
import signal

import psycopg
import pytest

from tests.acceptance.command import revenant, running

pytestmark = pytest.mark.acceptance
NEW, DIARY = "tests.deploys:new", "tests.diary:app"


def execute(database: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_upgrade_tells_which_rows_would_fail_and_upgrades_the_others(database: str) -> None:
    execute(
        database,
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('Parcel', key), 'Parcel', key, 1, 1, state::jsonb, 0 "
        """from (values ('good', '{"grams": 1500}'), ('bad', '{"ounces": 3}')) s (key, state)""",
    )
    before = execute(database, "select xmin::text, * from revenant.entities order by key")
    tried = revenant("upgrade", "Parcel", "--dry-run", "-o", "json", url=database, REVENANT_APP=NEW)
    assert tried.returncode == 1, tried.stderr
    (flaw,) = json.loads(tried.stdout)
    assert (flaw["key"], flaw["vsn"]) == ("bad", 1)
    assert "KeyError: 'grams'" in flaw["why"]
    assert "2 rows: 1 would be upgraded, 1 failed." in tried.stderr
    assert execute(database, "select xmin::text, * from revenant.entities order by key") == before
    done = revenant("upgrade", "Parcel", "-o", "csv", url=database, REVENANT_APP=NEW)
    assert done.returncode == 1
    assert [row["key"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["bad"]
    assert execute(database, "select key, vsn, state ->> 'kilos' from revenant.entities order by key") == [
        ("bad", 1, None),
        ("good", 2, "1.5"),
    ]
    execute(database, "delete from revenant.entities where key = 'bad'")
    again = revenant("upgrade", "Parcel", url=database, REVENANT_APP=NEW)
    assert (again.returncode, again.stderr) == (0, "1 row: 0 upgraded, 0 failed.\n")


def test_views_are_made_and_dropped_and_printed(database: str) -> None:
    made = revenant("views", "--app", NEW, url=database)
    assert made.returncode == 0, made.stderr
    assert made.stderr == "revenant_state.parcel: made.\nrevenant_state.letter: made.\n"
    printed = revenant("views", "--sql", "--app", NEW, url=database)
    execute(database, "drop schema revenant_state cascade")
    execute(database, printed.stdout)
    assert revenant("views", "--app", NEW, url=database).stderr.count("as it was") == 2
    assert revenant("views", "--drop", "--app", NEW, url=database).stderr.count("dropped") == 2


def test_dev_serves_and_proves_what_it_writes_and_history_shows_it(database: str) -> None:
    with running("dev", "--app", DIARY, url=database) as dev:
        dev.until_said("Ready:")
        for word in ("a", "b"):
            assert revenant("call", "Diary", "d", "write", f"word={word}", url=database).returncode == 0
        spoiled = revenant("call", "Diary", "d", "spoil", url=database)
        assert spoiled.returncode == 1
        assert "ordered is not read as it was written" in spoiled.stderr
        dev.send(signal.SIGTERM)
        assert dev.ends() == 0
    shown = revenant("history", "Diary", "d", "-o", "ndjson", url=database)
    changes = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(change["version"], change["handler"], change["state"]["words"]) for change in changes] == [
        (2, "write", ["a", "b"]),
        (1, "write", ["a"]),
    ]
    assert len(revenant("history", "Diary", "d", "--limit", "1", "-o", "csv", url=database).stdout.splitlines()) == 2
    assert revenant("history", "Diary", "other", url=database).returncode == 3
