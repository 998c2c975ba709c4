"""Came: what one attempt of a step came to, as it is told to whoever goes on with its run."""

from __future__ import annotations

from typing import Any, NamedTuple

from revenant.worker.stage import Staged
from revenant.workflows.events import Event


class Came(NamedTuple):
    """What an attempt came to: a result as what JSON holds, or an error."""

    staged: Staged
    op: int
    attempt: int
    result: Any
    error: dict[str, Any] | None
    retryable: bool
    event: Event | None = None
    """What is committed already, with its own SQL."""
    lost: bool = False
    """Whether the run turned out to be gone on with elsewhere."""
