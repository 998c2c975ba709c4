"""Starting: the doors by which runs of workflows are started and found again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from pydantic_core import from_json

from revenant.client.approving import Approval, approval_of
from revenant.client.forking import fork_message
from revenant.client.records import Records
from revenant.client.run import Run
from revenant.entities.message import Message
from revenant.entities.runs import run_kind, run_start
from revenant.errors import ConfigurationError, InvalidKey
from revenant.workflows.decider import Decider, DeciderWorkflow, as_workflow
from revenant.workflows.workflow import KIND, Workflow

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
R = TypeVar("R")


class Sending(Protocol):
    """What sends to runs."""

    records: Records

    async def call(self, message: Message[Any], *, timeout: float | None = None) -> Any:
        """Send, and wait for the reply."""

    def run(
        self,
        kind: str,
        key: str,
        *,
        read: Callable[[Any], R],
        heard: bool = False,
        decider: DeciderWorkflow[Any, Any] | None = None,
    ) -> Run[R]:
        """Return the handle of a run; `heard` when it is about to be started here."""
        ...


class Starting(ABC):
    """What an application does with workflows."""

    @overload
    async def start(self) -> None: ...

    @overload
    async def start(
        self, workflow: Workflow[None, R], input: None = ..., *, id: str, timeout: float | None = ...
    ) -> Run[R]: ...

    @overload
    async def start(self, workflow: Workflow[I, R], input: I, *, id: str, timeout: float | None = ...) -> Run[R]: ...

    @overload
    async def start(
        self, workflow: type[Decider[None, R]], input: None = ..., *, id: str, timeout: float | None = ...
    ) -> Run[R]: ...

    @overload
    async def start(
        self, workflow: type[Decider[I, R]], input: I, *, id: str, timeout: float | None = ...
    ) -> Run[R]: ...

    @overload
    async def start(self, workflow: str, input: Any = ..., *, id: str, timeout: float | None = ...) -> Run[Any]: ...

    async def start(
        self,
        workflow: Workflow[Any, Any] | type[Decider[Any, Any]] | str | None = None,
        input: Any = None,
        *,
        id: str | None = None,
        timeout: float | None = None,
    ) -> Run[Any] | None:
        """Start a run of a workflow: it is recorded when this returns. Without a workflow, start the application.

        The id is the idempotency key: the same start again is the same run.

        Raises:
            RunExists: a run of that id was started with another input.
            InvalidArguments: the input does not fit the workflow's annotation.
            CallTimeout: it is unknown whether it was started; start it again.
        """
        if workflow is None:
            await self._open()
            return None
        client = self._client_for("app.start")
        if id is None:
            raise InvalidKey(
                f"A run of {workflow!r} was to be started without an id. Give it one that says what it is about, such "
                'as id="order-42": the same start again is then the same run.'
            )
        kind, message = start_message(workflow, input, id=id, limit=self._limit())
        run = client.run(kind, id, read=_reader(workflow), heard=True, decider=_decider(workflow))
        await client.call(message, timeout=timeout)
        return run

    @overload
    def run(self, workflow: Workflow[Any, R], id: str) -> Run[R]: ...

    @overload
    def run(self, workflow: type[Decider[Any, R]], id: str) -> Run[R]: ...

    @overload
    def run(self, workflow: str, id: str) -> Run[Any]: ...

    def run(self, workflow: Workflow[Any, Any] | type[Decider[Any, Any]] | str, id: str) -> Run[Any]:
        """Return the handle of a run that was started before, by anybody."""
        return self._client_for("app.run").run(
            _kind(workflow, "app.run"), id, read=_reader(workflow), decider=_decider(workflow)
        )

    async def fork(
        self,
        run: Run[R],
        *,
        id: str,
        step: str | int | None = None,
        version: int | None = None,
        even_undone: bool = False,
        timeout: float | None = None,
    ) -> Run[R]:
        """Start another run with this one's history, up to before a step was asked for; from there on it goes anew.

        `step` is its name, or its number where several have that name; else the last one that failed. `version` is that
        of the code to go on with; else the run's own. What was open then, such as steps beside this one, is done anew
        as well; signals that came later are not known to the new run. The same fork again is the same run.

        What a run that failed or was cancelled has undone, a fork would take for done: it is refused, but for one from
        before that on, or with `even_undone`, where it is there again by other means.

        Raises:
            RunNotFound: there is no such run.
            RunExists: a run of that id was started in another way.
            ConfigurationError: the run has not asked for that step, or several times, or what it did before is undone.
        """
        if not isinstance(run, Run):
            raise ConfigurationError(
                f"app.fork() takes a run, as app.run(workflow, id) gives one, and got {run!r}. Nothing was forked."
            )
        client = self._client_for("app.fork")
        message = await fork_message(
            client.records, run.workflow, run.id, id=id, step=step, version=version, even_undone=even_undone
        )
        await client.call(message, timeout=timeout)
        return run.sibling(id)

    async def approvals(
        self, *, assignee: str | None = None, workflow: Workflow[Any, Any] | str | None = None, limit: int = 500
    ) -> list[Approval]:
        """Return the approvals that wait, the oldest first, at most `limit`; of one assignee or workflow, if given."""
        client = self._client_for("app.approvals")
        kind = None if workflow is None else _kind(workflow, "app.approvals")
        found: list[Approval] = []
        for row in await client.records.approvals(assignee=assignee, kind=kind, limit=limit):
            run = client.run(f"{KIND}{row['workflow']}", row["run_id"], read=from_json)
            found.append(approval_of(row, run.decide))
        return found

    @abstractmethod
    async def _open(self) -> None:
        """Start the application."""

    @abstractmethod
    def _client_for(self, door: str) -> Sending:
        """Return the started client."""

    @abstractmethod
    def _limit(self) -> int:
        """Return the bytes that an input may take."""


def start_message(
    workflow: Workflow[Any, Any] | type[Decider[Any, Any]] | str, input: Any, *, id: str, limit: int
) -> tuple[str, Message[Any]]:
    """Return the kind of a run, and the message that starts it."""
    found = as_workflow(workflow)
    message = run_start(workflow if found is None else found, input, id=id, limit=limit, door="app.start")
    return message.kind, message


def _reader(workflow: object) -> Any:
    found = as_workflow(workflow)
    return found.result.read if found is not None else lambda value: value


def _decider(workflow: object) -> DeciderWorkflow[Any, Any] | None:
    found = as_workflow(workflow)
    return found if isinstance(found, DeciderWorkflow) else None


def _kind(workflow: object, door: str) -> str:
    found = as_workflow(workflow)
    return run_kind(workflow if found is None else found, door)
