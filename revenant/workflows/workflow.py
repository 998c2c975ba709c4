"""Workflow: the mark of a function whose runs survive anything, and what is known of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

from pydantic import ValidationError

from revenant.codec import RUN_KIND, explain
from revenant.errors import ConfigurationError, InvalidArguments
from revenant.workflows.decisions import DecisionView
from revenant.workflows.flow import Flow
from revenant.workflows.signature import Shape, Signature
from revenant.workflows.times import seconds_of

I = TypeVar("I")  # noqa: E741 # the input, as in the field's own papers
R = TypeVar("R")
KIND = RUN_KIND
_LONGEST_NAME = 124


class Workflow(Generic[I, R]):
    """The code of one version of a workflow. `I` is the type of its input (None: it takes none), `R` of its result."""

    def __init__(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        *,
        name: str,
        version: int = 1,
        timeout: float | timedelta | None = None,
        keep: timedelta | None = None,
    ) -> None:
        given: object = name
        size = len(name.encode(errors="replace")) if isinstance(given, str) else 0
        if not 0 < size <= _LONGEST_NAME or any(char == "\0" or "\ud800" <= char <= "\udfff" for char in name):
            raise ConfigurationError(
                f"{name!r} is no name of a workflow: it must be text of 1 to {_LONGEST_NAME} bytes."
            )
        number: object = version
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigurationError(f"The version of workflow {name!r} is a whole number from 1 on, not {version!r}.")
        self.function = function
        self.name = name
        self.version = version
        self.timeout = seconds_of(timeout)
        """Seconds from its start after which a run fails; None: never."""
        self.keep = seconds_of(keep)
        """Seconds for which a run that has ended is kept; None: for good."""
        self.__doc__ = function.__doc__

    def __repr__(self) -> str:
        return f"<workflow {self.name} version {self.version}>"

    @property
    def kind(self) -> str:
        """The kind under which its runs have their mailboxes."""
        return f"{KIND}{self.name}"

    @cached_property
    def signature(self) -> Signature:
        """What it takes besides its flow, and what it returns."""
        return Signature(self.function, label=f"workflow {self.name}", skip=1)

    @property
    def takes_input(self) -> bool:
        """Whether it has a parameter besides its flow."""
        return bool(self.signature.parameters)

    @property
    def result(self) -> Shape:
        """The shape of what it returns."""
        return self.signature.result

    def check(self) -> None:
        """Read the annotations now: a mistake in them belongs to the start.

        Raises:
            ConfigurationError: they cannot be read, or it takes more than one input.
        """
        self.signature.check()
        if len(self.signature.parameters) > 1:
            raise ConfigurationError(
                f"Workflow {self.name!r} takes {len(self.signature.parameters)} inputs, and one is what a run is "
                "started with. Put them into one model: it can grow fields with defaults, and old runs still fit."
            )

    def write_input(self, given: I, *, limit: int) -> Any:
        """Return the input as what JSON holds.

        Raises:
            InvalidArguments: it does not fit the annotation.
        """
        args = self.signature.write([given] if self.takes_input or given is not None else [], limit=limit)
        return args[0] if args else None

    def check_input(self, given: Any) -> None:
        """Refuse what no run can be started with; `given` is what JSON holds.

        Raises:
            InvalidArguments: it does not fit the annotation.
        """
        if not self.takes_input:
            return
        try:
            self.signature.parameters[0].read(given)
        except ValidationError as error:
            raise InvalidArguments(
                f"Workflow {self.name} cannot be started with that input: {explain(error)[1]}. Nothing was started; "
                "give it an input that fits its annotation. The code that has this name here is that of module "
                f"{self.function.__module__}."
            ) from None

    def read_input(self, recorded: Any) -> I:
        """Return the input that was recorded.

        Raises:
            InvalidArguments: it does not fit the annotation of today.
        """
        return self.signature.read([recorded])[0] if self.takes_input else None  # type: ignore[return-value]  # I is None then

    def new_decisions(self, run_id: str) -> DecisionView[Any] | None:
        """Return what its code decides by, with nothing in it; None: it is no decider."""
        return None

    def begin(self, flow: Flow, given: I, decisions: DecisionView[Any] | None = None) -> Coroutine[Any, Any, R]:
        """Return the code, to be run from its beginning."""
        return self.function(flow, given) if self.takes_input else self.function(flow)


@overload
def workflow(function: Callable[[Flow], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...


@overload
def workflow(function: Callable[[Flow, I], Coroutine[Any, Any, R]], /) -> Workflow[I, R]: ...


@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    timeout: float | timedelta | None = None,
    keep: timedelta | None = None,
) -> _Mark: ...


def workflow(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    timeout: float | timedelta | None = None,
    keep: timedelta | None = None,
) -> Any:
    """Mark an `async def` function as a workflow: `flow` first, then one input if it wants any.

    Each of its runs is a history in Postgres. The function is run again along it to go on, so it must do nothing but
    reckon and await what `flow` has: what touches the outside is a step. `version` goes up when the code changes in a
    way that old histories do not fit; register the old one beside it. `timeout` bounds a run, `keep` how long it is
    kept once it has ended.

    Example:
        >>> @workflow(version=1)
        ... async def checkout(flow: Flow, order: str) -> str:
        ...     payment = await flow.step(charge, order)
        ...     await flow.sleep(timedelta(days=14))
        ...     return payment
    """

    def mark(function: Callable[..., Coroutine[Any, Any, R]]) -> Workflow[Any, R]:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"@workflow is for `async def` functions, and {getattr(function, '__qualname__', function)!s} is not "
                "one. Write `async def`, and await flow's operations in it."
            )
        if not inspect.signature(function).parameters:
            raise ConfigurationError(
                f"Workflow {function.__name__!r} takes no flow. Write `async def {function.__name__}(flow: Flow)`."
            )
        return Workflow(function, name=name or function.__name__, version=version, timeout=timeout, keep=keep)

    return mark if function is None else mark(function)


class _Mark:
    """What `workflow(version=2)` returns, as type checkers see it."""

    @overload
    def __call__(self, function: Callable[[Flow], Coroutine[Any, Any, R]], /) -> Workflow[None, R]: ...

    @overload
    def __call__(self, function: Callable[[Flow, I], Coroutine[Any, Any, R]], /) -> Workflow[I, R]: ...

    def __call__(self, function: Any, /) -> Any:
        """Mark the function."""
        raise NotImplementedError
