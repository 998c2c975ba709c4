"""The durable execution conformance cases: what docs/explanation/conformance.md says passes does, and the rest is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aws_durable_execution_conformance_tests.variables import PlaceholderContext

from tests.conformance import batches, operations
from tests.conformance.contexts import CONTEXTS
from tests.conformance.registry import HANDLERS
from tests.conformance.scene import Scene
from tests.conformance.suite import cases, differences
from tests.pages import DOCS, rows

CASES = cases()
assert batches is not operations, "both have filled the registry"


async def played(number: str, log: pytest.LogCaptureFixture) -> list[str]:
    """Run a case, and return in what it differs from what is expected."""
    case = CASES[number]
    context = PlaceholderContext()
    context.resolve_variables(case.get("Variables"))
    scene = Scene(HANDLERS[number], list(CONTEXTS.values()))
    with log.at_level(logging.WARNING, "conformance"):
        given, actions = context.substitute([case.get("Input"), case.get("CallbackActions", [])])
        status, result = await scene.play(given, actions)
    return differences(
        case, context=context, history=scene.history(), status=status, result=result, log=list(log.messages)
    )


def told() -> dict[str, str]:
    """What the page says of each case."""
    table = [row for row in rows((DOCS / "explanation" / "conformance.md").read_text()) if row[0] in CASES]
    assert len(table) == len({row[0] for row in table}), "a case is told of twice"
    return {row[0]: row[2] for row in table}


@pytest.mark.parametrize("number", [number for number in CASES if number in HANDLERS])
async def test_a_case_passes(number: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await played(number, caplog) == []


def test_the_page_tells_of_each_case_what_is_true() -> None:
    page = told()
    assert sorted(page) == sorted(CASES)
    assert {number for number, words in page.items() if words == "passes"} == set(HANDLERS)
    assert [
        number for number, words in page.items() if words != "passes" and not words.startswith("does not apply: ")
    ] == []


async def test_the_matcher_finds_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    case: dict[str, Any] = CASES["1-3"]
    scene = Scene(HANDLERS["1-3"], [])
    status, _ = await scene.play(None, [])
    history = scene.history()
    for event in history:
        if event["EventType"] == "StepSucceeded":
            event["EventType"] = "StepFailed"
    found = differences(case, context=PlaceholderContext(), history=history, status=status, result="other", log=[])
    assert len(found) == 3
