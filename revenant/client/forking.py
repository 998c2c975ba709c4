"""Forking: the door by which a run is tried again from one of its steps on, as another run."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic_core import from_json, to_json

from revenant.client.records import Records
from revenant.codec import check_key
from revenant.entities.message import Message
from revenant.errors import RunNotFound
from revenant.workflows.events import read_event
from revenant.workflows.forking import check_undone, cut, step_of
from revenant.workflows.workflow import KIND

R = TypeVar("R")


async def fork_message(
    records: Records,
    workflow: str,
    old: str,
    *,
    id: str,
    step: str | int | None,
    version: int | None,
    even_undone: bool,
) -> Message[Any]:
    """Return the message that starts a run with the history of another one, up to before a step was asked for.

    Raises:
        RunNotFound: there is no such run.
        ConfigurationError: it has no such step, or what was done before that is undone.
    """
    kind = f"{KIND}{workflow}"
    key = check_key(kind, id)
    seen = await records.see(kind, old)
    if seen is None:
        raise RunNotFound(f"There is no run {old!r} of {workflow}; nothing was forked. Look at the id.")
    history = list(map(read_event, seen.events))
    number = step_of(history, step, what=f"Run {old!r} of {workflow}")
    if not even_undone:
        check_undone(history, number, what=f"Run {old!r} of {workflow}")
    kept = cut(history, number, origin={"id": old, "run": seen.row["run"], "op": number})
    args = {
        "input": history[0].data.get("input"),
        "version": version or seen.row["version"],
        "events": [[one.type, one.op, one.at.isoformat(), one.data] for one in kept],
    }
    return Message(kind=kind, key=key, handler="start", args=to_json(args).decode(), load=from_json, caller=None)
