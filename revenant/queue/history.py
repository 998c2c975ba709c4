"""The histories of entities: written in the commit that makes a version, read by anybody, dropped a day at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from revenant.queue.records import Past
from revenant.queue.script import columns, run_script
from revenant.sql import statement

Connection = psycopg.AsyncConnection[Any]


class StateRow(NamedTuple):
    """A stored state, and what wrote it; `state` is JSON text, None where there is none."""

    version: int
    vsn: int
    state: str | None


class PastRow(NamedTuple):
    """One version, as it is stored."""

    version: int
    vsn: int
    state: str | None
    at: datetime
    handler: str
    message_id: str


class Moment(NamedTuple):
    """What is stored about one moment of an entity."""

    kept: bool
    """Whether the kind keeps a history, as far as the database knows."""
    too_old: bool
    """Whether the moment is longer ago than the history is kept."""
    version: int | None
    """Of the last change up to then; 0 where it was a deletion; None where none is kept."""
    vsn: int | None
    state: str | None
    next_version: int | None
    """Of the first change after it, or the state before that one where `next_is_before`."""
    next_is_before: bool
    next_vsn: int | None
    next_state: str | None
    current_vsn: int | None
    current_state: str | None
    """As it is now; None where there is none, or where it is younger than the moment."""
    younger: bool
    """Whether there is a state now that is younger than the moment."""
    current_version: int
    """0 where there is no state now."""

    @property
    def has_gap(self) -> bool:
        """Whether the last change up to then was followed by some that are not recorded."""
        if self.version is None:
            return False
        if self.next_version is None:
            return self.current_version != self.version
        follows = {self.version} if self.next_is_before else {0, self.version + 1}
        return self.next_version not in follows


async def record(connection: Connection, past: Sequence[Past]) -> None:
    """Inside a turn's transaction, before the states are written, add versions to their histories."""
    await run_script(connection, statement("record_history"), columns(past, Past._fields))


async def read_state(connection: Connection, *, bucket: int, kind: str, key: str) -> StateRow | None:
    """Return the committed state; None where there is none."""
    place = {"bucket": bucket, "kind": kind, "key": key}
    (rows,) = await run_script(connection, statement("read_state"), place)
    return StateRow._make(rows[0]) if rows else None


async def read_moment(connection: Connection, *, bucket: int, kind: str, key: str, at: datetime) -> Moment:
    """Return what is known of the state at that time."""
    place = {"bucket": bucket, "kind": kind, "key": key, "at": at}
    (rows,) = await run_script(connection, statement("read_moment"), place)
    return Moment._make(rows[0])


async def read_history(
    connection: Connection,
    *,
    bucket: int,
    kind: str,
    key: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[PastRow] | None:
    """Return versions, the newest first; None where the kind keeps no history."""
    place: dict[str, Any] = {
        "bucket": bucket,
        "kind": kind,
        "key": key,
        "since": since or "-infinity",
        "until": until or "infinity",
        "limit": limit,
    }
    (known,), rows = await run_script(connection, statement("read_history"), place)
    return [PastRow._make(row) for row in rows] if known[0] else None


async def keep_history(connection: Connection, kinds: Mapping[str, timedelta]) -> None:
    """Say how long the histories of these kinds are kept; make the next days' partitions, and drop those of old."""
    rows = [(kind, keep.total_seconds()) for kind, keep in sorted(kinds.items())]
    await run_script(connection, statement("keep_history"), columns(rows, ("kinds", "seconds")))
