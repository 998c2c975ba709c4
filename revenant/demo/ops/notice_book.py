"""The jobs of one demo, as they stand in procrastinate's table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from revenant.demo.ops.notices import notify
from revenant.queue.session import session
from revenant.sql import statement
from revenant.trial.stage import ROLE

PAUSE = 0.05
PATIENCE = 60.0
"""Seconds without a job that ends, after which waiting does."""


class Notices(NamedTuple):
    """Jobs: all, the claims that they are about, and how they stand."""

    jobs: int
    claims: int
    waiting: int
    running: int
    sent: int


async def look(connection: psycopg.AsyncConnection[Any], trial: str) -> Notices:
    """Return how the jobs of one demo stand."""
    cursor = await connection.execute(statement("count_notices"), _bounds(trial))
    row = await cursor.fetchone()
    assert row is not None
    return Notices(*row)


async def settled(
    connection: psycopg.AsyncConnection[Any], trial: str, *, killed: int, watch: Callable[[], None]
) -> Notices:
    """Wait until the workers that live have nothing left to do, and return how the jobs stand.

    A job that ran in one of the `killed` workers stays: procrastinate has it run again after 30 seconds.
    """
    until, before = time.monotonic() + PATIENCE, -1
    while True:
        found = await look(connection, trial)
        if not found.waiting and found.running <= killed:
            return found
        if found.sent > before:
            until, before = time.monotonic() + PATIENCE, found.sent
        if time.monotonic() > until:
            return found
        watch()
        await asyncio.sleep(PAUSE)


async def erase(url: str, trial: str) -> None:
    """Remove the jobs of one demo; call it when its workers have stopped."""
    async with session(url, role=ROLE) as connection:
        await connection.execute(statement("erase_notices"), _bounds(trial))


def _bounds(trial: str) -> dict[str, str]:
    return {"task": notify.name, "first": f"{trial}/", "end": f"{trial}0"}
