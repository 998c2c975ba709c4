"""Deciders: the tests that BeamTrail publishes for its own, under their names, and what ours do besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from pydantic import BaseModel

from revenant import (
    Decider,
    Entity,
    Flow,
    Retry,
    Revenant,
    RunFailed,
    Settings,
    current_step,
    handler,
    ref,
    step,
    workflow,
)
from revenant.worker.worker import Worker
from revenant.workflows import (
    Call,
    Command,
    Complete,
    DecisionView,
    Fail,
    RunMany,
    RunStep,
    Sleep,
    StartChild,
    Wait,
)
from tests.runs import history, status, types
from tests.tools import eventually, rows

Connection = psycopg.AsyncConnection[Any]
ran: list[tuple[str, Any, str]] = []
"""(step, what it got, idempotency key) of each attempt that ran in this process."""


class Shipment(BaseModel):
    order_id: str
    address: str


class Charged(BaseModel):
    paid: bool
    shipment: Shipment


class Order(BaseModel):
    order_id: str
    amount: int
    ship_to: str


@step(version=1, retry=Retry(attempts=1))
async def charge(order: Order) -> Charged:
    ran.append(("charge", order, current_step().idempotency_key))
    return Charged(paid=order.amount > 0, shipment=Shipment(order_id=order.order_id, address=order.ship_to))


@step(version=1, retry=Retry(attempts=1))
async def ship(shipment: Shipment) -> dict[str, Any]:
    ran.append(("ship", shipment, current_step().idempotency_key))
    return {"shipped": True, "to": shipment.address}


class Branching(Decider[Order, dict[str, Any]]):
    steps = (charge, ship)

    def decide(self, view: DecisionView[Order]) -> Command:
        charged: Charged | None = view.result(charge)
        if charged is None:
            return RunStep(charge, view.input)
        if not charged.paid:
            return Fail("payment_failed", "the card was refused")
        shipped = view.result("ship")
        return RunStep("ship", charged.shipment) if shipped is None else Complete({"fulfilled": True, **shipped})


class Commanded(Decider[dict[str, Any], Any]):
    """Decides what its input says."""

    steps = (charge, ship)

    def decide(self, view: DecisionView[dict[str, Any]]) -> Command:
        if view.results:
            return Complete()
        match view.input:
            case {"run": name, "args": args}:
                return RunStep(name, *args)
            case {"crash": text}:
                raise ValueError(text)
            case {"sleep": seconds}:
                return Sleep(seconds)
            case other:
                return other  # type: ignore[return-value]  # what no decider may return


class Approving(Decider[str, str]):
    """Waits for one of two signals, until a deadline."""

    def decide(self, view: DecisionView[str]) -> Command:
        if not view.waits:
            return Wait({"approved": str, "rejected": str}, timeout=float(view.input))
        if view.waits[0].state == "expired":
            return Fail("approval_timeout")
        if (why := view.signal("rejected")) is not None:
            return Fail("approval_rejected", why)
        return Complete(view.signal("approved", str))


async def flaky(n: int) -> int:
    ran.append(("flaky", n, current_step().idempotency_key))
    raise ConnectionError("no line")


async def refund(n: int) -> int:
    ran.append(("refund", n, current_step().idempotency_key))
    return -n


class Stubborn(Decider[int, int]):
    """Takes no notice of what failed."""

    steps = (step(flaky), step(refund))

    def decide(self, view: DecisionView[int]) -> Command:
        return RunStep("flaky", view.input, retry=Retry(attempts=2, backoff=0))


class Careful(Decider[int, int]):
    """Undoes what failed."""

    steps = (flaky, refund)

    def decide(self, view: DecisionView[int]) -> Command:
        if view.failure is not None:
            return RunStep(refund, view.failure.attempts)
        return Complete(view.result(refund)) if view.results else RunStep(flaky, 1, retry=Retry(attempts=3, backoff=0))


class Till(Entity):
    total: int = 0

    @handler
    async def book(self, amount: int) -> int:
        self.total += amount
        return self.total


@workflow
async def double(flow: Flow, n: int) -> int:
    return 2 * n


async def square(n: int) -> int:
    return n * n


@workflow
async def unfortunate(flow: Flow, n: int) -> int:
    raise ValueError(f"{n} brings no luck")


class Everything(Decider[int, dict[str, Any]]):
    """Uses each command once."""

    steps = (square,)

    def decide(self, view: DecisionView[int]) -> Command:
        match len(view.outcomes):
            case 0:
                return RunMany([RunStep(square, view.input + n) for n in range(3)])
            case 3:
                return RunMany([StartChild(double, 4), StartChild(unfortunate, 13), Sleep(0)])
            case 6:
                return Sleep(timedelta(milliseconds=1), id="pause")
            case 7:
                return StartChild(double, 5, wait=False)
            case 8:
                return Call(ref(Till, "main").book(7))
            case 9:
                return Wait("go")
        children = [(one.state, one.value) for one in view.children]
        return Complete(
            {
                "squares": sorted(one.value for one in view.results),
                "attempts": [one.attempts for one in view.results],
                "ordered": [one.seq for one in view.outcomes[:-1]] == sorted(one.seq for one in view.outcomes[:-1]),
                "children": sorted(children, key=str),
                "total": view.calls[0].value,
                "timers": [one.name for one in view.timers],
                "go": view.waits[0].value,
            }
        )


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    flows: list[Any] = [Branching, Commanded, Approving, Stubborn, Careful, Everything, double, unfortunate]
    ran.clear()
    async with Revenant(entities=[Till], workflows=flows, database_url=database, settings=settings) as application:
        yield application


ORDER = Order(order_id="o-1", amount=5000, ship_to="1 OTP Way")


async def test_workflow_decider_branches_on_prior_step_result(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(Branching, ORDER, id="branch")
    assert await run.result(timeout=30) == {"fulfilled": True, "shipped": True, "to": "1 OTP Way"}
    shipment = Shipment(order_id="o-1", address="1 OTP Way")
    assert [(name, given) for name, given, _ in ran] == [("charge", ORDER), ("ship", shipment)]
    scheduled = [event.data for event in await history(connection, "branch") if event.type == "step.scheduled"]
    assert [(one["name"], one["input"]) for one in scheduled] == [
        ("charge", [ORDER.model_dump()]),
        ("ship", [shipment.model_dump()]),
    ]
    poor = await app.start(Branching, ORDER.model_copy(update={"amount": 0}), id="poor")
    with pytest.raises(RunFailed, match="the card was refused") as failed:
        await poor.result(timeout=30)
    assert failed.value.type == "payment_failed"


async def test_workflow_decider_run_step_uses_command_step_input(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    given = {"order_id": "o-2", "address": "elsewhere"}
    run = await app.start(Commanded, {"run": "ship", "args": [given]}, id="given")
    assert await run.result(timeout=30) is None
    assert [(name, shipment.order_id) for name, shipment, _ in ran] == [("ship", "o-2")]
    assert await types(connection, "given") == [
        "run.started", "step.scheduled", "attempt.started", "step.succeeded", "run.completed",
    ]  # fmt: skip
    scheduled = (await history(connection, "given"))[1]
    assert scheduled.data["input"] == [given]
    assert scheduled.data["key"] == ran[0][2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run": "refund", "args": [1]}, "declares no step 'refund'"),
        ({"run": "ship", "args": []}, "got 0 arguments"),
        ({"run": "ship", "args": [7]}, "cannot take what it was given"),
        ({"sleep": -1}, "duration"),
        ({"unknown": "command"}, "none of the commands"),
    ],
)
async def test_workflow_decider_invalid_command_fails_terminally(
    app: Revenant, worker: Worker, connection: Connection, given: dict[str, Any], words: str
) -> None:
    run = await app.start(Commanded, given, id="invalid")
    with pytest.raises(RunFailed, match=words) as failed:
        await run.result(timeout=30)
    assert failed.value.type == "InvalidCommand"
    assert await types(connection, "invalid") == ["run.started", "run.failed"]
    error = (await history(connection, "invalid"))[-1].data["error"]
    assert error["error"] == "RunFailed"
    assert error["command"]
    assert ran == []


async def test_workflow_decider_callback_error_fails_terminally(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(Commanded, {"crash": "decider_crash"}, id="crash")
    with pytest.raises(RunFailed, match="decider_crash") as failed:
        await run.result(timeout=30)
    assert failed.value.type == "ValueError"
    error = (await history(connection, "crash"))[-1].data["error"]
    assert "decide" in error["traceback"]
    assert ran == []


async def test_dispatch_refuses_decider_version_mismatch_without_migration(
    database: str, settings: Settings, connection: Connection
) -> None:
    class First(Decider[int, int], name="versioned", version=1):
        steps = (square,)

        def decide(self, view: DecisionView[int]) -> Command:
            return (
                Complete(view.result(square)) if view.results else Wait("go") if not view.waits else RunStep(square, 3)
            )

    class Second(Decider[int, int], name="versioned", version=2):
        def decide(self, view: DecisionView[int]) -> Command:
            return Complete(0)

    async with Revenant(workflows=[First], database_url=database, settings=settings) as old:
        serving = old.worker()
        await serving.start()
        run = await old.start(First, 1, id="gate")
        await eventually(lambda: types(connection, "gate"))
        await serving.stop()
        async with Revenant(workflows=[Second], database_url=database, settings=settings) as new:
            other = new.worker()
            await other.start()
            await new.run("versioned", "gate").signal("go", timeout=30)
            await eventually(lambda: _is(connection, "gate", "blocked"))
            (problem,) = await rows(connection, "select problem from revenant.run_heads")
            assert "version 1" in problem[0]
            assert "migrate" in problem[0]
            await other.stop()
        again = old.worker()
        await again.start()
        await run.requeue(timeout=30)
        assert await run.result(timeout=30) == 9
        await again.stop()
    assert "run.blocked" in await types(connection, "gate")


async def _is(connection: Connection, key: str, wanted: str) -> bool:
    return await status(connection, key) == wanted


async def test_start_workflow_records_custom_decider_version(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await (await app.start(Branching, ORDER, id="recorded")).result(timeout=30)
    started, scheduled, *_ = await history(connection, "recorded")
    assert (started.data["workflow"], started.data["version"]) == ("Branching", 1)
    assert scheduled.data["version"] == 1


async def test_approval_signal_before_deadline_completes_rejection_fails_and_so_does_the_deadline(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    yes = await app.start(Approving, "60", id="yes")
    no = await app.start(Approving, "60", id="no")
    late = await app.start(Approving, "0.05", id="late")
    await yes.signal("approved", "ops")
    await no.signal("rejected", "risk")
    assert await yes.result(timeout=30) == "ops"
    with pytest.raises(RunFailed, match="risk") as failed:
        await no.result(timeout=30)
    assert failed.value.type == "approval_rejected"
    with pytest.raises(RunFailed) as failed:
        await late.result(timeout=30)
    assert failed.value.type == "approval_timeout"
    assert await types(connection, "late") == [
        "run.started", "wait.started", "wait.started", "wait.expired", "wait.cancelled", "run.failed",
    ]  # fmt: skip


async def test_a_decider_that_takes_no_notice_of_a_failure_fails_as_that_did(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(Stubborn, 1, id="stubborn")
    with pytest.raises(RunFailed, match="no line"):
        await run.result(timeout=30)
    assert [name for name, *_ in ran] == ["flaky", "flaky"]
    assert (await types(connection, "stubborn"))[-2:] == ["step.failed", "run.failed"]


async def test_a_decider_decides_what_follows_from_a_failure(app: Revenant, worker: Worker) -> None:
    run = await app.start(Careful, 1, id="careful")
    assert await run.result(timeout=30) == -3
    assert [name for name, *_ in ran] == ["flaky"] * 3 + ["refund"]


async def test_each_command_has_its_outcome_in_the_view(app: Revenant, worker: Worker) -> None:
    run = await app.start(Everything, 2, id="all")
    await run.signal("go", {"by": "hand"})
    assert await run.result(timeout=30) == {
        "squares": [4, 9, 16],
        "attempts": [1, 1, 1],
        "ordered": True,
        "children": [["done", "all/8"], ["done", 8], ["failed", None]],
        "total": 7,
        "timers": ["sleep", "pause"],
        "go": {"by": "hand"},
    }
