"""RunningAttempt: one attempt of a step while it runs, in a task of its own, within its limits.

Invariant: unless it is cancelled from outside, it is told of exactly once, however it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, NamedTuple

from revenant.codec import ANYTHING, dump
from revenant.errors import AttemptEnded, HeartbeatTimeout, RevenantError
from revenant.worker.limits import Limits
from revenant.worker.stage import Staged
from revenant.worker.threads import Threads
from revenant.workflows.draft import Start
from revenant.workflows.ending import error_of
from revenant.workflows.operation import StepOperation, UndoOperation
from revenant.workflows.step import Attempt, Step, running_step


class Came(NamedTuple):
    """What an attempt came to: a result as what JSON holds, or an error."""

    staged: Staged
    op: int
    attempt: int
    result: Any
    error: dict[str, Any] | None
    retryable: bool


class RunningAttempt:
    """One attempt, in the current task."""

    def __init__(
        self,
        *,
        staged: Staged,
        start: Start,
        operation: StepOperation[Any] | UndoOperation,
        limit: int,
        tell: Callable[[Came, str, float], None],
        say: Callable[[Staged, int, int, str], None],
    ) -> None:
        self._limit = limit
        self._tell_all = tell
        self._say = say
        self._staged = staged
        self._start = start
        self._step: Step[..., Any] = operation.step
        self._operation = operation
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        options = operation.options
        self._limits = Limits(timeout=options.timeout, heartbeat=options.heartbeat, overrun=self._fail)
        self._told = False
        self._began = time.perf_counter()

    async def run(self, threads: Threads) -> None:
        """Run the function, and tell what it came to; only a cancellation from outside is not told of."""
        self._limits.begin()
        try:
            result = self._step.signature.result.write(await self._call(threads), limit=self._limit)
        except BaseException as error:
            if self._is_end(error):
                raise
            self._fail(self._limits.passed or error)
        else:
            if self._limits.passed is None:
                self._tell(Came(self._staged, self._start.op, self._start.attempt, result, None, retryable=False))
            else:
                # It has swallowed its cancellation; what it came to is too late.
                self._fail(self._limits.passed)
        finally:
            self._limits.end()

    def _is_end(self, error: BaseException) -> bool:
        """Whether this is the end of the task, and not the step's own doing."""
        if isinstance(error, GeneratorExit):
            return _running_task() is not self._task
        ours = self._limits.passed is not None
        return isinstance(error, asyncio.CancelledError) and self._task is not None and self._task.cancelling() > ours

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            error = RuntimeError("a CancelledError left the step")
        retry = self._operation.options.retry
        hopeless = isinstance(error, RevenantError) and not isinstance(error, HeartbeatTimeout)
        start = self._start
        retryable = retry.allows(error) and not hopeless
        self._tell(Came(self._staged, start.op, start.attempt, None, error_of(error), retryable))

    def _tell(self, came: Came) -> None:
        if not self._told:
            self._told = True
            self._tell_all(came, self._step.name, time.perf_counter() - self._began)

    async def _call(self, threads: Threads) -> Any:
        staged, start, step = self._staged, self._start, self._step
        args = step.signature.read(self._operation.args)
        running_step.set(
            Attempt(
                workflow=staged.live.workflow.name,
                run_id=staged.live.key,
                step=step.name,
                attempt=start.attempt,
                idempotency_key=staged.live.view.operations[start.op].asked["key"],
                progress=staged.progress.get(start.op),
                beat=self._beat,
            )
        )
        if step.is_async:
            return await step.function(*args)
        context = copy_context()
        return await threads.run(lambda: context.run(step.function, *args))

    def _beat(self, progress: Any) -> None:
        """Take in that the attempt lives, from any thread."""
        staged, start = self._staged, self._start
        if self._limits.passed is not None or staged.tasks.get(start.op) is not self._task:
            raise AttemptEnded(
                f"Attempt {start.attempt} of step {self._step.name} of run {staged.live.key!r} is not waited for "
                "any more: it took too long, or its run was cancelled or goes on elsewhere. It may as well stop."
            )
        self._limits.beat()
        if progress is not None:
            what = f"The progress of step {self._step.name}"
            text = dump(ANYTHING, progress, what=what, limit=self._limit)
            self._loop.call_soon_threadsafe(self._say, staged, start.op, start.attempt, text)


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # the loop is gone, and what it left is being closed
