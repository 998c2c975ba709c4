"""Runs for blocking code: the doors by which `Sync` starts and finds them, and a handle of one; each of them waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar, overload

from revenant.client.approving import Approval
from revenant.client.external import ExternalStep
from revenant.client.run import Run
from revenant.sync_steps import BlockingExternalStep
from revenant.workflows.decider import Decider
from revenant.workflows.description import RunDescription
from revenant.workflows.events import Event
from revenant.workflows.standing import Standing
from revenant.workflows.workflow import Workflow

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
R = TypeVar("R")
T = TypeVar("T")
Do = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
"""Has the application's loop run what the function makes, and waits for it."""
Which = Workflow[Any, Any] | type[Decider[Any, Any]] | str


class BlockingRun(Generic[R]):
    """One run of a workflow for blocking code: the same names as `Run`, and each waits."""

    def __init__(self, *, run: Run[R], do: Do) -> None:
        self.id = run.id
        self.workflow = run.workflow
        self.behind = run
        """The handle of the async application, for its own loop only."""
        self._do = do

    def __repr__(self) -> str:
        return repr(self.behind)

    def result(self, *, timeout: float | None = None) -> R:
        """Wait for the run's end, and return its result; see `Run.result`."""
        return self._do(lambda: self.behind.result(timeout=timeout))  # type: ignore[no-any-return]  # as Run says

    def signal(self, name: str, payload: Any = None, *, id: str | None = None, timeout: float | None = None) -> bool:
        """Send a signal; see `Run.signal`."""
        return bool(self._do(lambda: self.behind.signal(name, payload, id=id, timeout=timeout)))

    def update(
        self, name: str, payload: Any = None, *, id: str | None = None, returns: Any = Any, timeout: float | None = None
    ) -> Any:
        """Send an update, and wait for what the run's code answers; see `Run.update`."""
        return self._do(lambda: self.behind.update(name, payload, id=id, returns=returns, timeout=timeout))

    def state(self) -> Any:
        """Return what the run's code shows; see `Run.state`."""
        return self._do(self.behind.state)

    def describe(self) -> RunDescription:
        """Return where the run stands; see `Run.describe`."""
        return self._do(self.behind.describe)  # type: ignore[no-any-return]  # as Run says

    def history(self) -> list[Event]:
        """Return the run's events; see `Run.history`."""
        return self._do(self.behind.history)  # type: ignore[no-any-return]  # as Run says

    def approve(self, name: str, *, by: str, form: Any = None, timeout: float | None = None) -> None:
        """Approve what the run asks under that name; see `Run.approve`."""
        self._do(lambda: self.behind.approve(name, by=by, form=form, timeout=timeout))

    def reject(self, name: str, *, by: str, reason: str | None = None, timeout: float | None = None) -> None:
        """Reject what the run asks under that name; see `Run.reject`."""
        self._do(lambda: self.behind.reject(name, by=by, reason=reason, timeout=timeout))

    def cancel(self, reason: str | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run end; see `Run.cancel`."""
        return self._do(lambda: self.behind.cancel(reason, timeout=timeout))  # type: ignore[no-any-return]  # as Run says

    def park(self, reason: str | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run begin nothing new until it is resumed; see `Run.park`."""
        return self._do(lambda: self.behind.park(reason, timeout=timeout))  # type: ignore[no-any-return]  # as Run says

    def resume(self, *, timeout: float | None = None) -> Standing:
        """Have a parked run go on; see `Run.resume`."""
        return self._do(lambda: self.behind.resume(timeout=timeout))  # type: ignore[no-any-return]  # as Run says

    def requeue(self, *, timeout: float | None = None) -> Standing:
        """Have a blocked run tried again; see `Run.requeue`."""
        return self._do(lambda: self.behind.requeue(timeout=timeout))  # type: ignore[no-any-return]  # as Run says

    def migrate(self, version: int | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run go on with another version of its code; see `Run.migrate`."""
        return self._do(lambda: self.behind.migrate(version, timeout=timeout))  # type: ignore[no-any-return]  # as Run says


class BlockingRuns(ABC):
    """What blocking code does with workflows."""

    @abstractmethod
    def _open(self) -> None:
        """Begin to send."""

    @abstractmethod
    def _do(self, make: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Have the application's loop run what the function makes of the application, and wait for it."""

    @overload
    def start(self) -> None: ...

    @overload
    def start(
        self, workflow: Workflow[None, R], input: None = ..., *, id: str, timeout: float | None = ...
    ) -> BlockingRun[R]: ...

    @overload
    def start(self, workflow: Workflow[I, R], input: I, *, id: str, timeout: float | None = ...) -> BlockingRun[R]: ...

    @overload
    def start(
        self, workflow: type[Decider[Any, R]] | str, input: Any = ..., *, id: str, timeout: float | None = ...
    ) -> BlockingRun[Any]: ...

    def start(
        self, workflow: Which | None = None, input: Any = None, *, id: str | None = None, timeout: float | None = None
    ) -> BlockingRun[Any] | None:
        """Start a run of a workflow, see `Revenant.start`; without a workflow, begin to send."""
        if workflow is None:
            self._open()
            return None
        return self._handle(self._do(lambda app: app.start(workflow, input, id=id, timeout=timeout)))

    @overload
    def run(self, workflow: Workflow[Any, R], id: str) -> BlockingRun[R]: ...

    @overload
    def run(self, workflow: type[Decider[Any, Any]] | str, id: str) -> BlockingRun[Any]: ...

    def run(self, workflow: Which, id: str) -> BlockingRun[Any]:
        """Return the handle of a run that was started before, by anybody."""

        async def found(app: Any) -> Run[Any]:
            return app.run(workflow, id)  # type: ignore[no-any-return]  # as Revenant.run says

        return self._handle(self._do(found))

    def fork(
        self,
        run: BlockingRun[R],
        *,
        id: str,
        step: str | int | None = None,
        version: int | None = None,
        even_undone: bool = False,
        timeout: float | None = None,
    ) -> BlockingRun[R]:
        """Start another run with this one's history, up to before a step; see `Revenant.fork`."""
        return self._handle(
            self._do(
                lambda app: app.fork(
                    run.behind, id=id, step=step, version=version, even_undone=even_undone, timeout=timeout
                )
            )
        )

    def approvals(
        self, *, assignee: str | None = None, workflow: Workflow[Any, Any] | str | None = None, limit: int = 500
    ) -> list[Approval]:
        """Return the approvals that wait, to look at; `rv.run(…).approve(…)` answers. See `Revenant.approvals`."""
        found: list[Approval] = self._do(lambda app: app.approvals(assignee=assignee, workflow=workflow, limit=limit))
        return found

    def external(
        self, name: str, *, holder: str | None = None, claim: float = 30.0, poll: float = 0.5
    ) -> Iterator[BlockingExternalStep]:
        """Take the external steps of that name, one after another; see `Revenant.external`."""

        async def begin(app: Any) -> AsyncIterator[ExternalStep]:
            return app.external(name, holder=holder, claim=claim, poll=poll)  # type: ignore[no-any-return]  # as Revenant.external says

        async def next_of(steps: AsyncIterator[ExternalStep]) -> ExternalStep:
            return await anext(steps)

        steps = self._do(begin)
        while True:
            found = self._do(lambda _: next_of(steps))
            yield BlockingExternalStep(step=found, do=lambda make: self._do(lambda _: make()))

    def _handle(self, run: Run[R]) -> BlockingRun[R]:
        return BlockingRun(run=run, do=lambda make: self._do(lambda _: make()))
