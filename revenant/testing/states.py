"""States of a memory application, read as those of the database are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from revenant.client.states import Definition, States, read_as, refuse_history
from revenant.entities.address import Address
from revenant.entities.history import Change
from revenant.entities.registry import Registry
from revenant.errors import HistoryNotKept
from revenant.queue.history import PastRow
from revenant.testing.store import Store


class MemoryStates(States):
    """Reads a store; a history begins with the application, and is kept for as long as its class says."""

    def __init__(self, *, store: Store, registry: Registry, now: Callable[[], datetime]) -> None:
        self._store = store
        self._kept = registry.histories()
        self._now = now

    async def stop(self) -> None:
        """There is nothing to hang up."""

    async def state(self, kind: str, key: str, definition: Definition, *, at: datetime | None) -> Any:
        """Return the state now, or as it was; None where there was none."""
        if at is None:
            row = self._store.rows.get(Address(kind, key))
            return None if row is None else read_as(definition, key, row.state, row.vsn)
        if at < self._now() - self._keep(kind, key):
            raise HistoryNotKept(
                f"The state of {kind}({key!r}) at {at.isoformat()} is not kept: its kind's history does not go back so "
                "far. Ask for a later moment, or keep the history for longer."
            )
        past = [row for row in self._store.past.get(Address(kind, key), []) if row.at <= at]
        return read_as(definition, key, past[-1].state, past[-1].vsn) if past else None

    async def history(
        self, kind: str, key: str, definition: Definition, *, since: datetime | None, until: datetime | None, limit: int
    ) -> list[Change[Any]]:
        """Return the kept versions, the newest first."""
        oldest = self._now() - self._keep(kind, key)

        def wanted(row: PastRow) -> bool:
            return row.at > oldest and (since is None or row.at >= since) and (until is None or row.at < until)

        rows = [row for row in reversed(self._store.past.get(Address(kind, key), [])) if wanted(row)]
        return [
            Change(row.version, row.at, row.handler, row.message_id, read_as(definition, key, row.state, row.vsn))
            for row in rows[:limit]
        ]

    def _keep(self, kind: str, key: str) -> Any:
        if kind not in self._kept:
            refuse_history(f"{kind}({key!r})")
        return self._kept[kind]
