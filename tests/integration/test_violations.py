"""What Postgres says of the handler's own SQL reaches the caller as an error with its names."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import HandlerError, IntegrityViolation
from revenant.worker.worker import Worker
from tests.entities import Ledger
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
TABLES = """
create table own_orders (id int primary key);
create table own_rows (
    value int constraint no_twins unique constraint no_debts check (value >= 0),
    orders int constraint known_order references own_orders deferrable initially deferred,
    word text not null default ''
)
"""
BROKEN = [
    ("insert into own_rows (value) values (1), (1)", "23505", "no_twins", None),
    ("insert into own_rows (value) values (-1)", "23514", "no_debts", None),
    ("insert into own_rows (orders) values (7)", "23503", "known_order", None),
    ("insert into own_rows (word) values (null)", "23502", None, "word"),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A cast that fails is a dead letter at once."""
    return settings.model_copy(update={"cast_attempts": 1})


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_constraint_reaches_the_caller_with_its_name(
    app: Revenant, worker: Worker, connection: Connection, broken: tuple[str, str, str | None, str | None]
) -> None:
    query, sqlstate, constraint, column = broken
    await connection.execute(TABLES)
    ledger = app.ref(Ledger, "l")
    refused, kept = await asyncio.gather(
        ledger.run([query]), ledger.run(["insert into own_rows (value) values (5)"]), return_exceptions=True
    )
    assert isinstance(refused, IntegrityViolation)
    assert isinstance(refused, HandlerError)
    assert (refused.sqlstate, refused.table) == (sqlstate, "own_rows")
    assert (refused.constraint, refused.column) == (constraint, column)
    assert refused.type.startswith("psycopg.errors.")
    assert kept == 1
    assert await rows(connection, "select value from own_rows") == [(5,)]


async def test_a_reply_and_a_dead_letter_hold_the_constraints_name_as_json(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(TABLES)
    broken = "insert into own_rows (value) values (-1)"
    with pytest.raises(IntegrityViolation):
        await app.call(app.ref(Ledger, "l").run([broken]), idempotency_key="k")
    body = await value(connection, "select body from revenant.replies")
    assert {name: body[name] for name in ("error", "sqlstate", "constraint", "table")} == {
        "error": "IntegrityViolation",
        "sqlstate": "23514",
        "constraint": "no_debts",
        "table": "own_rows",
    }
    await app.cast(app.ref(Ledger, "l").run([broken]))
    letter = await eventually(lambda: rows(connection, "select error from revenant.dead"), what="the dead letter")
    assert letter[0][0]["constraint"] == "no_debts"
