"""What became of a transaction whose commit got no answer: looked up, never guessed."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any

import psycopg

from revenant.queue.script import run_script
from revenant.sql import statement


class Fate(Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ABORTED = "aborted"


async def fate_of(connection: psycopg.AsyncConnection[Any], xid: str) -> Fate:
    """Return how the transaction ended; waits while its backend still works on it."""
    while True:
        try:
            ((status,),) = (await run_script(connection, statement("commit_outcome"), {"xid": xid}))[-1]
        except psycopg.errors.InvalidParameterValue:
            # A number that was not given out yet: a crash took its transaction away, with the number.
            return Fate.ABORTED
        if status == "committed":
            return Fate.COMMITTED
        if status != "in progress":
            # `aborted`, or too old to be known: nobody waits that long for an answer.
            return Fate.ABORTED
        await asyncio.sleep(0.02)
