"""Runs of any shape: a body is data, made by chance, and one workflow does what it says. Worker processes import this."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from revenant.app import Revenant
from revenant.errors import RevenantError
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import current_step, step
from revenant.workflows.workflow import workflow
from tests.entities import Account

Body = list[Any]
"""A word, and what it needs."""
QUICK = Retry(attempts=3, backoff=0.02, longest=0.1)
NAMES = ("a", "b", "c")
"""Of signals, updates and approvals."""


class Refused(Exception):
    """What steps and bodies raise."""


def note(label: int) -> None:
    """Write down outside of everything that an attempt has begun: a file for each time."""
    step = current_step()
    folder = Path(os.environ["REVENANT_TEST_EFFECTS"])
    (folder / f"{step.idempotency_key}.{step.attempt}.{label}.{uuid4().hex}").touch()


async def act(label: int, fails: int, seconds: float) -> int:
    """Fail so many times, then return."""
    note(label)
    await asyncio.sleep(seconds)
    if current_step().attempt <= fails:
        raise Refused(f"{label} failed")
    return label


def act_in_a_thread(label: int, fails: int, seconds: float) -> int:
    """The same, where nobody can cancel it."""
    note(label)
    time.sleep(seconds)
    if current_step().attempt <= fails:
        raise Refused(f"{label} failed")
    return label


async def kill(label: int) -> int:
    """Kill the worker the first time."""
    mark = Path(os.environ["REVENANT_TEST_EFFECTS"]) / f"killed-{current_step().idempotency_key}"
    note(label)
    if os.environ.get("REVENANT_TEST_KILLS") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return label


async def insert(connection: psycopg.AsyncConnection[Any], label: int) -> int:
    """Insert a row that commits with the record of it."""
    await connection.execute("insert into storm_rows (key) values (%s)", (current_step().idempotency_key,))
    return label


@step(external=True)
async def outside(label: int) -> int:
    """Done by whoever takes it."""
    return label


async def undo(label: int) -> None:
    """Undo a step."""
    note(label)


@workflow
async def tempest(flow: Flow, body: Body) -> Any:
    """Do what the body says."""
    return await _do(flow, body)


async def _do(flow: Flow, body: Body) -> Any:
    word, *more = body
    if word == "seq":
        return [await _do(flow, one) for one in more[0]]
    if word in ("all", "any"):
        parts = [_do(flow, one) for one in more[0]]
        return await (flow.gather(*parts) if word == "all" else flow.race(*parts))
    if word == "try":
        try:
            return await _do(flow, more[0])
        except (RevenantError, Refused):
            return await _do(flow, more[1])
    if word == "raise":
        raise Refused("as the body says")
    if word == "afresh":
        flow.continue_as_new(more[0])
    return await _ask(flow, word, more)


async def _ask(flow: Flow, word: str, more: list[Any]) -> Any:
    asked = _ASKS[word](flow, *more)
    return await asked if isinstance(asked, Awaitable) else asked


async def _step(flow: Flow, label: int, fails: int, seconds: float, *how: bool) -> Any:
    threaded, undone = how
    came = await flow.step(act_in_a_thread if threaded else act, label, fails, seconds, retry=QUICK)
    if undone:
        await flow.on_failure(undo, label, retry=QUICK)
    return came


async def _update(flow: Flow, name: str, timeout: float | None) -> None:
    request = await flow.update(name, timeout=timeout)
    await request.reply(request.value)


async def _approval(flow: Flow, name: str, deadline: float | None) -> bool:
    return (await flow.approval(name, deadline=deadline)).approved


async def _item(given: tuple[int, int, float]) -> int:
    return await act(*given)


@workflow(timeout=1.5)
async def gust(flow: Flow, body: Body) -> Any:
    """The same, and not for long."""
    return await _do(flow, body)


newer = workflow(name="tempest", version=2)(tempest.function)
WORKFLOWS = (newer, gust)
"""Those that runs are started of."""
app = Revenant(entities=[Account], workflows=[tempest, *WORKFLOWS])
_ASKS: dict[str, Callable[..., Any]] = {
    "step": _step,
    "map": lambda flow, labels: flow.map(_item, [(label, 0, 0.0) for label in labels], limit=2),
    "kill": lambda flow, label: flow.step(kill, label, recoveries=9),
    "outside": lambda flow, label: flow.step(outside, label, retry=QUICK),
    "insert": lambda flow, label: flow.transaction(insert, label),
    "sleep": lambda flow, seconds: flow.sleep(seconds),
    "signal": lambda flow, name, timeout: flow.signal(name, timeout=timeout),
    "update": _update,
    "approval": _approval,
    "call": lambda flow, key: flow.call(app.ref(Account, key).deposit(1)),
    "cast": lambda flow, key: flow.cast(app.ref(Account, key).deposit(1)),
    "child": lambda flow, body, wait, on_close: flow.child(tempest, body, wait=wait, on_close=on_close),
    "patched": lambda flow, name: flow.patched(name),
    "show": lambda flow, what: flow.show(what),
}


class Bodies:
    """Makes bodies by chance."""

    def __init__(
        self, chance: random.Random, *, slow: float = 0.1, kills: bool = False, accounts: Sequence[str] = ("x", "y")
    ) -> None:
        self._chance = chance
        self._accounts = accounts
        self._slow = slow
        self._kills = kills
        self._labels = 0

    def label(self) -> int:
        """Return a number that no other step of this storm has."""
        self._labels += 1
        return self._labels

    def run(self) -> Body:
        """Return the body of a run."""
        return ["seq", [self.body(3) for _ in range(self._chance.randint(1, 4))]]

    def body(self, depth: int) -> Body:
        """Return a body of at most that depth."""
        chance = self._chance
        if depth == 0 or chance.random() < 0.2:
            return self._leaf()
        word = chance.choice(["seq", "seq", "seq", "all", "all", "any", "try", "try", "afresh", "child"])
        if word in ("seq", "all", "any"):
            return [word, [self.body(depth - 1) for _ in range(chance.randint(2, 4))]]
        if word == "try":
            return ["try", self.body(depth - 1), self._leaf()]
        if word == "afresh":
            return ["seq", [self._leaf(), ["afresh", self.body(depth - 1)]]]
        return ["child", self.body(depth - 1), chance.random() < 0.7, chance.choice([None, "cancel", "abandon"])]

    def _leaf(self) -> Body:
        chance = self._chance
        word = chance.choice([
            *["step"] * 6, "map", "insert", "insert", "outside", "sleep", "signal", "signal", "update", "approval", "call", "cast",
            *["patched"] * 2, "show", *["kill"] * self._kills, *["raise"] * (chance.random() < 0.3),
        ])  # fmt: skip
        limit = chance.choice([None, 0.05, 0.3, 60.0])
        match word:
            case "step":
                fails = chance.choice([0, 0, 0, 1, 2, 9])
                seconds = chance.choice([0.0, 0.0, 0.01, self._slow])
                return [word, self.label(), fails, seconds, chance.random() < 0.2, chance.random() < 0.6]
            case "map":
                return [word, [self.label() for _ in range(4)]]
            case "kill" | "insert" | "outside":
                return [word, self.label()]
            case "sleep":
                return [word, chance.choice([0.01, 0.05, self._slow, *[60.0] * (chance.random() < 0.1)])]
            case "signal" | "update" | "approval":
                return [word, chance.choice(NAMES), limit]
            case "call" | "cast":
                return [word, chance.choice(self._accounts)]
            case "patched" | "show":
                return [word, f"p{chance.randint(1, 3)}"]
        return [word]
