"""Desk: whoever is asked about claims over the limit; it decides by a rule, where people would read and think."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from revenant.app import Revenant
from revenant.client.approving import Approval
from revenant.demo.ops.claim import PATIENCE
from revenant.errors import AlreadyAnswered, CallTimeout, RunRefused

PAUSE = 0.02
"""Seconds between two looks at what waits."""


class Desk:
    """Answers what waits for it, until it is stopped."""

    def __init__(self, *, app: Revenant, name: str) -> None:
        self._app = app
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the desk."""
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Close it; safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def run_once(self) -> None:
        """Answer all that waits now."""
        await asyncio.gather(*map(self._answer, await self._app.approvals(assignee=self._name)))

    async def _go_on(self) -> None:
        while True:
            await self.run_once()
            await asyncio.sleep(PAUSE)

    async def _answer(self, approval: Approval) -> None:
        # Of one whose answer is unknown, or was given at the last look, the next look tells.
        with suppress(AlreadyAnswered, CallTimeout, RunRefused):
            if approval.about["minutes"] >= PATIENCE:
                await approval.approve(by=self._name)
            else:
                await approval.reject(by=self._name, reason="not late enough for so much")
