"""Rows that plain SQL puts into the mailboxes of runs, of the wrong types: none blocks a run, and none stays behind."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pydantic_core import from_json, to_json

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import InvalidArguments, RunFailed
from revenant.queue.dead import retry
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import Account
from tests.flows import served
from tests.runs import status
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
CAST = "select revenant.cast(%s, %s, %s, %s::json)"
NOW = "2026-01-01T00:00:00+00:00"
BEGIN = ["run.started", None, NOW, {"workflow": "calls", "version": 1, "input": None}]


elsewhere = Revenant(entities=[Account])


@workflow
async def calls(flow: Flow, amount: int) -> Any:
    """Calls an entity that nobody serves."""
    place, _ = await flow.race(flow.call(elsewhere.ref(Account, "a").deposit(amount)), flow.signal("go"))
    return place


@pytest.mark.parametrize("body", ["[1]", '"no"', "true", "0", "null", '{"error": []}', '{"error": "HandlerError"}'])
async def test_an_answer_of_the_wrong_type_blocks_nothing(
    database: str, settings: Settings, connection: Connection, body: str
) -> None:
    async with served(database, settings, calls) as app:
        run = await app.start(calls, 1, id="r")
        call = "select data ->> 'id' from revenant.run_events where type = 'call.sent'"
        asked = await eventually(lambda: value(connection, call))
        for status_ in ('"error"', "[]", "1", "null"):
            args = f'{{"op": 1, "id": "{asked}", "status": {status_}, "body": {body}}}'
            await connection.execute(CAST, ("run:calls", "r", "answer", args))
        if body.startswith("{"):
            # One that may be an entity's is one.
            with pytest.raises(RunFailed, match="The handler raised"):
                await run.result(timeout=10)
        else:
            await run.signal("go", timeout=10)
            assert await run.result(timeout=10) == 1
        await eventually(
            lambda: value(connection, "select count(*) = 0 from revenant.messages where kind = 'run:calls'")
        )


ODD_STARTS: list[Any] = [
    {"input": 1, "parent": ["run:calls", "", 1, True, "x"]},
    {"input": 1, "parent": ["run:" + "x" * 200, "p", 1, True, "x"]},
    {"input": 1, "parent": ["Account", "p", 1, True, "x"]},
    {"input": 1, "parent": ["run:calls", "p", 2**40, True, "x"]},
    {"input": 1, "parent": "me"},
    {"input": 1, "events": [BEGIN]},
    {"input": 1, "events": [BEGIN], "version": -1},
    {"input": 1, "events": [BEGIN], "version": 2**31},
    {"input": 1, "events": [BEGIN], "version": True},
    {"input": 1, "events": [BEGIN, ["step.scheduled", 2**31, NOW, {"name": "x"}]], "version": 1},
    {"input": 1, "events": [BEGIN, ["step.scheduled", True, NOW, {"name": "x"}]], "version": 1},
    {"input": 1, "events": [BEGIN, ["", 1, NOW, {"name": "x"}]], "version": 1},
    {"input": 1, "events": [BEGIN, ["x", 1, NOW, []]], "version": 1},
    {"input": 1, "events": [BEGIN, ["x", 1, "2026-01-01", {}]], "version": 1},
    {"input": 1, "events": [BEGIN, BEGIN], "version": 1},
    {"input": 1, "events": [BEGIN, ["run.completed", None, NOW, {}]], "version": 1},
    {"input": "much"},
    [],
    1,
]


async def test_a_start_of_the_wrong_type_starts_nothing_and_is_gone(
    database: str, settings: Settings, connection: Connection
) -> None:
    async with served(database, settings, calls) as app:
        for number, args in enumerate(ODD_STARTS):
            await connection.execute(CAST, ("run:calls", f"odd-{number}", "start", to_json(args).decode()))
        await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="all are gone")
        assert await rows(connection, "select key, status from revenant.run_heads") == []
        run = await app.start(calls, 1, id="r")
        await run.cancel()
        await eventually(lambda: _is(connection, "r", "cancelled"))


async def _is(connection: Connection, key: str, wanted: str) -> bool:
    return await status(connection, key) == wanted


@workflow
async def typed(flow: Flow, amount: int) -> int:
    """Takes a number."""
    return amount


@pytest.mark.parametrize("given", ['"five"', "[1]", "null", '{"a": 1}'])
async def test_a_start_that_nobody_waits_for_and_its_workflow_does_not_take_is_a_dead_letter(
    database: str, settings: Settings, connection: Connection, given: str
) -> None:
    async with served(database, settings, typed) as app:
        message = await value(connection, "select revenant.start('typed', 'r', %s::json)::text", given)
        letter = await eventually(lambda: rows(connection, "select id::text, key, args, error from revenant.dead"))
        ((name, key, args, error),) = letter
        assert (name, key, args["input"]) == (message, "r", from_json(given))
        assert error["error"] == "InvalidArguments"
        assert "valid integer" in error["message"]
        assert await value(connection, "select count(*) from revenant.messages") == 0
        assert await value(connection, "select count(*) from revenant.run_heads") == 0
        # Newer code takes it; here, somebody mends it.
        await connection.execute("update revenant.dead set args = jsonb_set(args::jsonb, '{input}', '5')::json")
        assert await retry(connection, [message]) == [message]
        assert await app.run(typed, "r").result(timeout=10) == 5
        assert await value(connection, "select count(*) from revenant.dead") == 0
        # Whoever waits is told, and there is nothing to keep.
        with pytest.raises(InvalidArguments, match="valid integer"):
            await app.start("typed", "five", id="told")
        assert await value(connection, "select count(*) from revenant.dead") == 0
