"""Entities whose handlers take the process down, or hold it up; `revenant worker --app tests.poison:app`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerCrashed
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow


class Bomb(Entity):
    """What must not be opened."""

    steps: int = 0

    @handler
    async def step(self) -> int:
        self.steps += 1
        return self.steps

    @handler
    async def explode(self, how: str) -> int:
        self.steps += 100
        _say_that_it_runs()
        match how:
            case "exit":
                os._exit(9)
            case "segfault":
                ctypes.string_at(0)
            case "memory":
                os.kill(os.getpid(), signal.SIGKILL)  # as the system does where there is none left
            case "sleep":
                time.sleep(600)  # noqa: ASYNC251 # what a careless handler does
        return self.steps

    @handler
    async def linger(self) -> int:
        """Stay inside until the test opens the gate."""
        self.steps += 1
        _say_that_it_runs()
        while not (_folder() / "open").exists():  # noqa: ASYNC110 # another process opens it
            await asyncio.sleep(0.005)
        return self.steps


class LazyBomb(Bomb, durability=Interval(seconds=60)):
    """One that lives in a worker's memory."""


@workflow
async def opens(flow: Flow, how: str) -> str:
    """Calls what takes its worker down."""
    try:
        return str(await flow.call(Revenant().ref(Bomb, flow.id).explode(how)))
    except HandlerCrashed as error:
        return type(error).__name__


async def block(how: str) -> None:
    """Hold the event loop up, in a step."""
    _say_that_it_runs()
    time.sleep(600)  # noqa: ASYNC251 # what a careless step does


@workflow
async def blocks(flow: Flow, where: str) -> None:
    """Holds the event loop up: in a step, or in its own code."""
    if where == "code":
        time.sleep(600)  # noqa: ASYNC251 # what careless code does
    await flow.step(block, where)


def _folder() -> Path:
    return Path(os.environ["REVENANT_TEST_GATE"])


def _say_that_it_runs() -> None:
    (_folder() / f"in-{os.getpid()}").touch()


app = Revenant(
    entities=[Bomb, LazyBomb],
    workflows=[opens, blocks],
    settings=Settings(handler_timeout=float(os.environ.get("POISON_TIMEOUT", "10"))),
)
"""For worker processes."""
