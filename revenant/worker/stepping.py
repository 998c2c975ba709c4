"""Stepping: runs attempts of steps, outside any transaction, each in a task of its own; tells what they came to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple

from revenant import telemetry
from revenant.config import Settings
from revenant.errors import RevenantError
from revenant.worker.stage import Staged
from revenant.workflows.attempts import function_of
from revenant.workflows.draft import Start
from revenant.workflows.ending import error_of
from revenant.workflows.step import Attempt, Step, StepOptions, running_step

log = logging.getLogger("revenant.step")


class Came(NamedTuple):
    """What an attempt came to: a result as what JSON holds, or an error."""

    staged: Staged
    op: int
    attempt: int
    result: Any
    error: dict[str, Any] | None
    retryable: bool


class Stepping:
    """The attempts that run in this process."""

    def __init__(self, *, settings: Settings, came: Callable[[Came], None]) -> None:
        self._limit = settings.max_bytes
        self._places = asyncio.Semaphore(settings.steps)
        self._came = came
        self._threads = ThreadPoolExecutor(settings.step_threads, thread_name_prefix="revenant-step")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether any attempt runs."""
        return bool(self._tasks)

    def start(self, staged: Staged, start: Start) -> None:
        """Begin an attempt that is recorded."""
        task = asyncio.create_task(self._run(staged, start), name=f"revenant-step-{start.op}")
        self._tasks.add(task)
        staged.tasks[start.op] = task
        task.add_done_callback(self._tasks.discard)

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
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, staged: Staged, start: Start) -> None:
        operation = function_of(staged.live, start.op)
        if operation is None:
            error = {"error": "RunFailed", "type": "UnknownStep", "message": "no code of it is known here"}
            self._came(Came(staged, start.op, start.attempt, None, error, retryable=False))
            return
        began = time.perf_counter()
        async with self._places:
            try:
                value = await self._call(staged, start, operation.step, operation.options, operation.args)
                result = operation.step.signature.result.write(value, limit=self._limit)
                came = Came(staged, start.op, start.attempt, result, None, retryable=False)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                came = _failure(staged, start, RuntimeError("a CancelledError left the step"), retryable=True)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 # whatever a step raises is how its attempt ended
                retryable = operation.options.retry.allows(error) and not isinstance(error, _HOPELESS)
                came = _failure(staged, start, error, retryable=retryable)
        self._tell(came, operation.step.name, time.perf_counter() - began)
        self._came(came)

    async def _call(self, staged: Staged, start: Start, step: Step[..., Any], options: StepOptions, stored: Any) -> Any:
        args = step.signature.read(stored)
        found = staged.live.view.operations[start.op]
        running_step.set(
            Attempt(
                workflow=staged.live.workflow.name,
                run_id=staged.live.key,
                step=step.name,
                attempt=start.attempt,
                idempotency_key=found.asked["key"],
                progress=None,
                beat=lambda progress: None,
            )
        )
        if options.timeout is None:
            return await self._function(step, args)
        try:
            async with asyncio.timeout(options.timeout) as limit:
                return await self._function(step, args)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(f"the attempt took longer than {options.timeout:g} s") from error

    async def _function(self, step: Step[..., Any], args: list[Any]) -> Any:
        if step.is_async:
            return await step.function(*args)
        loop = asyncio.get_running_loop()
        context = copy_context()
        return await loop.run_in_executor(self._threads, lambda: context.run(step.function, *args))

    def _tell(self, came: Came, name: str, seconds: float) -> None:
        address = came.staged.live.address
        outcome = "ok" if came.error is None else "error"
        if telemetry.handlers:
            told = {"workflow": address.workflow, "run_id": address.key, "step": name, "attempt": came.attempt}
            error = None if came.error is None else came.error["type"]
            telemetry.emit("step.handle", {"duration": seconds}, {**told, "outcome": outcome, "error": error})
        if came.error is not None:
            log.info(
                "Step %s of run %s(%r): attempt %d failed after %.1f ms: %s.",
                *(name, address.workflow, address.key, came.attempt, seconds * 1000, came.error["type"]),
            )


_HOPELESS = (RevenantError,)
"""Errors of our own, such as results that cannot be stored: another attempt would end the same."""


def _failure(staged: Staged, start: Start, error: BaseException, *, retryable: bool) -> Came:
    return Came(staged, start.op, start.attempt, None, error_of(error), retryable)
