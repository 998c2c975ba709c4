"""Attempts in cells: they can do all that others can, and what cannot be started there waits and says so."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import telemetry
from revenant.app import Revenant
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.errors import RunCancelled, RunFailed
from revenant.queue.records import Hint
from revenant.queue.runnotes import clear_runs, note_runs
from revenant.worker.caution import Caution
from revenant.worker.cells import cell, cells
from revenant.worker.cells.cells import Cells
from revenant.worker.cells.door import Draining
from revenant.worker.cells.origin import origin_of
from revenant.worker.runs import stepping
from revenant.worker.runs.archive import PostgresArchive
from revenant.workflows import attempts
from tests import venom
from tests.acceptance.command import is_alive, revenant, wait_for
from tests.flows import history, types
from tests.tools import eventually, rows, value
from tests.venom import WORKFLOWS, asks_twice, books_badly, dies_committing, does_all, sends, stays, works

Connection = psycopg.AsyncConnection[Any]
TABLE = "create table bookings (word text, tx text default pg_current_xact_id())"


@pytest_asyncio.fixture
async def app(
    database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Revenant]:
    """An application with a worker in this process, which has all attempts run in cells."""
    monkeypatch.setattr(attempts, "budget_of", lambda found: 1)
    monkeypatch.setenv("REVENANT_TEST_EFFECTS", str(tmp_path))
    await connection.execute(TABLE)
    async with Revenant(workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        application.loaded_from = "tests.venom:app"
        worker = application.worker()
        await worker.start()
        await worker.ready()
        try:
            yield application
        finally:
            await worker.stop(drain_timeout=5)


def effects(folder: Path, word: str) -> list[int]:
    """Return the processes in which that was done."""
    return [int(path.name.split(".")[-2]) for path in folder.glob(f"{word}.*")]


async def test_an_attempt_in_a_cell_can_do_all_that_others_can(
    app: Revenant, connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = await app.start(does_all, id="r")
    staying = await app.start(stays, id="stayer")
    found = await run.result(timeout=90)
    inside = {found["retried"], *found["booked"]}
    assert len(inside) == 1, "all of them were in the common cell"
    assert os.getpid() not in inside
    assert found["thread"].startswith("was in revenant-step")
    assert (found["misfit"], found["late"]) == ("revenant.errors.Unstorable", "TimeoutError")
    booked = await rows(connection, "select tx from bookings")
    committed = await rows(
        connection, "select xmin::text from revenant.run_events where type = 'step.succeeded' and op > 4"
    )
    assert sorted(booked) == sorted(committed), "their SQL is in the commits of their events"
    assert await value(connection, "select count(*) from revenant.run_progress") == 0
    assert "gone on with elsewhere" not in caplog.text, "what committed there is known here"
    await eventually(lambda: effects(tmp_path, "in-stayer"), what="the one that stays")
    await staying.cancel()
    with pytest.raises(RunCancelled):
        await staying.result(timeout=30)
    await eventually(lambda: effects(tmp_path, "out-stayer") == effects(tmp_path, "in-stayer"), what="its cleaning up")


async def test_a_step_in_a_cell_sends_through_the_application_that_it_is_of(app: Revenant) -> None:
    pid, came = await (await app.start(sends, id="r")).result(timeout=60)
    assert pid != os.getpid()
    assert came == "sent-by-r-1sent-by-r-2"


async def test_a_cell_is_as_its_worker_was_whatever_became_of_that_since(
    app: Revenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a step has gone to a folder of its own, which is removed, and has changed the environment."""
    (folder := tmp_path / "gone").mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.setenv("REVENANT_TEST_EFFECTS", "/nowhere")
    await (await app.start(works, 0, id="r")).result(timeout=30)
    assert effects(tmp_path, "r-1")


async def test_a_transaction_that_kills_its_cell_leaves_nothing_and_fails_its_run(
    app: Revenant, connection: Connection
) -> None:
    heard: list[str] = []
    detach = telemetry.attach(lambda event, _, __: heard.append(event))
    run = await app.start(books_badly, id="bad")
    with pytest.raises(RunFailed, match=r"recovery_budget_exceeded.*exit code 9"):
        await run.result(timeout=60)
    detach()
    assert await value(connection, "select count(*) from bookings") == 0
    (recovered,) = [data for type, data in await history(connection, "bad") if type == "run.recovered"]
    assert recovered == {"died": [1], "attempts": [1], "alone": True}
    assert heard.count("cell.start") == 1, "nothing else had been in it"


async def test_where_no_cell_can_be_started_its_attempt_waits_and_nothing_else_does(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cells, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr(cell, "COMMAND", ("-c", "raise SystemExit(3)"))
    with caplog.at_level(logging.ERROR):
        run = await app.start(works, 0, id="r")
        await eventually(lambda: "No cell can be started" in caplog.text, what="a word about it")
        assert "it ended before it was ready: exit code 3" in caplog.text
    monkeypatch.setattr(stepping, "is_suspect", lambda found: False)
    assert await (await app.start(works, 0, id="beside")).result(timeout=30)
    assert (await types(connection, "r"))[-1] == "attempt.started"
    monkeypatch.undo()
    assert await run.result(timeout=60) == "r-1r-2"


async def test_who_looks_sees_the_cells_of_a_worker_and_what_waits_for_one(
    app: Revenant, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def seen() -> Any:
        told = await asyncio.to_thread(revenant, "workers", "-o", "json", url=database)
        (row,) = json.loads(told.stdout)
        return {name: row[name] for name in ("attempts", "cells", "for_a_cell")}

    async def sees(**wanted: int) -> None:
        async def as_wanted() -> bool:
            return bool(await seen() == wanted)

        await eventually(as_wanted, what=f"a worker's row with {wanted}")

    await sees(attempts=0, cells=0, for_a_cell=0)
    monkeypatch.setattr(cells, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr(cell, "COMMAND", ("-c", "raise SystemExit(3)"))
    run = await app.start(stays, id="s")
    await sees(attempts=1, cells=0, for_a_cell=1)
    assert await rows(connection, "select * from revenant.stuck") == []
    await connection.execute(
        "update revenant.workers set doing = jsonb_set(doing, '{waiting,0,2}', to_jsonb(now() - interval '61 s'))"
    )
    stuck = await asyncio.to_thread(revenant, "run", "stuck", "-o", "json", url=database)
    (row,) = json.loads(stuck.stdout)
    assert (row["id"], row["reason"], row["what_to_type"]) == ("s", "no cell", "revenant run show s")
    assert row["problem"].startswith("an attempt that was under way when workers died has waited")
    monkeypatch.undo()
    # Its budget is that of the fixture, which is undone with the rest.
    monkeypatch.setattr(attempts, "budget_of", lambda found: 1)
    await sees(attempts=1, cells=1, for_a_cell=0)
    assert await rows(connection, "select * from revenant.stuck") == []
    await run.cancel()
    await sees(attempts=0, cells=0, for_a_cell=0)


DIES_AT_ONCE = """
import os, socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
word = b'{"ready": 1}'
end.sendall(len(word).to_bytes(4, "big") + word)
end.recv(4096)
os._exit(7)
"""


async def test_a_cell_that_dies_before_anything_ran_in_it_counts_against_nobody_and_is_no_hot_loop(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that the system kills for want of memory, or by a thread that the application's import has left."""
    monkeypatch.setattr(cells, "SHORTEST_PAUSE", 0.1)
    monkeypatch.setattr(cell, "COMMAND", ("-c", DIES_AT_ONCE))
    pauses: list[float] = []
    detach = telemetry.attach(
        lambda event, measured, _: pauses.append(measured["pause"]) if event == "cell.fail" else None
    )
    run = await app.start(works, 0, id="r")
    await eventually(lambda: len(pauses) >= 3, what="three cells that were of no use")
    detach()
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert "it ended before anything ran in it: exit code 7" in caplog.text
    assert (await types(connection, "r"))[-1] == "attempt.started", "no death is recorded"
    monkeypatch.undo()
    assert await run.result(timeout=60) == "r-1r-2"


COMMITS_SLOWLY = """
create function slow() returns trigger language plpgsql as $$
begin
    perform pg_sleep(1);
    if exists (select from bookings where word = 'refused') then
        raise exception 'refused';
    end if;
    return null;
end $$;
create trigger slow after insert on revenant.run_events
for each row when (new.type = 'step.succeeded') execute function slow();
"""


async def test_a_transaction_whose_process_dies_while_it_commits_is_charged_if_it_did_not(
    app: Revenant, connection: Connection
) -> None:
    await connection.execute(COMMITS_SLOWLY)
    started: list[str] = []
    detach = telemetry.attach(lambda event, _, __: started.append(event) if event == "cell.start" else None)
    refused = await app.start(dies_committing, "refused", id="refused")
    with pytest.raises(RunFailed, match=r"recovery_budget_exceeded.*exit code 9"):
        await refused.result(timeout=30)
    assert len(started) == 1, "it is known of that cell, although the run was read again"
    committed = await app.start(dies_committing, "kept", id="kept")
    await committed.result(timeout=30)
    detach()
    assert await rows(connection, "select word from bookings") == [("kept",)]
    assert (await types(connection, "kept")).count("run.recovered") == 0


async def test_a_program_whose_application_nobody_can_import_says_so(settings: Settings) -> None:
    assert origin_of(venom.app) == "tests.venom:app"
    assert origin_of(Revenant()) is None
    made = Cells(application=None, url="", worker="", settings=settings)
    taking = asyncio.create_task(_take(made))
    await asyncio.sleep(0)
    made.drain()
    with pytest.raises(Draining):
        await taking
    await made.close()


async def _take(made: Cells) -> None:
    async with made.together(deaths=0):
        raise AssertionError("there is none")


async def test_code_that_is_probed_and_does_no_harm_goes_on_as_always(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []

    async def note(self: PostgresArchive, hints: Sequence[Hint]) -> Mapping[int, int]:
        noted.extend(hint.key for hint in hints)
        return dict.fromkeys(range(len(hints)), 1)

    monkeypatch.setattr(PostgresArchive, "note", note)
    monkeypatch.setattr(Caution, "on", True)
    monkeypatch.setattr(stepping, "is_suspect", lambda found: False)
    asking = await app.start(asks_twice, None, id="asks", timeout=60)
    working = await app.start(works, 0, id="works", timeout=60)
    await asking.signal("word", "one", timeout=60)
    await asking.signal("word", "two", timeout=60)
    assert await asking.result(timeout=60) == "one two"
    assert await working.result(timeout=60) == "works-1works-2"
    assert noted.count("works") >= 2, "before its probe, and after it"
    assert (await types(connection, "works")).count("step.succeeded") == 2
    assert await value(connection, "select sum(recoveries) from revenant.run_heads") == 0


async def test_deaths_are_counted_of_those_whose_connection_is_gone(database: str, connection: Connection) -> None:
    dead, alive, third = (new_id(0) for _ in range(3))
    hints = [Hint(bucket_of("run:w", key), "run:w", key, 0) for key in ("b", "a", "c")]
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as lost:
        assert await note_runs(lost, dead, hints[:2]) == {}
        assert await note_runs(lost, dead, hints[:2]) == {}, "its own notes say nothing"
        backend = lost.info.backend_pid
    gone = "select not exists (select from pg_stat_activity where pid = %s)"
    await eventually(lambda: value(connection, gone, backend), what="the end of the connection")
    assert await note_runs(connection, alive, hints) == {0: 1, 1: 1}, "of these nobody is left"
    await clear_runs(connection, third, hints)
    assert await value(connection, "select count(*) from revenant.run_notes") == 3, "they are somebody else's by now"
    await clear_runs(connection, alive, hints[1:])
    assert await rows(connection, "select key, deaths from revenant.run_notes") == [("b", 1)]
    await connection.execute("update revenant.run_notes set noted_at = noted_at - interval '2 days'")
    assert await note_runs(connection, alive, hints[2:]) == {}
    assert await rows(connection, "select key from revenant.run_notes") == [("c",)], "old ones go"


async def test_a_run_that_a_living_worker_has_noted_is_left_to_it_until_that_dies_or_hangs(
    database: str, connection: Connection
) -> None:
    other, own = new_id(0), new_id(0)
    hint = Hint(bucket_of("run:w", "r"), "run:w", "r", 0)
    beats = """
        insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start, heartbeat_at)
        select %s, 'h', 1, '{}', 1, 0, a.pid, a.backend_start, now() - make_interval(secs => %s)
        from pg_stat_get_activity(%s) a
    """
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as theirs:
        await connection.execute(beats, (other, 0, theirs.info.backend_pid))
        assert await note_runs(theirs, other, [hint]) == {}
        assert await note_runs(connection, own, [hint]) == {0: -1}, "it is at it now"
        assert await note_runs(theirs, other, [hint]) == {}
        await connection.execute("update revenant.workers set heartbeat_at = now() - interval '9 s'")
        assert await note_runs(connection, own, [hint]) == {0: 1}, "it hangs"
        assert await note_runs(connection, own, [hint]) == {0: 1}, "and is counted once"


FORKS = """
import os, socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
for word in (b'{"ready": 1}', b'{"room": 1, "said": "last words"}'):
    end.sendall(len(word).to_bytes(4, "big") + word)
if os.fork():
    os._exit(7)
while end.recv(4096):
    pass
"""


async def test_a_cell_is_gone_with_its_process_though_what_it_has_forked_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the processes of a pool, which have its end of the socket, too."""
    monkeypatch.setattr(cell, "COMMAND", ("-c", FORKS))
    started = await cell.Cell.start({})
    try:
        room = started.enter()
        async with asyncio.timeout(5):
            assert (await room.hear())["said"] == "last words"
            with pytest.raises(cell.Gone):
                await room.hear()
        assert await started.fate() == "exit code 7"
    finally:
        await started.end()


async def test_a_cell_that_says_nothing_any_more_is_killed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one whose code holds Python's lock in C for ever: no watchdog runs in it, and all others wait behind it."""
    monkeypatch.setattr(cells, "HANGING_SECONDS", 3.0 - settings.handler_timeout)
    hanging = Cells(application="tests.venom:app", url="", worker=new_id(0), settings=settings)
    async with asyncio.timeout(20), hanging.apart() as room:
        await asyncio.sleep(3.5)
        assert not room.cell.gone, "it says that it lives"
        os.kill(room.cell.pid, signal.SIGSTOP)
        with pytest.raises(cell.Gone):
            await room.hear()
        assert await room.cell.fate() == "killed by SIGKILL"
    assert "has said nothing for 3 s" in caplog.text
    await hanging.close()


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
CHILD = """
import ctypes, os, time
from revenant.worker.cells.inside import die_with
die_with(os.getppid())
print("here", flush=True)
{how}
"""


@pytest.mark.parametrize(
    "how",
    # A signal ends the sleep in C, and not the one in Python.
    ["time.sleep(600)", "while True: ctypes.PyDLL(None).sleep(600)"],
    ids=["Python that waits", "C that holds the lock"],
)
def test_a_cell_dies_with_its_worker_whatever_its_code_does(how: str) -> None:
    script = PARENT.replace("CHILD", repr(CHILD.replace("{how}", how)))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            cell = int(parent.stdout.readline())
            assert is_alive(cell)
            os.kill(cell, signal.SIGTERM)
            os.kill(cell, signal.SIGINT)
            time.sleep(0.5)
            assert is_alive(cell), "what is sent to all processes of a service is for the worker"
        finally:
            parent.kill()
    wait_for(lambda: not is_alive(cell), what="the end of the cell")
