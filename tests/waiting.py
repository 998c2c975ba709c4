"""The workflows that tests of updates, approvals and timers use, in this process and in others."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import psycopg
from pydantic import BaseModel

from revenant.app import Revenant
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import Workflow, workflow
from tests.tools import Rows, rows


class Form(BaseModel):
    """What whoever approves fills in."""

    limit: int


def not_negative(value: int) -> None:
    """Refuse what is below zero."""
    if value < 0:
        raise ValueError("it is below zero")


def mark(word: str) -> str:
    """A step without effect."""
    return word


@workflow
async def adds(flow: Flow) -> int:
    """Adds up what it is sent; answers when it hears `go`."""
    total = 0
    flow.show({"total": total})
    while total < 10:
        request = await flow.update("add", int, validator=not_negative)
        await flow.signal("go")
        total += request.value
        flow.show({"total": total})
        await request.reply(total)
    return total


@workflow
async def purchase(flow: Flow, price: int) -> list[Any]:
    """Asks a manager."""
    try:
        decision = await flow.approval("manager", assignee="ann", form=Form, about={"price": price}, deadline=3600)
    except TimeoutError:
        return ["late"]
    return [decision.approved, decision.by, decision.form.limit if decision.form else None]


@workflow
async def naps(flow: Flow, seconds: float) -> list[str]:
    """A step, a timer, a step."""
    before = await flow.step(mark, "before")
    await flow.sleep(seconds)
    return [before, await flow.step(mark, "after")]


@workflow
async def waits(flow: Flow, seconds: float) -> str:
    """Waits for a signal so long."""
    try:
        return str(await flow.signal("word", str, timeout=seconds))
    except TimeoutError:
        return "late"


@workflow
async def many(flow: Flow, count: int) -> int:
    """Waits for many timers, and for a word that makes them all needless."""
    naps = flow.gather(*(flow.sleep(timedelta(hours=1 + number)) for number in range(count)))
    place, _ = await flow.race(naps, flow.signal("enough"))
    return place


@workflow
async def rounds(flow: Flow, left: int) -> int:
    """Answers one update in each of its histories; the first one waits for a word."""
    if left == 2:
        await flow.signal("go")
    request = await flow.update("add", int)
    await request.reply(request.value)
    if left:
        flow.continue_as_new(left - 1)
    return left


WORKFLOWS: list[Workflow[Any, Any]] = [adds, purchase, naps, waits, many, rounds]
app = Revenant(workflows=WORKFLOWS, database_url=os.environ.get("DATABASE_URL"))


async def history(connection: psycopg.AsyncConnection[Any], key: str) -> Rows:
    """Return a run's events: (type, operation, data)."""
    return await rows(
        connection,
        "select e.type, e.op, e.data from revenant.run_heads h join revenant.run_events e using (bucket, run) "
        "where h.key = %s order by e.seq",
        key,
    )


async def types(connection: psycopg.AsyncConnection[Any], key: str) -> list[str]:
    """Return the types of a run's events."""
    return [type for type, _, _ in await history(connection, key)]
