"""Approvals, by their doors: listed for whom they wait, answered by exactly one person, in one commit with the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.client.approving import Approval
from revenant.config import Settings
from revenant.errors import AlreadyAnswered, InvalidArguments, RunEnded, Unstorable
from revenant.worker.worker import Worker
from tests.tools import eventually, rows
from tests.waiting import WORKFLOWS, Form, purchase, types

Connection = psycopg.AsyncConnection[Any]


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=WORKFLOWS, database_url=database, settings=settings) as application:
        yield application


async def only(app: Revenant) -> Approval:
    """Wait until one approval waits, and return it."""
    (found,) = await eventually(lambda: app.approvals(assignee="ann"))
    assert isinstance(found, Approval)
    return found


async def test_what_waits_for_whom_is_listed_from_the_question_to_the_answer(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(purchase, 70, id="p-1")
    found = await only(app)
    assert (found.workflow, found.run_id, found.name, found.assignee) == ("purchase", "p-1", "manager", "ann")
    assert found.about == {"price": 70}
    assert found.form["required"] == ["limit"]
    assert found.due is not None
    assert 3500 < (found.due - found.asked_at).total_seconds() < 3700
    assert await app.approvals(assignee="bob") == []
    assert await app.approvals(workflow="adds") == []
    assert [one.run_id for one in await app.approvals(workflow=purchase)] == ["p-1"]
    await found.approve(by="ann", form=Form(limit=100), timeout=30)
    assert await app.approvals() == []
    assert await run.result(timeout=30) == [True, "ann", 100]
    assert await rows(connection, "select * from revenant.scheduled") == [], "its deadline is left to come"


async def test_a_list_goes_on_over_pages_and_stops_at_its_limit(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revenant.queue.approvals.PAGE", 2)
    for number in range(5):
        await app.start(purchase, number, id=f"p-{number}")
    await eventually(lambda: _count(app, 5))
    prices = [one.about["price"] for one in await app.approvals()]
    assert prices == sorted(prices)
    assert len(await app.approvals(limit=3)) == 3


async def _count(app: Revenant, number: int) -> bool:
    return len(await app.approvals()) == number


async def test_a_rejection_is_a_decision_too(app: Revenant, worker: Worker) -> None:
    run = await app.start(purchase, 70, id="p-1")
    await only(app)
    await run.reject("manager", by="ann", reason="too much", timeout=30)
    assert await run.result(timeout=30) == [False, "ann", None]


async def test_of_many_who_answer_at_once_exactly_one_wins_and_the_others_are_told_who(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(purchase, 70, id="p-1")
    found = await only(app)
    people = [f"person {number}" for number in range(8)]
    said = await asyncio.gather(
        *(found.approve(by=who, form={"limit": 1}, timeout=30) for who in people[:4]),
        *(found.reject(by=who, timeout=30) for who in people[4:]),
        return_exceptions=True,
    )
    winner = (await run.result(timeout=30))[1]
    assert [who for who, heard in zip(people, said, strict=True) if heard is None] == [winner]
    losers = [heard for heard in said if heard is not None]
    assert all(isinstance(heard, AlreadyAnswered) and heard.by == winner for heard in losers), losers
    assert (await types(connection, "p-1")).count("approval.given") == 1


async def test_who_comes_after_the_end_is_told_by_whom_it_was_answered(app: Revenant, worker: Worker) -> None:
    run = await app.start(purchase, 70, id="p-1")
    found = await only(app)
    await found.approve(by="ann", form={"limit": 1}, timeout=30)
    await run.result(timeout=30)
    with pytest.raises(AlreadyAnswered, match="was approved by ann before") as told:
        await found.reject(by="bob", timeout=30)
    assert told.value.by == "ann"
    with pytest.raises(AlreadyAnswered):
        await run.reject("manager", by="bob", timeout=30)
    await found.approve(by="ann", form={"limit": 1}, timeout=30)  # the same once more is no contradiction
    with pytest.raises(RunEnded):
        await run.approve("somebody else", by="bob", timeout=30)


async def test_a_form_is_checked_at_the_sender_where_its_type_is_known_else_by_the_worker(
    app: Revenant, worker: Worker
) -> None:
    run = await app.start(purchase, 70, id="p-1")
    found = await only(app)
    broken = Form(limit=1)
    broken.limit = "much"  # type: ignore[assignment]  # it is what is to be found out
    with pytest.raises(Unstorable, match="limit"):
        await found.approve(by="ann", form=broken, timeout=30)
    with pytest.raises(InvalidArguments, match="limit: Input should be a valid integer"):
        await found.approve(by="ann", form={"limit": "much"}, timeout=30)
    with pytest.raises(InvalidArguments, match="by whom"):
        await found.approve(by="", timeout=30)
    await found.approve(by="ann", form={"limit": 1}, timeout=30)
    assert await run.result(timeout=30) == [True, "ann", 1]


async def test_two_workers_that_hear_of_two_answers_record_one(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    """Each reads the run for itself; the fence lets one of them write."""
    other = app.worker()
    await other.start()
    await other.ready()
    for number in range(10):
        run = await app.start(purchase, number, id=f"p-{number}")
        await eventually(lambda run=run: _asks(app, run.id))
        said = await asyncio.gather(
            run.approve("manager", by="ann", form={"limit": 1}, timeout=30),
            run.reject("manager", by="bob", timeout=30),
            return_exceptions=True,
        )
        assert sorted(isinstance(heard, AlreadyAnswered) for heard in said) == [False, True], said
        assert (await types(connection, run.id)).count("approval.given") == 1
    await other.stop()


async def _asks(app: Revenant, key: str) -> bool:
    return any(one.run_id == key for one in await app.approvals())


async def test_plain_sql_answers_too(app: Revenant, worker: Worker, connection: Connection) -> None:
    run = await app.start(purchase, 70, id="p-1", timeout=30)
    decision = '{"name": "manager", "approved": true, "by": "ann", "form": {"limit": 150}, "reason": null}'
    call = "select revenant.call('run:purchase', 'p-1', 'decide', %s)"
    ((asked,),) = await rows(connection, call, decision)
    assert await run.result(timeout=30) == [True, "ann", 150]
    (reply,) = await eventually(lambda: rows(connection, "select status, body from revenant.reply(%s)", asked))
    assert reply == ("ok", True)
    ask = "select status, body ->> 'error' from revenant.reply(%s)"
    for approved, error in (("true", "RunEnded"), ('"yes"', "InvalidArguments")):
        late = f'{{"name": "manager", "approved": {approved}, "by": "bob", "form": null, "reason": null}}'
        ((refused,),) = await rows(connection, call, late)
        (reply,) = await eventually(lambda refused=refused: rows(connection, ask, refused))
        assert reply == ("error", error)
