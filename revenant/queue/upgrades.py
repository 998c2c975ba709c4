"""Stored states in the order of their keys, a page at a time; those of older shape are written under their locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from revenant.queue.script import columns, run_script
from revenant.sql import statement

Connection = psycopg.AsyncConnection[Any]
PAGE = 100


class Stored(NamedTuple):
    """One stored state."""

    key: str
    version: int
    vsn: int
    state: str


class Upgraded(NamedTuple):
    """A state in the shape of today; `version` stays what it was."""

    key: str
    version: int
    state: str


async def read_page(connection: Connection, *, bucket: int, kind: str, after: str) -> list[Stored]:
    """Return the next states of one kind in one bucket, behind a key."""
    place = {"bucket": bucket, "kind": kind, "after": after, "page": PAGE}
    (rows,) = await run_script(connection, statement("read_page"), place)
    return [Stored._make(row) for row in rows]


async def lock_older(connection: Connection, *, bucket: int, kind: str, keys: Sequence[str], vsn: int) -> list[Stored]:
    """Open a transaction and lock those of the entities that are free and older than `vsn`; return their states."""
    place = {"bucket": bucket, "kind": kind, "vsn": vsn, **columns([(key,) for key in keys], ("keys",))}
    rows = (await run_script(connection, statement("lock_older"), place))[-1]
    return [Stored._make(row) for row in rows]


async def write_upgraded(connection: Connection, *, bucket: int, kind: str, vsn: int, rows: Sequence[Upgraded]) -> None:
    """Write the states of locked entities, and commit."""
    place = {"bucket": bucket, "kind": kind, "vsn": vsn, **columns(rows, ("keys", "versions", "states"))}
    await run_script(connection, statement("write_upgraded"), place)
