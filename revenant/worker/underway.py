"""Under way: which message, step or run has the event loop now, for a person to read; asked from any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from revenant.workflows.workflow import KIND

MOST = 5
"""Of many that may be to blame, so many are named."""


def under_way(
    task: asyncio.Task[Any] | None,
    *,
    attempts: Iterable[asyncio.Task[None]],
    runs: Mapping[asyncio.Task[None] | None, tuple[str, str] | None],
    messages: Iterable[str],
) -> str:
    """Return what `task`, the one that runs, is about: an attempt, the code of a run, or messages; else all it may be.

    `runs` are those (kind, key) that each runner's task looked at last.
    """
    tries = set(attempts)
    if task in tries:
        return task.get_name()
    if task is not None and (found := runs.get(task)) is not None:
        kind, key = found
        return f"the code of run {kind.removeprefix(KIND)}({key!r}), outside any step"
    # A task of a handler's or a step's own may be anybody's.
    names = [*(f"message {message}" for message in messages), *sorted(one.get_name() for one in tries)]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    if not names:
        return "no message and no step" + ("" if task is None else f", but the task {task.get_name()!r}")
    return ", ".join(names[:MOST]) + more


def attempt_name(workflow: str, key: str, step: str, attempt: int) -> str:
    """Return how the task of an attempt is called."""
    return f"step {step} of run {workflow}({key!r}), attempt {attempt}"
