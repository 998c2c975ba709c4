"""The durable execution conformance cases: what docs/explanation/conformance.md says passes does, and the rest is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_durable_execution_conformance_tests.variables import PlaceholderContext

from revenant import Revenant, RunFailed, Settings
from revenant.testing import MemoryApp, ServedApp, memory_app
from revenant.testing.archive import MemoryArchive
from revenant.worker.runs.archive import PostgresArchive
from tests.conformance import batches, operations
from tests.conformance.contexts import CONTEXTS
from tests.conformance.crashing import CRASHING, NOTES, note, read_notes
from tests.conformance.registry import HANDLERS
from tests.conformance.scene import START, Scene, noting
from tests.conformance.suite import cases, differences
from tests.conformance.translation import DIED, IDLE, Noted, Translation
from tests.nemesis import Crew
from tests.pages import DOCS, rows
from tests.tools import eventually

CASES = cases()
PATIENT = Settings(call_timeout=30)
assert batches is not operations, "both have filled the registry"


ON_POSTGRES = ["1-11", "2-3", "3-6", "4-13", "8-14", "9-15"]
"""One of each group: a retry, two waits, contexts in contexts, a callback that fails, and waits in branches and maps.

Any other passes there as well, and takes its second.
"""


@pytest.fixture(params=["in memory"])
def make(request: pytest.FixtureRequest) -> Callable[..., MemoryApp | ServedApp]:
    if request.param == "in memory":
        return memory_app
    served: Callable[..., ServedApp] = request.getfixturevalue("revenant_app")
    return served


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Noted | str]:
    """What is committed from now on."""
    found: list[Noted | str] = []
    for archive in (MemoryArchive, PostgresArchive):
        monkeypatch.setattr(archive, "append", noting(archive.append, found))
    return found


async def played(
    number: str, make: Callable[..., Any], noted: list[Noted | str], log: pytest.LogCaptureFixture
) -> list[str]:
    """Run a case, and return in what it differs from what is expected."""
    case = CASES[number]
    context = PlaceholderContext()
    context.resolve_variables(case.get("Variables"))
    given, actions = context.substitute([case.get("Input"), case.get("CallbackActions", [])])
    async with make(workflows=[HANDLERS[number], *CONTEXTS.values()], settings=PATIENT, now=START) as app:
        scene = Scene(app, HANDLERS[number], noted)
        with log.at_level(logging.WARNING, "conformance"):
            status, result = await scene.play(given, actions)
    lines = [one.getMessage() for one in log.records if one.name == "conformance"]
    return differences(case, context=context, history=scene.history(), status=status, result=result, log=lines)


def told() -> dict[str, str]:
    """What the page says of each case."""
    table = [row for row in rows((DOCS / "explanation" / "conformance.md").read_text()) if row[0] in CASES]
    assert len(table) == len({row[0] for row in table}), "a case is told of twice"
    return {row[0]: row[2] for row in table}


@pytest.mark.parametrize("number", [number for number in CASES if number in HANDLERS])
async def test_a_case_passes(
    number: str, make: Callable[..., Any], noted: list[Noted | str], caplog: pytest.LogCaptureFixture
) -> None:
    assert await played(number, make, noted, caplog) == []


@pytest.mark.parametrize("make", ["on a database"], indirect=True)
@pytest.mark.parametrize("number", ON_POSTGRES)
async def test_a_case_of_each_group_passes_on_postgres(
    number: str, make: Callable[..., Any], noted: list[Noted | str], caplog: pytest.LogCaptureFixture
) -> None:
    assert await played(number, make, noted, caplog) == []


@pytest.mark.parametrize("number", CRASHING)
async def test_a_case_passes_whose_process_is_killed(
    number: str, database: str, settings: Settings, tmp_path: Path
) -> None:
    case, file = CASES[number], tmp_path / "notes"
    context = PlaceholderContext()
    context.resolve_variables(case["Variables"])

    def noted() -> list[str]:
        return [one if isinstance(one, str) else one.event.type for one in read_notes(file)]

    async with (
        Crew(database, tmp_path, app="tests.conformance.crashing:app") as crew,
        Revenant(workflows=list(CRASHING.values()), database_url=database, settings=settings) as app,
    ):
        victim = await crew.hire(environment={NOTES: str(file)})
        run = await app.start(CRASHING[number], context.substitute(case["Input"]), id="execution", timeout=30)
        await eventually(lambda: not victim.running, seconds=30, what="the victim's death")
        note(file, DIED)
        await crew.hire(environment={NOTES: str(file)})
        if number == "1-18":
            await eventually(lambda: noted()[-1] == "retry.scheduled", seconds=30)
            note(file, IDLE)
            await run.requeue()
        try:
            status, result = "SUCCEEDED", await run.result(timeout=30)
        except RunFailed as error:
            status, result = "FAILED", str(error)
        note(file, IDLE)
        lines = "".join(hand.log.read_text() for hand in crew.hands).splitlines()
    history = Translation(root="execution").translate(read_notes(file))
    assert differences(case, context=context, history=history, status=status, result=result, log=lines) == []


def test_the_page_tells_of_each_case_what_is_true() -> None:
    page = told()
    assert sorted(page) == sorted(CASES)
    assert {number for number, words in page.items() if words == "passes"} == {*HANDLERS, *CRASHING}
    assert [
        number for number, words in page.items() if words != "passes" and not words.startswith("does not apply: ")
    ] == []


async def test_the_matcher_finds_what_is_wrong(noted: list[Noted | str]) -> None:
    case: dict[str, Any] = CASES["1-3"]
    scene = Scene(memory_app(workflows=[HANDLERS["1-3"]], now=START), HANDLERS["1-3"], noted)
    status, _ = await scene.play(None, [])
    history = scene.history()
    for event in history:
        if event["EventType"] == "StepSucceeded":
            event["EventType"] = "StepFailed"
    found = differences(case, context=PlaceholderContext(), history=history, status=status, result="other", log=[])
    assert len(found) == 3
