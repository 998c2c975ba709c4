"""Workflows that take their process down, and others that do not; `revenant worker --app tests.venom:app`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time

from revenant.app import Revenant
from revenant.config import Settings
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.errands import effect, walks


async def bite(how: str) -> None:
    """End the process, or hold it up for good, or do nothing."""
    match how:
        case "exit":
            os._exit(9)
        case "segfault":
            ctypes.string_at(0)
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


app = Revenant(
    workflows=[bites, bites_among, works, walks],
    settings=Settings(handler_timeout=float(os.environ.get("VENOM_TIMEOUT", "10"))),
)
"""For worker processes."""
