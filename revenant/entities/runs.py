"""Runs: the messages by which a turn starts, signals and cancels runs of workflows, whose mailboxes are entities' own.

Entities know no workflows: one is a name here, or whatever has a kind and writes its input.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from pydantic_core import from_json

from revenant.codec import ANYTHING, RUN_KIND, check_key, dump
from revenant.entities.message import Message
from revenant.entities.ref import kind_of
from revenant.errors import ConfigurationError

I_contra = TypeVar("I_contra", contravariant=True)


class Startable(Protocol[I_contra]):
    """What is known of a workflow here."""

    @property
    def kind(self) -> str:
        """The kind under which its runs have their mailboxes."""

    def write_input(self, given: I_contra, /, *, limit: int) -> Any:
        """Return the input as what JSON holds; what does not fit is refused."""


class Decided(Protocol):
    """A decider's class, which has its workflow."""

    @property
    def workflow(self) -> Startable[Any]:
        """The workflow."""


def run_start(workflow: object, input: object, *, id: str, limit: int, door: str) -> Message[Any]:
    """Return the message that starts a run.

    Raises:
        InvalidArguments: the input does not fit the workflow's annotation.
    """
    kind, found = run_kind(workflow, door), _startable(workflow)
    given = input if found is None else found.write_input(input, limit=limit)
    what = f"The input of {workflow if found is None else kind}"
    return _message(kind, id, "start", {"input": given}, what=what, limit=limit)


def run_signal(
    workflow: object, id: str, name: str, payload: object, *, signal_id: str | None, limit: int, door: str
) -> Message[Any]:
    """Return the message that signals a run."""
    given: dict[str, object] = {"name": name, "payload": payload}
    if signal_id is not None:
        given["id"] = signal_id
    for what in given.keys() - {"payload"}:
        if not isinstance(given[what], str) or not given[what]:
            raise ConfigurationError(
                f"{door}() takes a signal's {what} as text that is not empty, not {given[what]!r}. Nothing was sent."
            )
    return _message(run_kind(workflow, door), id, "signal", given, what=f"The signal {name!r}", limit=limit)


def run_cancel(workflow: object, id: str, reason: str | None, *, limit: int, door: str) -> Message[Any]:
    """Return the message that cancels a run."""
    if not isinstance(reason, str | None):
        raise ConfigurationError(f"{door}() takes its reason as text, and got {reason!r}. Nothing was sent.")
    return _message(run_kind(workflow, door), id, "cancel", {"reason": reason}, what="The reason", limit=limit)


def run_kind(workflow: object, door: str) -> str:
    """Return the kind of a workflow's runs.

    Raises:
        ConfigurationError: it is neither a workflow nor the name of one.
    """
    found = _startable(workflow)
    if found is not None:
        return found.kind
    if isinstance(workflow, str) and workflow:
        return kind_of(f"{RUN_KIND}{workflow}", door)[0]
    raise ConfigurationError(
        f"{door}() takes a workflow, or the name of one, and got {workflow!r}. Mark the function with @workflow."
    )


def _startable(workflow: Any) -> Startable[Any] | None:
    found = getattr(workflow, "workflow", workflow) if isinstance(workflow, type) else workflow
    return found if hasattr(found, "write_input") and not isinstance(found, type) else None


def _message(kind: str, id: str, handler: str, args: dict[str, Any], *, what: str, limit: int) -> Message[Any]:
    text = dump(ANYTHING, args, what=what, limit=limit)
    return Message(kind=kind, key=check_key(kind, id), handler=handler, args=text, load=from_json, caller=None)
