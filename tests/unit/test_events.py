"""The page of events is what the code tells: each by its name, with its measurements and metadata where they are written."""

from __future__ import annotations

import ast
import re

from revenant import telemetry
from revenant.worker.runs.telling import NAMES
from tests.pages import DOCS, rows, sections
from tests.unit.test_shape import MODULES


def emitted() -> set[str]:
    """The events that the package emits, by name; those of runs are told of by the types of what is recorded."""
    return {name for name, _ in NAMES.values()} | {
        str(node.args[0].value)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) == "emit"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_event_is_documented_and_named_by_a_noun_and_a_verb() -> None:
    (table,) = [rows(text) for text in sections(DOCS / "reference/events.md", 1).values()]
    listed = {name for cells in table for name in re.findall(r"`([^`]+)`", cells[0])}
    assert listed == emitted()
    assert [name for name in listed if not re.fullmatch(r"[a-z_]+\.[a-z]+", name)] == []


def test_nobody_listens_unless_asked_to() -> None:
    assert telemetry.handlers == ()
    assert telemetry.carrier is None
