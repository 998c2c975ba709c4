"""Stepping: runs attempts of steps, outside any transaction, each in a task of its own; tells what they came to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from revenant import telemetry
from revenant.config import Settings
from revenant.worker.cells.cells import Deaths
from revenant.worker.cells.confined import ConfinedAttempt, Confinement
from revenant.worker.runs.attempt import RunningAttempt, Within
from revenant.worker.runs.came import Came
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.threads import Threads
from revenant.worker.underway import attempt_name
from revenant.workflows.attempts import BUDGET_EXCEEDED, function_of, is_suspect
from revenant.workflows.draft import Start
from revenant.workflows.operation import StepOperation

log = logging.getLogger("revenant.step")
Which = tuple[str, int, int]
"""An attempt: its stream, its operation, and its number."""


class Stepping:
    """The attempts that run in this process."""

    def __init__(
        self,
        *,
        settings: Settings,
        came: Callable[[Came], None],
        said: Callable[[Staged, int, int, str], None],
        within: Within,
        confinement: Confinement | None,
    ) -> None:
        self._limit = settings.max_bytes
        self._places = asyncio.Semaphore(settings.steps)
        self._came = came
        self._said = said
        self._within = within
        self._confinement = confinement
        self._threads = Threads(most=settings.step_threads)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[Which, asyncio.Task[None]] = {}
        self._deaths: dict[Which, Deaths] = {}
        """What attempts have seen of cells whose runs are read again: nobody knows yet what these came to."""

    @property
    def busy(self) -> bool:
        """Whether any attempt runs."""
        return bool(self._tasks)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks in which attempts run."""
        return set(self._tasks)

    def start(self, staged: Staged, start: Start) -> None:
        """Begin an attempt that is recorded."""
        address, step = staged.live.address, staged.live.view.operations[start.op].name
        name = attempt_name(address.workflow, address.key, step, start.attempt)
        which = staged.live.run, start.op, start.attempt
        task = asyncio.create_task(self._run(staged, start, which, self._running.get(which)), name=name)
        self._tasks.add(task)
        staged.tasks[start.op] = self._running[which] = task
        task.add_done_callback(partial(self._ended, which))

    def _ended(self, which: Which, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._running.get(which) is task:
            del self._running[which]

    async def _alone(self, which: Which, earlier: asyncio.Task[None] | None) -> None:
        """Wait until the same attempt is over that was begun here before, and whose run was read again since."""
        if earlier is not None:
            await asyncio.wait({earlier})
        if (left := self._threads.left(which)) is not None:
            await asyncio.wait({left})

    def stop(self, staged: Staged, op: int) -> None:
        """End an attempt that nobody waits for any more."""
        task = staged.tasks.pop(op, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End all attempts; safe twice."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)
        self._threads.close()

    async def _run(self, staged: Staged, start: Start, which: Which, earlier: asyncio.Task[None] | None) -> None:
        operation = function_of(staged.live, start.op)
        if operation is None:
            error = {"error": "RunFailed", "type": "UnknownStep", "message": "no code of it is known here"}
            self._came(Came(staged, start.op, start.attempt, None, error, retryable=False))
            return
        found = staged.live.view.operations[start.op]
        if self._confinement is not None and is_suspect(found):
            await self._alone(which, earlier)
            await self._run_confined(staged, start, operation.step.name, self._confinement)
            return
        async with self._places:
            is_alone = earlier is None and self._threads.left(which) is None
            within = self._within if isinstance(operation, StepOperation) and operation.transaction else None
            running = RunningAttempt(
                staged=staged, start=start, operation=operation, limit=self._limit, tell=self._tell, say=self._said,
                within=within, alone=None if is_alone else partial(self._alone, which, earlier),
            )  # fmt: skip
            if telemetry.handlers:
                telemetry.emit("step.start", {}, _place(staged, start.op, start.attempt, operation.step.name))
            await running.run(self._threads)

    async def _run_confined(self, staged: Staged, start: Start, name: str, confinement: Confinement) -> None:
        """Run an attempt in a process of its own: it was under way when workers died, and may be why."""
        began = time.perf_counter()
        if telemetry.handlers:
            telemetry.emit("step.start", {}, _place(staged, start.op, start.attempt, name))
        which = staged.live.run, start.op, start.attempt
        deaths = self._deaths.pop(which, None) or Deaths()

        def tell(came: Came) -> None:
            if came.lost and deaths != Deaths():
                self._deaths[which] = deaths
            self._tell(came, name, time.perf_counter() - began)

        running = ConfinedAttempt(
            staged=staged, start=start, confinement=confinement, deaths=deaths, tell=tell, say=self._said
        )  # fmt: skip
        await running.run()

    def _tell(self, came: Came, name: str, seconds: float) -> None:
        """Say what an attempt came to, to the runner and to whoever watches."""
        self._came(came)
        address = came.staged.live.address
        error = None if came.error is None else came.error["type"]
        if came.death is not None:
            error = BUDGET_EXCEEDED
            log.error(
                "Step %s of run %s(%r): attempt %d has ended the process in which nothing else ran (%s).",
                *(name, address.workflow, address.key, came.attempt, came.death),
            )
        outcome = "ok" if error is None else "error"
        if telemetry.handlers:
            told = _place(came.staged, came.op, came.attempt, name)
            telemetry.emit("step.handle", {"duration": seconds}, {**told, "outcome": outcome, "error": error})
        if came.error is not None:
            log.info(
                "Step %s of run %s(%r): attempt %d failed after %.1f ms: %s.",
                *(name, address.workflow, address.key, came.attempt, seconds * 1000, came.error["type"]),
            )


def _place(staged: Staged, op: int, attempt: int, step: str) -> dict[str, object]:
    """Return what is told of an attempt: whose it is, and which."""
    address = staged.live.address
    return {"workflow": address.workflow, "run_id": address.key, "op": op, "step": step, "attempt": attempt}
