"""Records: what is recorded of runs, read without a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from revenant.client.states import States
from revenant.queue.approvals import find_decision, list_approvals
from revenant.queue.runs import read_run, read_view
from revenant.queue.runviews import SeenRun, see_run
from revenant.queue.views import Row
from revenant.workflows.events import Event, event


class Records(Protocol):
    """What the handles of runs read."""

    async def view(self, kind: str, key: str) -> str | None:
        """Return what a run's code shows, as JSON text; None: there is no such run."""

    async def events(self, kind: str, key: str) -> Sequence[Event]:
        """Return the events of a run's history, in order; none where there is no such run."""
        ...

    async def see(self, kind: str, key: str) -> SeenRun | None:
        """Return a run with all its events; None: there is no such run."""

    async def approvals(self, *, assignee: str | None, kind: str | None, limit: int) -> Sequence[Row]:
        """Return the oldest approvals that wait, of one assignee and kind of runs if given."""
        ...

    async def decision(
        self, kind: str, key: str, *, name: str, stream: str | None, op: int | None
    ) -> dict[str, Any] | None:
        """Return what was decided about an approval; None: nothing was."""


class PostgresRecords:
    """Reads them from Postgres."""

    def __init__(self, *, states: States) -> None:
        self._states = states

    async def view(self, kind: str, key: str) -> str | None:
        """Return what a run's code shows, as JSON text; None: there is no such run."""
        return await self._states.ask(lambda connection: read_view(connection, kind, key))

    async def events(self, kind: str, key: str) -> Sequence[Event]:
        """Return the events of a run's history, in order; none where there is no such run."""
        rows = await self._states.ask(lambda connection: read_run(connection, kind, key))
        return [event(*row) for row in rows]

    async def see(self, kind: str, key: str) -> SeenRun | None:
        """Return a run with all its events; None: there is no such run."""
        return await self._states.ask(lambda connection: see_run(connection, kind, key))

    async def approvals(self, *, assignee: str | None, kind: str | None, limit: int) -> Sequence[Row]:
        """Return the oldest approvals that wait, of one assignee and kind of runs if given."""
        return await self._states.ask(lambda connection: list_approvals(connection, assignee, kind, limit))

    async def decision(
        self, kind: str, key: str, *, name: str, stream: str | None, op: int | None
    ) -> dict[str, Any] | None:
        """Return what was decided about an approval; None: nothing was."""
        return await self._states.ask(
            lambda connection: find_decision(connection, kind, key, name=name, stream=stream, op=op)
        )
