"""Children: runs that runs start: what their ends come to, whose they are, and what becomes of them with their parents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import Decider, Flow, Revenant, RunFailed, Settings, workflow
from revenant.errors import RunCancelled
from revenant.worker.worker import Worker
from revenant.workflows import Command, Complete, DecisionView, Fail, RunMany, StartChild
from tests.runs import history, status, types
from tests.tools import eventually, rows

Connection = psycopg.AsyncConnection[Any]


@workflow
async def double(flow: Flow, n: int) -> int:
    return 2 * n


@workflow(name="double")
async def anything(flow: Flow, n: Any) -> int:
    """The same, as another application may know it."""
    raise NotImplementedError


@workflow
async def unlucky(flow: Flow, n: int) -> int:
    raise ValueError(f"{n} brings no luck")


@workflow
async def waiting(flow: Flow, name: str) -> str:
    return f"{name}: {await flow.signal('go', str)}"


@workflow
async def parent(flow: Flow, plan: dict[str, Any]) -> Any:
    """Does what its plan says, and tells what it came to."""
    chosen: Any = {"double": double, "anything": anything, "unlucky": unlucky, "waiting": waiting, "parent": parent}[
        plan["child"]
    ]
    options = {name: plan[name] for name in ("id", "on_close", "wait") if name in plan}
    try:
        came = await flow.child(chosen, plan["input"], **options)
    except RunFailed as error:
        return ["failed", error.type, error.message]
    if plan.get("then") == "wait":
        await flow.signal("end")
    if plan.get("then") == "fail":
        raise ValueError("the parent has had enough")
    return came


@workflow
async def impatient(flow: Flow, given: str) -> Any:
    return await flow.race(flow.child(waiting, given, id="late"), flow.signal("enough"))


class Crowd(Decider[int, list[Any]]):
    def decide(self, view: DecisionView[int]) -> Command:
        if not view.children:
            return RunMany([StartChild(double, n) for n in range(view.input)] + [StartChild(unlucky, 13)])
        if view.failure is None or view.failure.error is None:
            return Fail("nothing failed")
        return Complete([sorted(one.value for one in view.children if one.state == "done"), view.failure.error["type"]])


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    flows: list[Any] = [double, unlucky, waiting, parent, impatient, Crowd]
    async with Revenant(workflows=flows, database_url=database, settings=settings) as application:
        yield application


async def ended(connection: Connection, key: str, wanted: str) -> None:
    async def is_so() -> bool:
        return await status(connection, key) == wanted

    await eventually(is_so, seconds=60, what=f"run {key} {wanted}")


async def test_a_childs_result_is_its_parents_and_its_failure_raises_there(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    good = await app.start(parent, {"child": "double", "input": 4}, id="good")
    bad = await app.start(parent, {"child": "unlucky", "input": 13}, id="bad")
    assert await good.result(timeout=60) == 8
    assert await bad.result(timeout=60) == ["failed", "ValueError", "13 brings no luck"]
    assert await types(connection, "good") == ["run.started", "child.started", "child.finished", "run.completed"]
    started = (await history(connection, "good/1"))[0]
    assert started.data["parent"][:4] == ["run:parent", "good", 1, True]


async def test_an_id_that_somebody_else_has_started_is_refused_to_the_parent(app: Revenant, worker: Worker) -> None:
    """The same input too: nobody would tell the parent of that run's end."""
    theirs = await app.start(waiting, "mine", id="taken")
    for input in ("mine", "other"):
        run = await app.start(parent, {"child": "waiting", "input": input, "id": "taken"}, id=f"late-{input}")
        came = await run.result(timeout=60)
        assert came[:2] == ["failed", "RunExists"]
    await theirs.signal("go", "on")
    assert await theirs.result(timeout=60) == "mine: on"
    after = await app.start(parent, {"child": "waiting", "input": "mine", "id": "taken"}, id="after")
    assert (await after.result(timeout=60))[:2] == ["failed", "RunExists"]


async def test_an_input_that_the_child_cannot_take_is_refused_to_the_parent(app: Revenant, worker: Worker) -> None:
    run = await app.start(parent, {"child": "double", "input": "many"}, id="wrong")
    with pytest.raises(RunFailed, match="cannot take what it was given"):
        await run.result(timeout=60)
    # Where only the child's own code knows, the parent is told the same, and not that the id was taken.
    run = await app.start(parent, {"child": "anything", "input": "many"}, id="unaware")
    assert (await run.result(timeout=60))[:2] == ["failed", "InvalidArguments"]


@pytest.mark.parametrize("id", [None, "", "x" * 513])
async def test_an_id_that_is_none_fails_the_parent_and_says_why(app: Revenant, worker: Worker, id: str | None) -> None:
    """One that is made of the parent's own may be too long, too."""
    plan = {"child": "double", "input": 1} if id is None else {"child": "double", "input": 1, "id": id}
    run = await app.start(parent, plan, id="p" * 512)
    with pytest.raises(RunFailed, match="512 is the limit|is empty"):
        await run.result(timeout=60)


async def test_a_parent_that_is_cancelled_cancels_its_children_and_theirs(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    inner = {"child": "waiting", "input": "deep", "id": "grandchild"}
    run = await app.start(parent, {"child": "parent", "input": inner, "id": "child"}, id="top")
    await eventually(lambda: types(connection, "grandchild"), seconds=60)
    await run.cancel("no more of this")
    with pytest.raises(RunCancelled):
        await run.result(timeout=60)
    for key in ("child", "grandchild"):
        await ended(connection, key, "cancelled")
    last = (await history(connection, "grandchild"))[-1]
    assert "'child'" in last.data["reason"]


async def test_a_parent_that_fails_abandons_a_child_that_is_to_go_on(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    plan = {"child": "waiting", "input": "free", "id": "free", "wait": False, "then": "fail"}
    run = await app.start(parent, plan, id="fails")
    with pytest.raises(RunFailed, match="had enough"):
        await run.result(timeout=60)
    kept = app.run(waiting, "free")
    await eventually(lambda: types(connection, "free"), seconds=60)
    await kept.signal("go", "alone")
    assert await kept.result(timeout=60) == "free: alone"


async def test_a_waited_for_child_is_abandoned_where_that_is_said(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    plan = {"child": "waiting", "input": "left", "id": "left", "on_close": "abandon"}
    run = await app.start(parent, plan, id="leaves")
    await eventually(lambda: types(connection, "left"), seconds=60)
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result(timeout=60)
    assert (await types(connection, "leaves"))[-2:] == ["child.abandoned", "run.cancelled"]
    kept = app.run(waiting, "left")
    await kept.signal("go", "by itself")
    assert await kept.result(timeout=60) == "left: by itself"


async def test_a_child_that_nobody_waits_for_is_cancelled_where_that_is_said(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    plan = {"child": "waiting", "input": "tied", "id": "tied", "wait": False, "on_close": "cancel"}
    run = await app.start(parent, {**plan, "then": "wait"}, id="ties")
    await eventually(lambda: types(connection, "tied"), seconds=60)
    assert await status(connection, "tied") == "waiting"
    await run.signal("end")
    assert await run.result(timeout=60) == "tied"
    await ended(connection, "tied", "cancelled")


async def test_a_child_that_nobody_waits_for_and_that_has_ended_is_not_cancelled_any_more(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    plan = {"child": "double", "input": 4, "id": "tied", "wait": False, "on_close": "cancel", "then": "wait"}
    run = await app.start(parent, plan, id="ties")
    await eventually(lambda: told_of_its_end(connection, "ties"), seconds=60)
    last = (await history(connection, "ties"))[-1]
    assert (last.op, last.data) == (None, {"workflow": "double", "id": "tied", "status": "ok"})
    assert "child.finished" in [event.type for event in await run.history()]
    await run.describe()
    await run.signal("end")
    assert await run.result(timeout=60) == "tied"
    # Nothing was sent to it.
    assert await rows(connection, "select 1 from revenant.messages") == []
    assert await types(connection, "ties") == [
        "run.started", "child.started", "wait.started", "child.finished", "signal.received", "run.completed",
    ]  # fmt: skip


async def told_of_its_end(connection: Connection, key: str) -> bool:
    return "child.finished" in await types(connection, key)


@pytest.mark.parametrize("wait", [True, False])
async def test_a_run_of_somebody_elses_is_not_cancelled_by_whoever_wanted_its_id_for_a_child(
    app: Revenant, worker: Worker, connection: Connection, wait: bool
) -> None:
    stranger = await app.start(waiting, "mine", id="theirs")
    plan = {"child": "waiting", "input": "other", "id": "theirs", "wait": wait, "on_close": "cancel", "then": "wait"}
    run = await app.start(parent, plan, id="wants", timeout=60)
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result(timeout=60)
    await eventually(lambda: nothing_waits(connection), seconds=60)
    assert await status(connection, "theirs") == "waiting"
    await stranger.cancel()
    await ended(connection, "theirs", "cancelled")


async def nothing_waits(connection: Connection) -> bool:
    return await rows(connection, "select 1 from revenant.messages") == []


async def test_a_child_that_lost_a_race_is_cancelled(app: Revenant, worker: Worker, connection: Connection) -> None:
    run = await app.start(impatient, "slow", id="race")
    await eventually(lambda: types(connection, "late"), seconds=60)
    await run.signal("enough", 1)
    assert await run.result(timeout=60) == [1, 1]
    await ended(connection, "late", "cancelled")


async def test_many_children_of_a_decider_run_side_by_side(app: Revenant, worker: Worker) -> None:
    run = await app.start(Crowd, 40, id="crowd")
    assert await run.result(timeout=60) == [[2 * n for n in range(40)], "ValueError"]


async def test_an_end_that_is_told_twice_or_of_another_history_changes_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(parent, {"child": "waiting", "input": "x", "id": "x"}, id="told")
    await eventually(lambda: types(connection, "x"), seconds=60)
    stale = '{"run": "019a0000-0000-7000-8000-000000000007", "op": 1, "id": "x", "status": "ok", "result": "forged"}'
    await rows(connection, "select revenant.cast('run:parent', 'told', 'finished', %s)", stale)
    await app.run(waiting, "x").signal("go", "true")
    assert await run.result(timeout=60) == "x: true"
    assert "forged" not in str(await history(connection, "told"))
