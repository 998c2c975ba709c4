"""`revenant run`: what people start, see and do, by the real command, beside a real worker."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.acceptance.command import revenant, running, wait_for


@pytest.fixture
def served(database: str) -> Iterator[str]:
    with running("worker", "--app", "tests.moves:both", url=database) as worker:
        worker.until_said("serves")
        yield database


def ok(*words: str, url: str) -> str:
    """Return what a command printed; it did what it was to do."""
    ended = revenant("run", *words, url=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rows(*words: str, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ok(*words, "-o", "json", url=url))
    return found


def status(url: str, id: str, workflow: str = "move") -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        query = "select status from revenant.runs where id = %s and workflow = %s"
        row = connection.execute(query, (id, workflow)).fetchone()
    return None if row is None else row[0]


def until(url: str, id: str, wanted: str) -> None:
    wait_for(lambda: status(url, id) == wanted, what=f"run {id} is {wanted}")


def test_a_run_is_started_seen_signalled_and_its_result_printed(served: str) -> None:
    assert ok("start", "move", "m 1", '"a vase"', url=served) == "m 1\n"
    assert ok("start", "move", "m 1", '"a vase"', url=served) == "m 1\n"
    until(served, "m 1", "waiting")
    (listed,) = rows("ls", "--workflow", "move", url=served)
    assert (listed["id"], listed["status"], listed["version"]) == ("m 1", "waiting", 2)
    shown = ok("show", "m 1", url=served)
    assert "move m 1: waiting" in shown
    assert [line.split()[:4] for line in shown.splitlines()[-2:]] == [
        ["1", "step", "pack", "done"],
        ["2", "wait", "go", "open"],
    ]
    told = json.loads(ok("show", "m 1", "-o", "json", url=served))
    assert told["input"] == "a vase"
    assert [one["state"] for one in told["operations"]] == ["done", "open"]
    ok("signal", "m 1", "go", "why=today", "--id", "s", url=served)
    until(served, "m 1", "completed")
    assert ok("start", "move", "m 1", '"a vase"', "--wait", url=served) == '"packed a vase, flown by air"\n'
    assert [row["type"] for row in rows("history", "m 1", url=served)][-1] == "run.completed"


def test_what_is_done_to_a_run_is_done_when_the_command_ends(served: str) -> None:
    ok("start", "move", "m", '"a vase"', url=served)
    until(served, "m", "waiting")
    ok("park", "m", "--reason", "an audit", url=served)
    assert status(served, "m") == "parked"
    (stuck,) = rows("stuck", url=served)
    assert (stuck["reason"], stuck["problem"], stuck["what_to_type"]) == ("parked", "an audit", "revenant run resume m")
    ok("resume", "m", url=served)
    ok("requeue", "m", url=served)
    ok("migrate", "m", "--to", "1", url=served)
    assert rows("ls", url=served)[0]["version"] == 1
    ok("cancel", "m", "--reason", "enough", url=served)
    until(served, "m", "cancelled")
    late = revenant("run", "park", "m", url=served)
    assert late.returncode == 1
    assert "has ended" in late.stderr


def test_an_id_alone_finds_a_run_and_the_workflow_decides_between_several(served: str) -> None:
    ok("start", "move", "twin", '"a vase"', url=served)
    ok("start", "stay", "twin", '"here"', url=served)
    wait_for(lambda: status(served, "twin") and status(served, "twin", "stay"), what="both runs")
    unclear = revenant("run", "show", "twin", url=served)
    assert unclear.returncode == 2
    assert "move, stay" in unclear.stderr
    assert "stay twin" in ok("show", "twin", "--workflow", "stay", url=served)
    for words in (
        ("show", "nobody"),
        ("cancel", "nobody"),
        ("ls", "--after", "nobody"),
        ("history", "twin", "--workflow", "x"),
    ):
        missing = revenant("run", *words, url=served)
        assert missing.returncode == 3, missing.stderr
        assert "There is no run" in missing.stderr


def test_runs_are_listed_a_page_at_a_time_the_youngest_first(served: str) -> None:
    with psycopg.connect(served, autocommit=True) as connection:
        for number in range(7):
            workflow = "stay" if number % 2 else "move"
            connection.execute(
                "select revenant.cast(%s, %s, 'start', %s)", (f"run:{workflow}", f"r{number}", '{"input": "glass"}')
            )
            wait_for(lambda: status(served, f"r{number}", workflow), what="its start")  # noqa: B023 # called at once
    every = [row["id"] for row in rows("ls", url=served)]
    assert every == [f"r{number}" for number in reversed(range(7))]
    assert [row["id"] for row in rows("ls", "--limit", "3", url=served)] == every[:3]
    assert [row["id"] for row in rows("ls", "--after", every[2], "--limit", "2", url=served)] == every[3:5]
    assert [row["id"] for row in rows("ls", "--workflow", "stay", "--after", "r3", url=served)] == ["r1"]
    wait_for(lambda: len(rows("ls", "--status", "failed", url=served)) == 4, what="four failed runs")
    failed = rows("stuck", "--workflow", "move", url=served)
    assert {row["reason"] for row in failed} == {"failed"}
    assert failed[0]["problem"].endswith("it broke")
    assert failed[0]["what_to_type"] == "revenant run fork r0 r0-again"


def test_a_run_that_no_worker_can_go_on_with_is_listed_with_what_to_type(database: str) -> None:
    with running("worker", "--app", "tests.moves:old", url=database) as worker:
        worker.until_said("serves")
        ok("start", "move", "m", '"a vase"', url=database)
        until(database, "m", "waiting")
        assert rows("stuck", url=database) == []
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
    (row,) = rows("stuck", url=database)
    assert row["reason"] == "no worker"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("select revenant.cast('run:unknown', 'u', 'start', '{}')")
    (begun_never,) = rows("stuck", "--workflow", "unknown", url=database)
    assert begun_never["id"] == "u"
    assert begun_never["problem"] == "it has not begun: no live worker serves the workflow"
    with running("worker", "--app", "tests.moves:new", url=database) as worker:
        worker.until_said("serves")
        (row,) = wait_for(lambda: rows("stuck", "--workflow", "move", url=database), what="a stuck run")
        assert (row["reason"], row["what_to_type"]) == ("no version", "revenant run migrate m")
        assert row["problem"] == "no live worker has version 1 of the workflow"
        ok("signal", "m", "go", url=database)
        until(database, "m", "blocked")
        (row,) = rows("stuck", "--workflow", "move", url=database)
        assert "version 1" in row["problem"]
        nowhere = revenant("run", "migrate", "m", "--to", "9", url=database)
        assert nowhere.returncode == 1
        assert "No live worker has version 9" in nowhere.stderr
        told = {row["check"]: row for row in _checked(database)}
        assert told["runs"]["status"] == "warn"
        assert "1 blocked" in told["runs"]["found"]
        assert "No live worker serves run:unknown, and 1 message waits" in str(told["workers"])
        ok("migrate", "m", url=database)
        until(database, "m", "completed")


def _checked(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(revenant("check", "-o", "json", url=url).stdout)
    return found


def test_an_application_whose_workflows_nobody_serves_is_told_so_by_check(database: str) -> None:
    served = [
        row["found"]
        for row in json.loads(revenant("check", "--app", "tests.moves:both", "-o", "json", url=database).stdout)
    ]
    assert {"No live worker serves run:move", "No live worker serves run:stay"} <= set(served)


def test_a_run_is_forked_from_the_command_line(served: str) -> None:
    ok("start", "move", "m", '"a vase"', url=served)
    ok("signal", "m", "go", url=served)
    until(served, "m", "completed")
    assert ok("fork", "m", "m2", "--step", "ship", "--version", "1", url=served) == "m2\n"
    until(served, "m2", "completed")
    assert "forked from: m, before operation 3" in ok("show", "m2", url=served)
    missing = revenant("run", "fork", "m", "m3", "--step", "fly", url=served)
    assert missing.returncode == 2
    assert "has not asked for 'fly'" in missing.stderr
