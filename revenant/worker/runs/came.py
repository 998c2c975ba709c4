"""Came: what one attempt of a step came to, as it is told to whoever goes on with its run."""

from __future__ import annotations

from typing import Any, NamedTuple

from revenant.worker.runs.stage import Staged
from revenant.workflows import attempts
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
    death: str | None = None
    """How the process has ended in which it ran, and nothing else beside it."""

    def take_in(self) -> None:
        """Have the run take it in: what follows is in its draft."""
        live = self.staged.live
        if self.event is not None:
            live.take_recorded(self.event)
        elif self.death is not None:
            attempts.died_alone(live, self.op, self.attempt, self.death)
        elif self.error is None:
            attempts.succeeded(live, self.op, self.attempt, self.result)
        else:
            attempts.failed(live, self.op, self.attempt, self.error, retryable=self.retryable)
