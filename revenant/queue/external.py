"""External steps in the database: claimed, renewed, completed and failed by their tokens."""

from __future__ import annotations

from typing import Any, LiteralString, NamedTuple

import psycopg

from revenant.queue.script import run_script
from revenant.sql import statement

_STALE = "RV002"


class ClaimedStep(NamedTuple):
    """One external step that was claimed."""

    token: str
    workflow: str
    run_id: str
    attempt: int
    idempotency_key: str
    args: str
    """JSON text."""


async def claim_step(
    connection: psycopg.AsyncConnection[Any], name: str, *, holder: str, seconds: float
) -> ClaimedStep | None:
    """Claim the longest waiting step of that name; None: there is none that nobody holds."""
    (rows,) = await run_script(
        connection, statement("claim_step"), {"name": name, "holder": holder, "seconds": seconds}
    )
    return ClaimedStep(*rows[0]) if rows else None


async def renew_step(connection: psycopg.AsyncConnection[Any], token: str, *, seconds: float) -> bool:
    """Hold a step longer; return whether the claim still holds."""
    return await _answer(connection, statement("renew_step"), token=token, seconds=seconds)


async def complete_step(connection: psycopg.AsyncConnection[Any], token: str, *, result: str) -> bool:
    """End a step with its result, as JSON text; return whether the claim still held."""
    return await _answer(connection, statement("complete_step"), token=token, result=result)


async def fail_step(
    connection: psycopg.AsyncConnection[Any], token: str, *, error: str, retryable: bool, type: str
) -> bool:
    """End a step's attempt as failed; return whether the claim still held."""
    return await _answer(connection, statement("fail_step"), token=token, error=error, retryable=retryable, type=type)


async def _answer(connection: psycopg.AsyncConnection[Any], query: LiteralString, **parameters: object) -> bool:
    try:
        await run_script(connection, query, parameters)
    except psycopg.DatabaseError as error:
        if error.sqlstate != _STALE:
            raise
        return False
    return True
