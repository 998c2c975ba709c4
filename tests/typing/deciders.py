"""What type checkers know of deciders and lists of steps. Nothing here runs; mypy and pyright read it."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from revenant import Decider, Revenant, Run, Workflow, sequence
from revenant.workflows import Command, Complete, DecisionView, Fail, RunMany, RunStep, Sleep, Wait


class Order(BaseModel):
    amount: int


async def reserve(order: Order) -> list[str]:
    return [str(order.amount)]


async def pack(parts: list[str]) -> str:
    return " ".join(parts)


async def weigh(parcel: str) -> float:
    return float(len(parcel))


class Checkout(Decider[Order, str], version=2, name="checkout"):
    steps = (reserve, pack)

    def decide(self, view: DecisionView[Order]) -> Command:
        assert_type(view.input, Order)
        assert_type(view.signal("paid", Order), Order | None)
        if view.failure is not None:
            return Fail("stock", str(view.failure.error))
        return RunMany([RunStep(reserve, view.input), Sleep(5)]) if not view.results else Complete("done")


class Waiting(Decider[None, int]):
    def decide(self, view: DecisionView[None]) -> Command:
        return Wait("go", timeout=5)


class Careless(Decider[None, int]):
    def decide(self, view: DecisionView[None]) -> Command:
        return "done"  # type: ignore[return-value]  # a command is wanted


app = Revenant(workflows=[Checkout, Waiting])


async def a_deciders_runs_are_typed_by_its_class() -> None:
    run = await app.start(Checkout, Order(amount=5), id="a")
    assert_type(run, Run[str])
    assert_type(await run.result(), str)
    assert_type(await app.start(Waiting, id="b"), Run[int])
    assert_type(app.run(Checkout, "a"), Run[str])
    await app.start(Checkout, "order", id="c")  # type: ignore[misc]  # an Order is wanted


async def a_sequence_is_typed_by_its_first_and_last_step() -> None:
    three = sequence("three", reserve, pack, weigh, version=1)
    assert_type(three, Workflow[Order, float])
    assert_type(await app.start(three, Order(amount=1), id="d"), Run[float])
    assert_type(sequence("one", pack), Workflow[list[str], str])
    _many: Workflow[Any, Any] = sequence("many", reserve, pack, weigh, weigh, weigh)
