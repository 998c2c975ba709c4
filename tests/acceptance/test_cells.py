"""Steps that kill their processes: they fail their own runs, and nobody else's, however many of them there are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.eventloop import end
from revenant.workflows.workflow import Workflow
from tests.acceptance.command import is_alive
from tests.errands import walks
from tests.nemesis import Crew, Gate
from tests.runs import history
from tests.tools import eventually, value
from tests.venom import WORKFLOWS, Deadly, bites, bites_among, dies, dies_when_read, sends, walks_carefully, works

Connection = psycopg.AsyncConnection[Any]
BUDGET = "recovery_budget_exceeded"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Gate(folder)


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew(database, tmp_path, app="tests.venom:app") as hired:
        yield hired


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=[*WORKFLOWS, Deadly], database_url=database, settings=settings) as application:
        yield application


async def keep(crew: Crew, count: int) -> None:
    """Keep so many workers running, as a supervisor does, and sooner."""
    while True:
        for _ in range(count - sum(hand.running for hand in crew.hands)):
            crew.spawn("--lanes", "1", "--jobs", "0", environment={"VENOM_TIMEOUT": "0.5"})
        await asyncio.sleep(0.1)


async def end_of(run: Run[Any]) -> str:
    """Return what a run came to: its result, or what it failed of."""
    try:
        return str(await run.result(timeout=90))
    except RunFailed as error:
        return error.type


async def test_steps_that_kill_their_processes_fail_their_own_runs_and_nobody_elses(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    keeping = asyncio.create_task(keep(crew, 2))
    starts: list[tuple[Workflow[Any, Any], Any, str]] = [(works, 0.1, f"good-{number}") for number in range(100)]
    starts += [(bites, how, f"bad-{how}") for how in ("segfault", "block", "group")]
    starts.append((bites_among, 20, "bad-among"))
    runs = await asyncio.gather(*(app.start(flow, given, id=id, timeout=60) for flow, given, id in starts))
    good, bad = runs[:100], runs[100:]
    assert await asyncio.gather(*map(end_of, bad)) == [BUDGET] * 4
    assert await asyncio.gather(*map(end_of, good)) == [f"good-{number}-1good-{number}-2" for number in range(100)]
    for run in bad:
        alone = [one.data for one in await history(connection, run.id) if one.data.get("alone")]
        assert [len(one["died"]) for one in alone] == [1], "the last death was that of one attempt, in a cell"
    await end(keeping)


async def test_what_was_beside_deaths_runs_in_a_cell_that_dies_with_its_worker_and_is_not_blamed_for_that(
    app: Revenant, connection: Connection, crew: Crew, gate: Gate
) -> None:
    starting = asyncio.create_task(app.start(walks, "w", id="r", timeout=60))
    inside: list[int] = []
    for _ in range(2):
        hand = await crew.hire()
        inside.append(await gate.reached(besides=inside))
        assert inside[-1] == hand.process.pid
        hand.kill()
    run = await starting
    # Now it is a suspect. Whatever kills its workers, it is not to blame: they are killed around it.
    for how in (signal.SIGKILL, signal.SIGTERM):
        hand = await crew.hire("--lanes", "1", "--drain-timeout", "0.5")
        inside.append(cell := await gate.reached(besides=inside))
        assert cell != hand.process.pid
        assert await (await app.start(works, 0, id=f"beside-{how}")).result(timeout=30)
        (step,) = [one for one in (await run.describe()).operations if one.running]
        assert (step.deaths, step.recoveries, step.apart) == (2, 3, True)
        hand.process.send_signal(how)
        assert await asyncio.to_thread(hand.process.wait, 30) == (0 if how == signal.SIGTERM else -how)
        await eventually(lambda cell=cell: not is_alive(cell), what="the cell's end")
    hand = await crew.hire()
    cell = await gate.reached(besides=inside)
    # What is sent to all processes of a service at once is for the worker.
    os.kill(cell, signal.SIGTERM)
    gate.open()
    assert await run.result(timeout=60) == cell
    await eventually(lambda: not is_alive(cell), what="the end of a cell that is not needed")
    assert hand.running


async def test_a_step_sends_through_the_application_that_it_is_of_although_only_its_worker_was_started(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    await crew.hire()
    await (await app.start(works, 0, id="first")).result(timeout=60)
    before = await value(connection, "select count(*) from pg_stat_activity where application_name = 'revenant/client'")
    pid, came = await (await app.start(sends, id="r")).result(timeout=60)
    assert came == "sent-by-r-1sent-by-r-2"
    (hand,) = crew.hands
    assert pid == hand.process.pid
    now = await value(connection, "select count(*) from pg_stat_activity where application_name = 'revenant/client'")
    assert now == before + 1, "it connects when the first step sends"
    hand.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(hand.process.wait, 30) == 0


async def test_a_step_with_a_smaller_recovery_budget_runs_in_a_cell_sooner(
    app: Revenant, crew: Crew, gate: Gate
) -> None:
    starting = asyncio.create_task(app.start(walks_carefully, "w", id="r", timeout=60))
    first = await crew.hire()
    assert await gate.reached() == first.process.pid
    first.kill()
    run = await starting
    second = await crew.hire()
    cell = await gate.reached(besides=[first.process.pid])
    assert cell != second.process.pid
    (step,) = (await run.describe()).operations
    assert (step.deaths, step.recoveries, step.apart) == (1, 2, True)
    gate.open()
    assert await run.result(timeout=60) == cell


async def test_code_of_workflows_that_kills_its_process_fails_its_own_runs_and_nobody_elses(
    app: Revenant, connection: Connection, crew: Crew
) -> None:
    keeping = asyncio.create_task(keep(crew, 1))
    whens = ("at once", "at a signal", "after a step")
    starting = [app.start(works, 0.1, id=f"good-{number}", timeout=90) for number in range(20)]
    deadly = [app.start(dies, when, id=f"bad {when}", timeout=90) for when in whens]
    decider = asyncio.create_task(app.start(Deadly, id="bad decider", timeout=90))
    # Past the doors, which would read it here.
    await connection.execute("""select revenant.start('dies_of_its_input', 'bad input', '{"how": "exit"}')""")
    good, bad = await asyncio.gather(asyncio.gather(*starting), asyncio.gather(*deadly))
    await bad[1].signal("die", timeout=90)
    unread: Run[Any] = app.run("dies_of_its_input", "bad input")
    assert await asyncio.gather(*map(end_of, [*bad, await decider, unread])) == [BUDGET] * 5
    assert await asyncio.gather(*map(end_of, good)) == [f"good-{number}-1good-{number}-2" for number in range(20)]
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.run_notes"), what="the notes' end")
    await end(keeping)


async def test_code_that_kills_its_process_when_a_run_is_read_ends_that_run(
    app: Revenant, connection: Connection, crew: Crew, gate: Gate
) -> None:
    hand = await crew.hire()
    run = await app.start(dies_when_read, "w", id="r", timeout=30)
    await gate.reached()
    hand.kill()
    crew.spawn("--processes", "1", "--lanes", "1", "--jobs", "0", environment={"VENOM_CHANGED": "1"})
    assert await end_of(run) == BUDGET
    assert (await history(connection, "r"))[-1].data["error"]["message"].startswith("The code of workflow")
