"""Handlers that block the event loop: noticed, said where, and the process makes room for another."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.worker.watchdog import GRACE_SECONDS, HUNG
from tests.nemesis import Crew, Gate
from tests.poison import Bomb
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]
QUICK = {"POISON_TIMEOUT": "0.5"}
BLOCKED = """
import asyncio, ctypes, time
from revenant.worker import watchdog

watchdog.BEAT_SECONDS, watchdog.NOTICE_SECONDS, watchdog.GRACE_SECONDS = 0.1, 1.0, 1.0

async def block(how):
    dog = watchdog.Watchdog(handler_timeout=0.01, running=lambda: "message 7")
    dog.start()
    await asyncio.sleep(0.3)
    print("blocking", flush=True)
    {how}
    print("was let live", flush=True)
    await asyncio.sleep(0.3)

asyncio.run(block())
"""


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Gate(folder)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(entities=[Bomb], database_url=database, settings=settings) as application:
        yield application


def blocked(how: str) -> subprocess.Popen[str]:
    script = BLOCKED.replace("{how}", how).replace("block(how)", "block()")
    return subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=-1, text=True)


ADVISORY = (
    "select count(*) from pg_locks join pg_database d on d.oid = pg_locks.database "
    "where locktype = 'advisory' and datname = current_database()"
)
"""Other databases of the server are other tests'."""


async def test_a_handler_that_blocks_the_event_loop_is_named_and_its_process_ends_and_frees_the_entity(
    app: Revenant, database: str, connection: Connection, tmp_path: Path, gate: Gate
) -> None:
    async with Crew(database, tmp_path, app="tests.poison:app") as crew:
        hung = await crew.hire(environment=QUICK)
        await app.ref(Bomb, "b").step()
        message = await app.cast(app.ref(Bomb, "b").explode("sleep"))
        await gate.reached()
        began = time.monotonic()
        await eventually(lambda: not hung.running, seconds=30, what="the end of the worker")
        assert hung.process.returncode == HUNG
        assert time.monotonic() - began > GRACE_SECONDS
        said = hung.log.read_text()
        assert "The event loop has stood still for" in said
        assert message in said
        assert "time.sleep(600)" in said, "the stack names the line"
        # The next one is cautious: it ends in the same way, and leaves a note.
        second = crew.spawn(environment=QUICK)
        await eventually(lambda: not second.running, seconds=30, what="the end of the second worker")
        noted = "select m.id::text from revenant.messages m join revenant.notes n on n.keys = array[m.key]"
        assert await value(connection, noted) == message
        assert await value(connection, ADVISORY) == 0


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("step", "step block of run blocks('b'), attempt 1."),
        ("code", "the code of run blocks('b'), outside any step."),
    ],
)
@pytest.mark.usefixtures("gate")
async def test_a_step_or_a_runs_code_that_blocks_the_event_loop_is_named(
    database: str, connection: Connection, tmp_path: Path, where: str, named: str
) -> None:
    async with Crew(database, tmp_path, app="tests.poison:app") as crew:
        hung = await crew.hire(environment=QUICK)
        await connection.execute("select revenant.start('blocks', 'b', %s)", (f'"{where}"',))
        await eventually(lambda: not hung.running, seconds=30, what="the end of the worker")
        said = hung.log.read_text()
        assert f"something blocks it. Handled: {named}" in said
        assert f"so that others get its entities and runs. Handled: {named}" in said


@pytest.mark.parametrize(
    "how", ["time.sleep(600)", "ctypes.PyDLL(None).sleep(600)"], ids=["Python that waits", "C that holds the lock"]
)
def test_whatever_blocks_the_loop_is_ended(how: str) -> None:
    process = blocked(how)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (HUNG, "blocking\n")
    assert re.search(r"line \d+,? in block", said), "it says where"


async def test_a_process_that_was_stopped_is_not_taken_for_one_that_hangs() -> None:
    process = blocked("await asyncio.sleep(3)")
    assert process.stdout is not None
    assert process.stderr is not None
    assert await asyncio.to_thread(process.stdout.readline) == "blocking\n"
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.6)  # longer than its limit, and shorter than that of C
    process.send_signal(signal.SIGCONT)
    out, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, out, said) == (0, "was let live\n", "")
