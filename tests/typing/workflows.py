"""What type checkers see of workflows, as in `api.py`: runs, steps, signals, children and what is tested of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, assert_type

import psycopg
from pydantic import BaseModel

from revenant import Entity, Flow, Retry, Revenant, Run, Workflow, current_step, handler, step, workflow
from revenant.testing import MemoryApp, Replayed, memory_app, replay, replay_all
from revenant.workflows.operation import Operation


class Order(BaseModel):
    """What a run is started with."""

    id: str
    items: list[str]


class Receipt(BaseModel):
    """What it comes to."""

    paid: int


class Ledger(Entity):
    total: int = 0

    @handler
    async def record(self, order: str, amount: int) -> int:
        self.total += amount
        return self.total


async def charge(order: Order) -> int:
    assert_type(current_step().attempt, int)
    assert_type(current_step().idempotency_key, str)
    return len(order.items)


def print_label(order: str, copies: int) -> bytes:
    """A step that is not async runs in a thread."""
    return order.encode() * copies


@step(retry=Retry(attempts=3), timeout=30)
async def ship(order: str) -> str:
    return order


@step
def weigh(item: str) -> float:
    return float(len(item))


async def book(connection: psycopg.AsyncConnection[Any], amount: int) -> bool:
    await connection.execute("select 1")
    return amount > 0


async def refund(amount: int) -> None: ...


@workflow(version=2)
async def checkout(flow: Flow, order: Order) -> Receipt:
    assert_type(await flow.step(charge, order), int)
    assert_type(flow.step(charge, order), Operation[int])
    assert_type(await flow.step(print_label, order.id, 2), bytes)
    assert_type(await flow.step(ship, order.id, timeout=timedelta(seconds=5)), str)
    assert_type(await flow.step(weigh, "tea"), float)
    assert_type(await flow.transaction(book, 5), bool)
    assert_type(await flow.map(weigh, order.items, limit=10), list[float])
    assert_type(await flow.map(ship, order.items), list[str])
    assert_type(await flow.signal("approved", bool, timeout=timedelta(days=1)), bool)
    assert_type(await flow.signal("receipt", Receipt), Receipt)
    assert_type(await flow.signal("anything"), Any)
    assert_type(await flow.call(app.ref(Ledger, "main").record(order.id, 5)), int)
    assert_type(await flow.cast(app.ref(Ledger, "main").record(order.id, 5)), str)
    assert_type(await flow.sleep(timedelta(days=14)), None)
    assert_type(await flow.on_failure(refund, 5), None)
    which, _ = await flow.race(flow.sleep(5), flow.signal("now"))
    assert_type(which, int)
    assert_type(flow.id, str)
    return Receipt(paid=5)


class Shop(Entity):
    """Its turns start runs."""

    @handler
    async def order(self, order: Order) -> None:
        assert_type(self.turn.start(checkout, order, id="x"), str)
        self.turn.start(without_input, id="x")
        self.turn.start("checkout", {"id": "o"}, id="x")
        assert_type(self.turn.signal(checkout, "x", "approved", True, signal_id="s"), str)
        assert_type(self.turn.cancel_run("checkout", "x", "sold out"), str)
        self.turn.start(checkout, "order-1", id="x")  # type: ignore[misc]  # an Order is wanted
        self.turn.start(checkout, order)  # type: ignore[call-overload]  # the id is missing
        self.turn.start(Shop, id="x")  # type: ignore[call-overload]  # a workflow is wanted


@workflow
async def without_input(flow: Flow) -> str:
    if flow.random() < 0.5:
        flow.continue_as_new()
    return str(flow.uuid())


@workflow
async def parent(flow: Flow, order: Order) -> None:
    assert_type(await flow.child(checkout, order), Receipt)
    assert_type(await flow.child(checkout, order, id="order-1", on_close="abandon"), Receipt)
    assert_type(await flow.child(checkout, order, wait=False), str)
    assert_type(await flow.child(without_input), str)
    assert_type(await flow.gather(flow.step(charge, order), flow.step(ship, "x")), tuple[int, str])
    assert_type(
        await flow.gather(flow.child(checkout, order), flow.signal("a", bool), half(flow)), tuple[Receipt, bool, float]
    )
    assert_type(await flow.gather(*[flow.step(ship, item) for item in order.items]), list[str])


async def half(flow: Flow) -> float:
    return await flow.step(weigh, "tea") / 2


app = Revenant(entities=[Ledger], workflows=[checkout, without_input, parent])


async def runs_are_typed_by_their_workflows() -> None:
    assert_type(checkout, Workflow[Order, Receipt])
    assert_type(without_input, Workflow[None, str])
    run = await app.start(checkout, Order(id="1", items=[]), id="order-1")
    assert_type(run, Run[Receipt])
    assert_type(await run.result(timeout=30), Receipt)
    assert_type(await (await app.start(without_input, id="x")).result(), str)
    assert_type(app.run(checkout, "order-1"), Run[Receipt])
    assert_type(await app.start("checkout", {"id": "1"}, id="order-1"), Run[Any])
    assert_type(await run.signal("approved", True), bool)


async def what_does_not_fit_is_an_error(flow: Flow, order: Order) -> None:
    await app.start(checkout, "order-1", id="x")  # type: ignore[misc]  # an Order is wanted
    await app.start(checkout, id="x")  # type: ignore[arg-type]  # the input is missing
    await app.start(without_input, order, id="x")  # type: ignore[misc]  # it takes none
    await app.start(checkout, order)  # type: ignore[call-overload]  # the id is missing
    await flow.step(charge, "order-1")  # type: ignore[arg-type]  # an Order is wanted
    await flow.step(charge)  # type: ignore[call-arg,arg-type]  # the order is missing
    await flow.step(print_label, "x", "two")  # type: ignore[call-arg,arg-type]  # an int is wanted
    await flow.step(ship, 5)  # type: ignore[arg-type]  # a str is wanted
    await flow.step(weigh, "tea", retry=3)  # type: ignore[call-overload]  # a Retry is wanted
    await flow.map(weigh, [1, 2])  # type: ignore[arg-type]  # strs are wanted
    await flow.child(checkout, "order-1")  # type: ignore[misc]  # an Order is wanted
    await flow.on_failure(refund, "much")  # type: ignore[arg-type]  # an int is wanted
    await flow.call(5)  # type: ignore[arg-type]  # a message is wanted
    _number: str = await flow.step(charge, order)  # type: ignore[arg-type]  # it returns an int
    approved = await flow.signal("approved", bool)
    _answer: str = approved  # type: ignore[assignment]  # it is a bool
    _receipt: int = await (await app.start(checkout, order, id="x")).result()  # type: ignore[assignment]  # a Receipt


async def tests_are_typed_too(events: Sequence[dict[str, Any]]) -> None:
    memory = memory_app([Ledger], workflows=[checkout])
    assert_type(memory, MemoryApp)
    assert_type(await memory.start(checkout, Order(id="1", items=[]), id="1"), Run[Receipt])
    assert_type(replay(events, checkout), Replayed[Receipt])
    assert_type(replay("history.json", checkout).result, Receipt | None)
    assert_type(replay_all("runs.jsonl", checkout), list[Replayed[Receipt]])
