"""RunningAttempt: one attempt of a step while it runs, in a task of its own, within its limits.

Invariant: unless it is cancelled from outside, it is told of exactly once, however it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import psycopg

from revenant.codec import ANYTHING, dump
from revenant.errors import AttemptEnded, ConfigurationError, HeartbeatTimeout, RevenantError
from revenant.queue.connection import refuses_data
from revenant.worker.runs.appending import Append
from revenant.worker.runs.came import Came
from revenant.worker.runs.holding import Holds
from revenant.worker.runs.limits import Limits
from revenant.worker.runs.stage import Staged
from revenant.worker.runs.threads import Threads
from revenant.worker.runs.transacting import Transacting
from revenant.workflows.draft import Start
from revenant.workflows.ending import error_of
from revenant.workflows.operation import StepOperation, UndoOperation
from revenant.workflows.step import Attempt, Step, running_step

Within = tuple[Transacting | None, Holds]
"""Where an attempt's SQL commits with its event, and who holds its run meanwhile."""


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
        within: Within | None = None,
        alone: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._alone = alone
        self._limit = limit
        self._within = within
        self._tell_all = tell
        self._say = say
        self._staged = staged
        self._start = start
        self._step: Step[..., Any] = operation.step
        self._operation = operation
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        options = operation.options
        self._seconds = options.timeout
        if within is not None and within[0] is not None and self._seconds is None:
            self._seconds = within[0].timeout
        self._limits = Limits(timeout=self._seconds, heartbeat=options.heartbeat, overrun=self._fail)
        self._told = False
        self._denied = False
        """Whether nobody waits for this attempt any more."""
        self._began = time.perf_counter()

    async def run(self, threads: Threads) -> None:
        """Run the function, and tell what it came to; only a cancellation from outside is not told of."""
        self._limits.begin(self._task)
        try:
            if self._alone is not None:
                await self._alone()
            if self._within is not None:
                came = await self._transact(*self._within)
            else:
                came = self._came(self._written(await self._call(threads)))
        except BaseException as error:
            if self._is_end(error):
                raise
            self._fail(self._limits.passed or error)
        else:
            if self._limits.passed is not None and came.event is None:
                # It has swallowed its cancellation; what it came to is too late.
                self._fail(self._limits.passed)
            elif not self._denied:
                self._tell(came)
        finally:
            self._limits.end()
            # Its task knows this attempt by that, and is known by it: what forms no ring is gone at once.
            running_step.set(None)

    def _is_end(self, error: BaseException) -> bool:
        """Whether this is the end of the task, and not the step's own doing."""
        if isinstance(error, GeneratorExit):
            return _running_task() is not self._task
        ours = self._limits.passed is not None
        return isinstance(error, asyncio.CancelledError) and self._task.cancelling() > ours

    def _came(self, result: Any, **more: Any) -> Came:
        return Came(self._staged, self._start.op, self._start.attempt, result, None, retryable=False, **more)

    def _written(self, value: Any) -> Any:
        return self._step.signature.result.write(value, limit=self._limit)

    async def _transact(self, transacting: Transacting | None, holding: Holds) -> Came:
        """Run the function in a transaction of its own, which commits with its event."""
        if transacting is None or self._seconds is None:
            raise ConfigurationError(
                f"Step {self._step.name} is run by flow.transaction(), and there is no Postgres here for its SQL. "
                "Nothing was run; test this one with a database, as `revenant.testing` gives you one."
            )
        args = self._step.in_transaction.read(self._asked["input"])
        self._enter()

        async def hold(result: Any) -> Append | None:
            if self._limits.passed is not None:
                raise self._limits.passed
            part = await holding.hold(self._staged, self._start.op, self._start.attempt, result)
            # From here on the commit decides.
            self._limits.end()
            self._denied = part is None
            return part

        part = await transacting.run(
            lambda connection: self._step.function(connection, *args),
            seconds=self._seconds, write=self._written, hold=hold,
        )  # fmt: skip
        return self._came(None, lost=True) if part is None else self._came(None, event=part.draft.events[0])

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            error = RuntimeError("a CancelledError left the step")
        retry = self._operation.options.retry
        hopeless = isinstance(error, RevenantError) and not isinstance(error, HeartbeatTimeout)
        # A transaction that lost a race, or its connection, may well succeed the next time.
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not refuses_data(error)
        passing = lost and self._within is not None
        start = self._start
        retryable = not hopeless and (retry.allows(error) or (passing and not isinstance(error, retry.never)))
        self._tell(Came(self._staged, start.op, start.attempt, None, error_of(error), retryable))

    def _tell(self, came: Came) -> None:
        if not self._told:
            self._told = True
            self._tell_all(came, self._step.name, time.perf_counter() - self._began)

    async def _call(self, threads: Threads) -> Any:
        step = self._step
        args = step.signature.read(self._asked["input"])
        self._enter()
        if step.is_async:
            return await step.function(*args)
        context = copy_context()
        which = self._staged.live.run, self._start.op, self._start.attempt
        return await threads.run(lambda: context.run(step.function, *args), name=which)

    @property
    def _asked(self) -> dict[str, Any]:
        """As it was recorded: code that has changed since may ask with something else."""
        return self._staged.live.view.operations[self._start.op].asked

    def _enter(self) -> None:
        """Let the function know which attempt it is."""
        staged, start, step = self._staged, self._start, self._step
        running_step.set(
            Attempt(
                workflow=staged.live.workflow.name,
                run_id=staged.live.key,
                step=step.name,
                attempt=start.attempt,
                idempotency_key=self._asked["key"],
                progress=staged.progress.get(start.op),
                beat=self._beat,
            )
        )

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
            self._task.get_loop().call_soon_threadsafe(self._say, staged, start.op, start.attempt, text)


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # the loop is gone, and what it left is being closed
