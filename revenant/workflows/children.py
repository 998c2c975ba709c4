"""Children: the runs of other workflows that a workflow's code starts; type checkers know their inputs and results."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Literal, Protocol, TypeVar, overload

from revenant.codec import check_key
from revenant.errors import ConfigurationError
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
        workflow = _startable(workflow)
        given = workflow.write_input(input, limit=self._limit)
        if id is not None:
            check_key(workflow.kind, id)
        policy = on_close or ("cancel" if wait else "abandon")
        return ChildOperation(
            workflow.name, id, given, version=workflow.version, result=workflow.result, on_close=policy, wait=wait
        )


def _startable(given: Any) -> Any:
    """Return the workflow that is meant; a decider's class names its own.

    Raises:
        ConfigurationError: it is none.
    """
    found = getattr(given, "workflow", given)
    if hasattr(found, "write_input") and hasattr(found, "version"):
        return found
    name = getattr(given, "__name__", None)
    if isinstance(given, str):
        how = "A name does not tell the types: import its code, and write flow.child(checkout, …)"
    elif inspect.isfunction(given):
        how = f"Mark {name} with @workflow and register it, or, to run it in this run, write `await {name}(flow, …)`"
    else:
        how = "Write flow.child(checkout, input, id=…)"
    raise ConfigurationError(
        f"flow.child() takes a workflow, as @workflow marks one, or a decider's class, and got {given!r}. {how}."
    )
