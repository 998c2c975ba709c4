"""`revenant worker` as a process: signals, supervisor, schema."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.sql import address
from tests.acceptance.command import APP, ROOT, Running, environment, is_alive, revenant, running, wait_for
from tests.entities import Account

pytestmark = pytest.mark.acceptance
IN_A_TURN = "select 1 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(text).fetchall()


def pids(url: str) -> set[int]:
    """The processes of all workers that have a row."""
    return {pid for (pid,) in query(url, "select pid from revenant.workers")}


def children(supervisor: Running) -> set[int]:
    """The processes that a supervisor says it has started."""
    return {int(pid) for pid in re.findall(r"Started worker process (\d+)", supervisor.said())}


def waiting(url: str) -> int:
    return int(query(url, "select count(*) from revenant.messages")[0][0])


def test_sigterm_under_load_drains_exits_0_and_loses_nothing(database: str) -> None:
    sent = 3000
    with Revenant(entities=[Account], database_url=database).sync() as rv:
        with psycopg.connect(database) as mine:
            for number in range(sent):
                rv.cast(rv.ref(Account, f"k{number % 40}").deposit(1), connection=mine)
        with running("worker", "--app", APP, "--jobs", "0", url=database, anew=True) as worker:
            wait_for(lambda: sent - waiting(database) > 0)
            worker.send(signal.SIGTERM)
            assert worker.ends() == 0
        handled = sum(row[0] for row in query(database, "select (state ->> 'balance')::int from revenant.entities"))
        assert handled + waiting(database) == sent
        assert pids(database) == set(), "a worker that drained leaves no row"


def test_the_log_begins_with_the_database_and_without_its_password(database: str) -> None:
    url = make_conninfo(database, password="not-to-be-said")
    with running("worker", "--app", APP, "--jobs", "0", url=url, anew=True) as worker:
        worker.until_said("Ready:")
        said = worker.said()
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
    assert f"Database: {address(database)}." in said.splitlines()[0]
    assert "not-to-be-said" not in said
    assert "embedded" not in said


def test_sigint_lets_the_running_turn_finish(database: str) -> None:
    with Revenant(entities=[Account], database_url=database).sync() as rv:
        with running("worker", "--app", APP, "--jobs", "0", url=database) as worker:
            worker.until_said("Ready:")
            message = rv.cast(rv.ref(Account, "slow").pause(1.0), idempotency_key="once")
            wait_for(lambda: query(database, IN_A_TURN))
            worker.send(signal.SIGINT)
            assert worker.ends() == 0
        assert rv.reply(message) == 1, "the turn that ran was committed"


def test_a_turn_that_outlasts_the_drain_is_given_up_and_its_message_is_handled_by_another(database: str) -> None:
    words = ("worker", "--app", APP, "--jobs", "0")
    with Revenant(entities=[Account], database_url=database).sync() as rv:
        with running(*words, "--drain-timeout", "0.5", url=database) as worker:
            worker.until_said("Ready:")
            rv.cast(rv.ref(Account, "slow").pause(8.0))
            message = rv.cast(rv.ref(Account, "slow").deposit(5), idempotency_key="once")
            wait_for(lambda: query(database, IN_A_TURN))
            began = time.monotonic()
            worker.send(signal.SIGTERM)
            assert worker.ends() == 0
            assert time.monotonic() - began < 6, "it waited for its turn"
        assert waiting(database) == 2, "both messages are still there"
        query(database, "update revenant.messages set args = '{\"seconds\": 0}' where handler = 'pause' returning 1")
        with running(*words, url=database):
            assert rv.reply(message, timeout=20) == 6, "one for the pause, which counts once, and five"


def test_a_second_signal_exits_at_once(database: str) -> None:
    with (
        Revenant(entities=[Account], database_url=database).sync() as rv,
        running("worker", "--app", APP, "--jobs", "0", url=database) as worker,
    ):
        worker.until_said("Ready:")
        rv.cast(rv.ref(Account, "slow").pause(20.0))
        wait_for(lambda: query(database, IN_A_TURN))
        worker.send(signal.SIGTERM)
        worker.until_said("Draining")
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.ends() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10, "it went on with what it handled"
    assert waiting(database) == 1, "its message is still there"


def test_the_supervisor_replaces_a_killed_child_and_drains_all(database: str) -> None:
    words = ("worker", "--app", APP, "--processes", "2", "--lanes", "1", "--jobs", "0")
    with running(*words, url=database, anew=True) as supervisor:
        supervisor.until_said("Ready:", times=2)
        victim = min(children(supervisor))
        assert pids(database) == children(supervisor)
        os.kill(victim, signal.SIGKILL)
        supervisor.until_said(f"Worker process {victim} was killed by SIGKILL")
        supervisor.until_said("Ready:", times=3)
        assert len(children(supervisor)) == 3
        supervisor.send(signal.SIGTERM)
        assert supervisor.ends() == 0
        assert [pid for pid in children(supervisor) if is_alive(pid)] == []


def test_one_process_that_is_to_be_kept_running_is_replaced_too(database: str) -> None:
    with running("worker", "--app", APP, "--processes", "1", "--lanes", "1", "--jobs", "0", url=database) as supervisor:
        supervisor.until_said("Ready:")
        (victim,) = pids(database)
        assert victim != supervisor.process.pid
        os.kill(victim, signal.SIGKILL)
        supervisor.until_said("Ready:", times=2)
        supervisor.send(signal.SIGINT)
        assert supervisor.ends() == 0
        assert [pid for pid in children(supervisor) if is_alive(pid)] == []
    assert pids(database) <= {victim}


def test_without_a_number_of_processes_the_command_is_the_worker(database: str) -> None:
    with running("worker", "--app", APP, "--lanes", "1", "--jobs", "0", url=database) as worker:
        worker.until_said("Ready:")
        assert pids(database) == {worker.process.pid}


INTERRUPTED = """
import importlib, os, signal, sys, threading
import revenant_command

moment = sys.argv.pop(1)

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)

class Importing:
    @staticmethod
    def find_spec(name, *_):
        if name == moment:
            interrupt()

sys.meta_path.insert(0, Importing)
revenant_command.main()
"""


@pytest.mark.usefixtures("ctrl_c_counts")
@pytest.mark.parametrize(
    ("moment", "ends"),
    [
        ("revenant", {-signal.SIGINT}),
        ("revenant.worker.watchdog", {-signal.SIGINT}),
        ("tests.entities", {130}),
    ],
)
def test_ctrl_c_before_it_serves_ends_it_without_a_traceback(database: str, moment: str, ends: set[int]) -> None:
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, moment, "worker", "--app", APP],
        cwd=ROOT,
        env=environment(database),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode in ends, process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.count("\n") <= 1


@pytest.mark.parametrize("processes", ["0", "1"])
def test_ctrl_c_while_it_waits_for_its_database_ends_it_in_good_order(processes: str) -> None:
    nowhere = "postgresql://127.0.0.1:1/nowhere"
    with running("worker", "--app", APP, "--processes", processes, url=nowhere, anew=True) as worker:
        worker.until_said("no connection to")
        worker.send(signal.SIGINT)
        assert worker.ends() == 0
        assert "Traceback" not in worker.said()


def test_children_end_by_themselves_when_their_supervisor_is_killed(database: str) -> None:
    words = ("worker", "--app", APP, "--processes", "2", "--lanes", "1", "--jobs", "0")
    with running(*words, url=database) as supervisor:
        supervisor.until_said("Ready:", times=2)
        family = children(supervisor)
        assert len(family) == 2
        supervisor.send(signal.SIGKILL)
        supervisor.ends()
        wait_for(lambda: not [pid for pid in family if is_alive(pid)], what="the end of the children")
    assert pids(database) == set(), "they drained: no row is left"


def test_a_worker_refuses_a_missing_schema(empty_database: str) -> None:
    for processes in ("1", "2"):
        ended = revenant("worker", "--app", APP, "--processes", processes, url=empty_database)
        assert ended.returncode == 1
        assert ended.stderr.count("Run `revenant migrate`") == 1
        assert "Traceback" not in ended.stderr


def test_a_worker_waits_for_a_database_that_is_away_says_so_once_and_stops_when_told() -> None:
    url = "postgresql://somebody:pa55word@127.0.0.1:1/nowhere"
    with running("worker", "--app", APP, url=url) as worker:
        worker.until_said("no connection to somebody@127.0.0.1:1/nowhere")
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 0.5)  # some attempts more
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        assert worker.said().count("no connection") == 1
        assert "pa55word" not in worker.said()
