"""Sequence: a workflow that is a plain list of steps: each gets what the one before it returned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, overload

from revenant.errors import ConfigurationError
from revenant.workflows.flow import Flow
from revenant.workflows.step import Step, as_step
from revenant.workflows.workflow import Workflow

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@overload
def sequence(
    name: str,
    first: Callable[[I], Awaitable[A]],
    /,
    *,
    version: int = ...,
    timeout: float | timedelta | None = ...,
    keep: timedelta | None = ...,
) -> Workflow[I, A]: ...


@overload
def sequence(
    name: str,
    first: Callable[[I], Awaitable[A]],
    second: Callable[[A], Awaitable[B]],
    /,
    *,
    version: int = ...,
    timeout: float | timedelta | None = ...,
    keep: timedelta | None = ...,
) -> Workflow[I, B]: ...


@overload
def sequence(
    name: str,
    first: Callable[[I], Awaitable[A]],
    second: Callable[[A], Awaitable[B]],
    third: Callable[[B], Awaitable[C]],
    /,
    *,
    version: int = ...,
    timeout: float | timedelta | None = ...,
    keep: timedelta | None = ...,
) -> Workflow[I, C]: ...


@overload
def sequence(
    name: str,
    first: Callable[[I], Awaitable[A]],
    second: Callable[[A], Awaitable[B]],
    third: Callable[[B], Awaitable[C]],
    fourth: Callable[[C], Awaitable[D]],
    /,
    *,
    version: int = ...,
    timeout: float | timedelta | None = ...,
    keep: timedelta | None = ...,
) -> Workflow[I, D]: ...


@overload
def sequence(
    name: str,
    /,
    *steps: Callable[..., Any],
    version: int = ...,
    timeout: float | timedelta | None = ...,
    keep: timedelta | None = ...,
) -> Workflow[Any, Any]: ...


def sequence(
    name: str,
    /,
    *steps: Any,
    version: int = 1,
    timeout: float | timedelta | None = None,
    keep: timedelta | None = None,
) -> Any:
    """Return a workflow that runs these steps one after another, each with the result of the one before it.

    The first gets the run's input, if it takes any; the last one's result is the run's. Type checkers follow the
    types through up to four `async def` steps. The options are those of `@workflow`.

    Example:
        >>> fulfil = sequence("fulfil", reserve, pack, ship, version=1)
    """
    listed = [as_step(step) for step in steps]
    if not listed:
        raise ConfigurationError(f"sequence({name!r}) got no steps. Give it functions: sequence({name!r}, pack, ship).")
    for place, step in enumerate(listed):
        takes = len(step.signature.parameters)
        if takes != 1 and not (place == 0 and takes == 0):
            raise ConfigurationError(
                f"Step {step.name!r} of sequence({name!r}) takes {takes} arguments, and gets one: what the step before "
                "it returned. Put what it needs into one model."
            )
    return Workflow(_code(listed), name=name, version=version, timeout=timeout, keep=keep)


def _code(steps: list[Step[..., Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def along(flow: Flow, *given: Any) -> Any:
        for step in steps:
            given = (await flow.step(step, *given),)
        return given[0]

    async def code(flow: Flow, given: Any) -> Any:
        return await along(flow, given)

    async def code_without_input(flow: Flow) -> Any:
        return await along(flow)

    first, last = steps[0].signature, steps[-1].signature
    made: Any = code if first.parameters else code_without_input
    made.__annotations__ = {"flow": Flow, "return": last.result.annotation}
    if first.parameters:
        made.__annotations__["given"] = first.parameters[0].annotation
    made.__qualname__ = made.__name__ = " → ".join(step.name for step in steps)
    return made  # type: ignore[no-any-return]  # one of the two above
