"""Children: the runs of other workflows that a workflow's code starts; type checkers know their inputs and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Literal, Protocol, TypeVar, overload

from revenant.codec import check_key
from revenant.workflows.operation import ChildOperation, Operation

T = TypeVar("T")
R = TypeVar("R")
Input_contra = TypeVar("Input_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Policy = Literal["cancel", "abandon"]
"""What becomes of a child whose parent does not wait for it any more."""


class Startable(Protocol[Input_contra, Result_co]):
    """A workflow, as far as `flow.child()` needs to know it."""

    name: str
    version: int

    def begin(self, flow: Any, given: Input_contra) -> Coroutine[Any, Any, Result_co]:
        """Return its code."""
        ...


class Children(ABC):
    """A part of `Flow`."""

    @property
    @abstractmethod
    def _limit(self) -> int:
        """Return the bytes that an input may take."""

    @overload
    def child(
        self,
        workflow: Startable[T, R],
        input: T = ...,
        *,
        id: str | None = ...,
        on_close: Policy | None = ...,
        wait: Literal[True] = ...,
    ) -> Operation[R]: ...

    @overload
    def child(
        self,
        workflow: Startable[T, Any],
        input: T = ...,
        *,
        id: str | None = ...,
        on_close: Policy | None = ...,
        wait: Literal[False],
    ) -> Operation[str]: ...

    @overload
    def child(
        self,
        workflow: Startable[T, Any],
        input: T = ...,
        *,
        id: str | None = ...,
        on_close: Policy | None = ...,
        wait: bool,
    ) -> Operation[Any]: ...

    @overload
    def child(
        self,
        workflow: type[Any],
        input: Any = ...,
        *,
        id: str | None = ...,
        on_close: Policy | None = ...,
        wait: bool = ...,
    ) -> Operation[Any]: ...

    def child(
        self,
        workflow: Any,
        input: Any = None,
        *,
        id: str | None = None,
        on_close: Policy | None = None,
        wait: bool = True,
    ) -> Operation[Any]:
        """Start a run of another workflow, and wait for its result, or, without `wait`, go on with its id.

        `on_close` says what becomes of it when this run ends first, or does not wait for it any more: `cancel`, which
        one that is waited for is by default, or `abandon`, which is for the others: they go on by themselves.

        Raises:
            RunFailed: where it is awaited: the child failed, was cancelled, or was refused, since a run of that id was
                started by somebody else.
        """
        # A decider's class names its workflow.
        workflow = getattr(workflow, "workflow", workflow)
        given = workflow.write_input(input, limit=self._limit)
        if id is not None:
            check_key(workflow.kind, id)
        policy = on_close or ("cancel" if wait else "abandon")
        return ChildOperation(
            workflow.name, id, given, version=workflow.version, result=workflow.result, on_close=policy, wait=wait
        )
