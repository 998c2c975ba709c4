"""Workflows that take their process down, and others that do not; `revenant worker --app tests.venom:app`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from typing import Any

import psycopg
from pydantic import BaseModel, field_validator

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import StepFailed
from revenant.workflows import Command, DecisionView
from revenant.workflows.decider import Decider
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import current_step
from revenant.workflows.workflow import Workflow, workflow
from tests.errands import at_gate, effect, walks


async def bite(how: str) -> None:
    """End the process, or hold it up for good, or do nothing."""
    match how:
        case "exit":
            os._exit(9)
        case "segfault":
            ctypes.string_at(0)
        case "group":
            # As who means to end a child, and has not given it a group of its own.
            os.killpg(0, signal.SIGKILL)
        case "block":
            time.sleep(600)  # noqa: ASYNC251 # what a careless step does
        case _:
            await asyncio.sleep(0.1)


async def work(word: str, seconds: float) -> str:
    """Take some time, and do no harm."""
    effect(word)
    await asyncio.sleep(seconds)
    return word


@workflow
async def walks_carefully(flow: Flow, word: str) -> int:
    """A step that waits at the gate, and of which one death is enough to be suspected."""
    return await flow.step(at_gate, word, recoveries=2)


@workflow
async def bites(flow: Flow, how: str) -> None:
    """Has one step, which kills."""
    await flow.step(work, f"before-{flow.id}", 0)
    await flow.step(bite, how)


@workflow
async def bites_among(flow: Flow, count: int) -> None:
    """Has many steps at a time, the last of which kills."""
    await flow.map(bite, [*[""] * count, "exit"])


@workflow
async def works(flow: Flow, seconds: float) -> str:
    """Has two steps, which do not."""
    first = await flow.step(work, f"{flow.id}-1", seconds)
    return first + await flow.step(work, f"{flow.id}-2", seconds)


async def tell_process(word: str) -> int:
    """Return where it ran, at the second attempt, and how far the first one had come."""
    me = current_step()
    if me.attempt == 1:
        me.heartbeat({"word": word})
        raise ConnectionError(word)
    assert me.progress == {"word": word}
    return os.getpid()


def tell_thread(word: str) -> str:
    """Run in a thread."""
    return f"{word} in {threading.current_thread().name}"


async def give_what_cannot_be_stored() -> Any:
    """Return what is no JSON."""
    return {"deep": [object()]}


async def clean_up(word: str) -> None:
    """Stay until it is cancelled."""
    effect(f"in-{word}")
    try:
        await asyncio.Event().wait()
    finally:
        effect(f"out-{word}")


async def book(connection: psycopg.AsyncConnection[Any], word: str) -> int:
    """Make a row in the transaction that commits with the step's event."""
    await connection.execute("insert into bookings (word) values (%s)", (word,))
    return os.getpid()


async def book_badly(connection: psycopg.AsyncConnection[Any], word: str) -> None:
    """Make a row, and end the process."""
    await book(connection, word)
    os._exit(9)


@workflow
async def does_all(flow: Flow) -> dict[str, Any]:
    """Does what steps can do."""
    found: dict[str, Any] = {}
    found["retried"] = await flow.step(tell_process, "here", retry=Retry(attempts=2, backoff=0.01))
    found["thread"] = await flow.step(tell_thread, "was")
    try:
        await flow.step(give_what_cannot_be_stored)
    except StepFailed as error:
        found["misfit"] = error.type
    try:
        await flow.step(clean_up, "late", timeout=0.2, retry=Retry(attempts=1))
    except StepFailed as error:
        found["late"] = error.type
    found["booked"] = await flow.gather(*(flow.transaction(book, str(number)) for number in range(5)))
    return found


async def book_and_die(connection: psycopg.AsyncConnection[Any], word: str) -> None:
    """Make a row, and end the process before it hears what has become of the commit, which is slow."""
    await book(connection, word)
    asyncio.get_running_loop().call_later(0.5, hang_and_die)


def hang_and_die() -> None:
    """Hold the event loop up, and end the process."""
    time.sleep(1)
    os._exit(9)


@workflow
async def dies_committing(flow: Flow, word: str) -> None:
    """Has one transaction, whose process dies in the middle of its commit."""
    await flow.transaction(book_and_die, word)


async def send(word: str) -> tuple[int, str]:
    """Send through the application that it is of, and return where it ran, and what came."""
    run = await app.start(works, 0, id=word)
    again = app.run(works, word)
    assert (await again.describe()).id == run.id
    return os.getpid(), await run.result(timeout=20)


@workflow
async def sends(flow: Flow) -> tuple[int, str]:
    """Has one step, which sends through its own application."""
    return await flow.step(send, f"sent-by-{flow.id}")


@workflow
async def stays(flow: Flow) -> None:
    """Has one step, which stays."""
    await flow.step(clean_up, flow.id)


@workflow
async def books_badly(flow: Flow) -> None:
    """Has one transaction, which kills."""
    await flow.transaction(book_badly, "bad")


@workflow
async def dies(flow: Flow, when: str) -> None:
    """Ends the process by its own code: at once, when a signal comes, or after a step."""
    if when == "at once":
        os._exit(9)
    if when == "at a signal":
        await flow.signal("die")
        os._exit(9)
    await flow.step(work, f"before-{flow.id}", 0)
    if when == "after a step":
        os._exit(9)


class Poisonous(BaseModel):
    """An input that ends whoever reads it."""

    how: str

    @field_validator("how")
    @classmethod
    def read(cls, how: str) -> str:
        """End the process."""
        os._exit(9)


@workflow
async def dies_of_its_input(flow: Flow, given: Poisonous) -> None:
    """Comes to nothing: its input cannot be read."""


@workflow
async def dies_when_read(flow: Flow, word: str) -> int:
    """Does no harm until its code has changed."""
    if os.environ.get("VENOM_CHANGED"):
        os._exit(9)
    return await flow.step(at_gate, word)


@workflow
async def asks_twice(flow: Flow, first: str | None) -> str:
    """Waits for a word, goes on afresh, and waits for another."""
    word = await flow.signal("word", str)
    if first is None:
        flow.continue_as_new(word)
    return f"{first} {word}"


class Deadly(Decider[None, None], version=1):
    """Decides to die."""

    def decide(self, view: DecisionView[None]) -> Command:
        """End the process."""
        os._exit(9)


WORKFLOWS: list[Workflow[Any, Any]] = [
    bites,
    bites_among,
    works,
    walks,
    walks_carefully,
    does_all,
    sends,
    stays,
    books_badly,
    dies_committing,
    dies,
    dies_of_its_input,
    dies_when_read,
    asks_twice,
]

app = Revenant(
    workflows=[*WORKFLOWS, Deadly],
    settings=Settings(handler_timeout=float(os.environ.get("VENOM_TIMEOUT", "10"))),
)
"""For worker processes."""
