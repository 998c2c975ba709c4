"""Workflows whose steps fork; `revenant worker --app tests.forks:app`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import Workflow, workflow
from tests.errands import at_gate, effect


async def leave_child(word: str) -> int:
    """Fork a child that stays, as those of a pool do, and wait at the gate."""
    if os.fork() == 0:
        effect(f"{word}-child")
        time.sleep(60)  # noqa: ASYNC251 # a process of its own
        os._exit(0)
    return await at_gate(word)


async def come_back(word: str) -> int:
    """Fork a child that forgets to end."""
    if os.fork() == 0:
        effect(f"{word}-child")
    await asyncio.sleep(0.01)
    return os.getpid()


def come_back_in_thread(word: str) -> int:
    """The same, in a thread."""
    if os.fork() == 0:
        effect(f"{word}-child")
    return os.getpid()


@workflow
async def leaves_child(flow: Flow) -> int:
    """Has one step, which leaves a child."""
    return await flow.step(leave_child, flow.id)


@workflow
async def comes_back(flow: Flow) -> list[int]:
    """Has two steps, whose children go on in their place."""
    return [await flow.step(come_back, flow.id), await flow.step(come_back_in_thread, flow.id)]


class Twin(Entity):
    """Has a handler that forks."""

    count: int = 0

    @handler
    async def double(self, word: str) -> int:
        """Fork a child that forgets to end."""
        if os.fork() == 0:
            effect(f"{word}-child")
        self.count += 1
        await asyncio.sleep(0.01)
        return self.count


WORKFLOWS: list[Workflow[Any, Any]] = [leaves_child, comes_back]
app = Revenant(entities=[Twin], workflows=WORKFLOWS)
"""For worker processes."""
