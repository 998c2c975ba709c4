"""The published cases, as they come with their package, and its own matcher."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import yaml
from aws_durable_execution_conformance_tests.history import EventHistoryMatcher
from aws_durable_execution_conformance_tests.variables import PlaceholderContext

GROUPS = ("step", "wait", "child", "callback", "parallel", "map")
_LAST = ("InvocationCompleted", "ExecutionSucceeded", "ExecutionFailed")
_CASES = files("aws_durable_execution_conformance_tests") / "test_requirements"


def cases() -> dict[str, dict[str, Any]]:
    """Return the cases of these groups, by their numbers, in order."""
    found = [file for group in GROUPS for file in (_CASES / group).iterdir() if file.name.endswith(".yaml")]
    found.sort(key=lambda file: [int(part) for part in file.name.removesuffix(".yaml").split("-")])
    return {file.name.removesuffix(".yaml"): yaml.safe_load(file.read_text("utf-8")) for file in found}


def differences(
    case: dict[str, Any],
    *,
    context: PlaceholderContext,
    history: list[dict[str, Any]],
    status: str,
    result: Any,
    log: list[str],
) -> list[str]:
    """Return in what a run differs from what its case expects: its history, status, result and log."""
    found = list(EventHistoryMatcher(context).match(case["ExpectedExecutionHistory"], history).errors)
    found += _more(case, history)
    expected = context.substitute(case.get("ExpectedResult", {}))
    if expected.get("ExecutionStatus", status) != status:
        found.append(f"expected {expected['ExecutionStatus']}, and it has {status}: {result}")
    if status == "SUCCEEDED" and expected.get("Result", result) != result:
        found.append(f"expected the result {expected['Result']!r}, and got {result!r}")
    for line in context.substitute(case.get("ExpectedLogs", [])):
        pattern = line["match"]["message"].strip("/")
        count = sum(re.search(pattern, words) is not None for words in log)
        if count != line["count"]:
            found.append(f"expected {line['count']} lines with {pattern!r} in the log, and got {count}")
    return found


def _more(case: dict[str, Any], history: list[dict[str, Any]]) -> list[str]:
    """Return what comes after the end that a case tells of; the matcher itself lets that pass."""
    last = case["ExpectedExecutionHistory"][-1]
    if "ExpectedResult" not in case or last["EventType"] not in _LAST:
        return []
    types = [event["EventType"] for event in history if event["EventId"] > last["EventId"]]
    return [f"{type} comes after the end" for type in types if type not in _LAST[1:]]
