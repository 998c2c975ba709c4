"""Contradiction: what is said where a run's code and its history do not go together; its text shows both sides."""

from __future__ import annotations

from os.path import basename
from traceback import extract_tb
from typing import Any

from revenant.codec import as_text
from revenant.workflows.events import ASKS, Event
from revenant.workflows.operation import Operation
from revenant.workflows.replay import Answer, Replay
from revenant.workflows.workflow import Workflow

LONGEST = 300
"""Characters of an exception's own words."""
REMEDY = (
    "Bring the code back that has run so far, or register it beside this one with its own version, or branch by "
    "flow.patched()"
)
"""What helps, without a full stop: where a run is blocked, it is requeued then."""


def asks_otherwise(
    key: str, workflow: Workflow[Any, Any], event: Event, asked: tuple[str, str] | None, replay: Replay | None
) -> str:
    """Return that the history has one operation where the code asks for another one, by type and name, or for none."""
    end = None if replay is None else replay.end
    says = f"for nothing more{fate_of(end)}" if asked is None else f"for {asked[0]} {asked[1]!r}"
    return (
        f"The history of run {key!r} says, in event {event.seq}, that operation {event.op} is {ASKS[event.type]} "
        f"{event.data['name']!r}, and {_code_of(workflow)} asks there {says}. {REMEDY}; then `revenant run requeue`."
    )


def waits_still(key: str, workflow: Workflow[Any, Any], event: Event, operation: Operation[Any]) -> str:
    """Return that the code waits for what nobody waited for any more when the history was made: it would for ever."""
    return (
        f"The history of run {key!r} says, in event {event.seq} ({event.type}), that nobody waits for operation "
        f"{event.op} any more, and {_code_of(workflow)} waits there for {operation.type} {operation.name!r}. {REMEDY}; "
        "then `revenant run requeue`."
    )


def ends_otherwise(key: str, workflow: Workflow[Any, Any], event: Event, status: str, does: str) -> str:
    """Return that the history has ended in one way where the code does something else."""
    return (
        f"The history of run {key!r} says, in event {event.seq}, that it has {status}, and {_code_of(workflow)} "
        f"{does}. {REMEDY}."
    )


def _code_of(workflow: Workflow[Any, Any]) -> str:
    return f"version {workflow.version} of the code of {workflow.name!r}"


def fate_of(end: Answer | None) -> str:
    """Return it as words to go on with; empty where the code has not ended."""
    if end is None:
        return ""
    if end.error is None:
        return ": it has returned"
    return f": it has raised {type(end.error).__name__}{_words(end.error)}{_place(end.error)}"


def _words(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())[:LONGEST]
    except BaseException:  # noqa: BLE001 # a broken __str__ is the user's
        return ""
    return f": {as_text(text)}" if text else ""


def _place(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)[-1:]
    return f" ({basename(frames[0].filename)}, line {frames[0].lineno})" if frames else ""
