"""The workflows that tests of the core use; at module level, so that worker processes can import them too."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import current_step
from revenant.workflows.workflow import Workflow, workflow
from tests.entities import ENTITIES, Account, note_job

KEEN = Retry(attempts=3, backoff=0.01)


class Order(BaseModel):
    """What a checkout is about."""

    id: str
    amount: int = 5


class Approval(BaseModel):
    """Who approved it."""

    by: str


class Receipt(BaseModel):
    """What a checkout comes to."""

    payment: str
    by: str
    parcel: str
    total: int


def effect(word: str) -> None:
    """Write down outside of everything that something was done: a file for each time."""
    folder = os.environ.get("REVENANT_TEST_EFFECTS")
    if folder:
        (Path(folder) / f"{word}.{os.getpid()}.{uuid4().hex}").touch()


async def charge(order: Order) -> str:
    """Charge an order, under its idempotency key."""
    effect(f"charge-{order.id}")
    return f"paid {order.amount}"


async def ship(order: Order) -> str:
    """Ship it."""
    return f"parcel of {order.id}"


def send_mail(order: Order) -> None:
    """Say so, in a thread."""
    effect(f"mail-{order.id}")


@workflow
async def checkout(flow: Flow, order: Order) -> Receipt:
    """The design's own example."""
    payment = await flow.step(charge, order, retry=KEEN, timeout=30)
    approved = await flow.signal("approved", Approval, timeout=timedelta(days=1))
    parcel, _ = await flow.gather(flow.step(ship, order), flow.step(send_mail, order))
    await flow.sleep(timedelta(milliseconds=20))
    total = await flow.call(_account(order.id).deposit(order.amount))
    return Receipt(payment=payment, by=approved.by, parcel=parcel, total=total)


def _account(key: str) -> Account:
    return app.ref(Account, key)


async def key_of_attempt(word: str) -> str:
    """Return the idempotency key that this attempt has."""
    effect(word)
    return current_step().idempotency_key


async def at_gate(word: str) -> int:
    """Stay inside until the test opens the gate (`tests.nemesis.Gate`); return the process."""
    effect(word)
    folder = Path(os.environ["REVENANT_TEST_GATE"])
    (folder / f"in-{os.getpid()}").touch()
    while not (folder / "open").exists():  # noqa: ASYNC110 # the test is in another process
        await asyncio.sleep(0.01)
    effect(f"{word}-done")
    return os.getpid()


async def exit_process(word: str) -> None:
    """End the process in the middle of the step."""
    effect(word)
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60)


@workflow
async def walks(flow: Flow, word: str) -> int:
    """One step that waits at the gate, and one after it."""
    inside = await flow.step(at_gate, word)
    await flow.step(key_of_attempt, f"{word}-after")
    return inside


@workflow
async def kills(flow: Flow, word: str) -> None:
    """Takes its worker with it."""
    await flow.step(exit_process, word)


@workflow
async def hops(flow: Flow, count: int) -> int:
    """Some steps one after another, each with an effect."""
    done = 0
    for number in range(count):
        await flow.step(key_of_attempt, f"hop-{flow.id}-{number}")
        done += 1
    return done


@workflow
async def waits(flow: Flow, seconds: float) -> Any:
    """Waits for a signal, at most so long."""
    return await flow.signal("word", timeout=seconds)


@workflow
async def hears_in_rounds(flow: Flow, left: int) -> str:
    """Takes a signal in each of its histories."""
    if left:
        await flow.signal("word", int)
        flow.continue_as_new(left - 1)
    return "done"


@workflow
async def naps(flow: Flow, seconds: float) -> str:
    """Sleeps, then does something."""
    await flow.sleep(seconds)
    return await flow.step(key_of_attempt, f"nap-{flow.id}")


@workflow
async def has_child(flow: Flow, count: int) -> Any:
    """Waits for a child that does some steps, and does one itself."""
    done = await flow.child(hops, count, id=f"{flow.id}-child")
    await flow.step(key_of_attempt, f"parent-{flow.id}")
    return done


@workflow
async def has_walking_child(flow: Flow, word: str) -> Any:
    """Waits for a child that waits at the gate, and does a step itself."""
    inside = await flow.child(walks, word, id=f"{flow.id}-child")
    await flow.step(key_of_attempt, f"parent-{flow.id}")
    return inside


@workflow
async def answers(flow: Flow, seconds: float) -> int:
    """A step at the gate once a signal has come."""
    await flow.signal("word", timeout=seconds)
    return await flow.step(at_gate, f"answer-{flow.id}")


@workflow
async def pays(flow: Flow, account: str) -> int:
    """A call, a cast and a job."""
    await flow.cast(_account(account).deposit(1))
    total = await flow.call(_account(account).deposit(10))
    await flow.defer(note_job, word=f"paid-{account}")
    return total


class Shop(Entity):
    """Starts, signals and ends runs in the commits of its turns."""

    orders: int = 0

    @handler
    async def order(self, id: str, count: int = 0) -> int:
        """Take an order, whose run does so many steps."""
        self.turn.start(hops, count, id=id)
        self.orders += 1
        return self.orders

    @handler
    async def order_in_vain(self, id: str) -> None:
        """Start one run, have an earlier one signalled and another ended, and fail."""
        self.turn.start(hops, 0, id=id)
        self.turn.signal(waits, "earlier", "word", 1)
        self.turn.cancel_run(waits, "other")
        raise LookupError("out of stock")

    @handler
    async def wait_for(self, id: str) -> None:
        """Start a run that waits, by its name."""
        self.turn.start("waits", 3600, id=id)

    @handler
    async def tell(self, id: str, word: int, times: int = 1) -> None:
        """Signal a run, so many times as the same signal."""
        for _ in range(times):
            self.turn.signal("waits", id, "word", word, signal_id=f"{id}-{word}")

    @handler
    async def end_run(self, id: str, reason: str) -> None:
        """End a run."""
        self.turn.cancel_run(waits, id, reason)


WORKFLOWS: list[Workflow[Any, Any]] = [
    checkout,
    walks,
    kills,
    hops,
    waits,
    hears_in_rounds,
    naps,
    has_child,
    has_walking_child,
    answers,
    pays,
]

app = Revenant(entities=[*ENTITIES, Shop], workflows=WORKFLOWS)
