"""Workflows whose steps are killed: at module level, so that worker processes can import them."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import psycopg

from revenant import Flow, Retry, Revenant, StepFailed, current_step, step, workflow

TABLES = "create table bookings (n serial primary key); create table undone (word text, attempt int, key text)"


async def book(connection: psycopg.AsyncConnection[Any]) -> int:
    """Make a row, and wait where the test says so."""
    await connection.execute("insert into bookings default values")
    if os.environ.get("REVENANT_TEST_WAITS"):
        async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
            await own.execute("insert into undone values ('inside')")
        await asyncio.Event().wait()
    return current_step().attempt


async def undo(word: str) -> None:
    """Make a row; who is first there for the room stays."""
    me = current_step()
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        await own.execute("insert into undone values (%s, %s, %s)", (word, me.attempt, me.idempotency_key))
    if word == "room" and os.environ.get("REVENANT_TEST_WAITS"):
        await asyncio.Event().wait()


async def fail() -> None:
    """The reason to undo."""
    raise ValueError("no")


@step(at_most_once=True)
async def pay() -> None:
    """Make a row, and stay."""
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
        await own.execute("insert into undone values ('paid', %s)", (current_step().attempt,))
    await asyncio.Event().wait()


async def load() -> Any:
    """Say how far it is, and stay; whoever comes next returns what was said."""
    me = current_step()
    if me.progress is None:
        me.heartbeat({"row": 7})
        await asyncio.Event().wait()
    return me.progress


@workflow
async def buy(flow: Flow) -> int:
    """One transaction."""
    return await flow.transaction(book)


@workflow
async def travel(flow: Flow) -> None:
    """Fails, and undoes three things."""
    for word in ("car", "room", "flight"):
        await flow.on_failure(undo, word)
    await flow.step(fail, retry=Retry(attempts=1))


@workflow
async def pay_once(flow: Flow) -> str:
    """One step that is run at most once; a person sees to what is unknown."""
    try:
        await flow.step(pay)
    except StepFailed as error:
        return error.type
    return "paid"


@workflow
async def load_all(flow: Flow) -> Any:
    """One long step."""
    return await flow.step(load)


app = Revenant(workflows=[buy, travel, pay_once, load_all])
