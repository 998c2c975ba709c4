"""Step: a function whose effects are outside; it runs at least once, its result is recorded once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, overload

from revenant.errors import ConfigurationError
from revenant.workflows.names import checked_name
from revenant.workflows.retry import ONCE, Retry
from revenant.workflows.signature import Signature
from revenant.workflows.times import seconds_of

P = ParamSpec("P")
R = TypeVar("R")


RECOVERIES = 3
"""The usual recovery budget: processes that may die under one attempt before its run fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is run, where it is not said at its use: see `step`."""

    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    heartbeat: float | None = None
    recoveries: int = RECOVERIES
    external: bool = False
    at_most_once: bool = False

    def but(
        self,
        *,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        heartbeat: float | timedelta | None = None,
        recoveries: int | None = None,
    ) -> StepOptions:
        """Return these, with what is given in their place."""
        given_retry: object = retry
        if given_retry is not None and not isinstance(given_retry, Retry):
            raise ConfigurationError(f"retry= takes a Retry, and got {retry!r}. Write retry=Retry(attempts=3).")
        if retry is None and timeout is None and heartbeat is None and recoveries is None:
            return self
        given = {"retry": retry, "timeout": seconds_of(timeout), "heartbeat": seconds_of(heartbeat)}
        given["recoveries"] = _budget(recoveries)
        return replace(self, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # each is of its field's type

    def recorded(self) -> dict[str, Any]:
        """Return what a step keeps of these once it is scheduled, whatever code comes later."""
        told: dict[str, Any] = {"retry": self.retry.recorded()}
        if self.recoveries != RECOVERIES:
            told["recoveries"] = self.recoveries
        if self.at_most_once:
            told["at_most_once"] = True
        if self.timeout is not None:
            told["timeout"] = self.timeout
        if self.external:
            told["external"] = True
        return told


def _budget(given: int | None) -> int | None:
    number: object = given
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise ConfigurationError(
            f"recoveries= takes a whole number from 1 on, and got {given!r}: so many processes may die under one "
            f"attempt before its run fails. Leave it out for {RECOVERIES}."
        )
    return given


class Step(Generic[P, R]):
    """A function and the name under which its results are recorded; called, it is the function."""

    def __init__(self, function: Callable[P, R], *, name: str, version: int, options: StepOptions) -> None:
        self.function = function
        self.name = checked_name(name, "step", such_as="charge")
        self.version = version
        self.options = options
        self.__doc__ = function.__doc__
        self.__name__ = name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as a test of it does."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @cached_property
    def is_async(self) -> bool:
        """Whether it runs in the event loop; another one runs in a thread."""
        target = self.function if inspect.isroutine(self.function) else type(self.function).__call__
        return inspect.iscoroutinefunction(target)

    @cached_property
    def in_transaction(self) -> Signature:
        """What it takes besides the connection, which comes first, and returns."""
        return Signature(self.function, label=f"step {self.name}", skip=1)

    @cached_property
    def signature(self) -> Signature:
        """What it takes and returns."""
        return Signature(self.function, label=f"step {self.name}")


def as_step(function: Callable[..., Any]) -> Step[..., Any]:
    """Return the step that a function is: its own name and the usual options, unless it is marked otherwise.

    Raises:
        ConfigurationError: it has no name to be recorded under.
    """
    if isinstance(function, Step):
        return function
    if not callable(function):
        raise ConfigurationError(_no_function(function))
    known = _PLAIN.get(function) if inspect.isroutine(function) else None
    if known is not None:
        return known
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(
            f"{function!r} cannot be a step: its results are recorded under its name, and it has none. Use a function "
            'with a name, or step(function, name="…").'
        )
    made: Step[..., Any] = Step(function, name=name, version=1, options=StepOptions())
    if inspect.isfunction(function) and "<locals>" not in function.__qualname__:
        # A cache of what follows from the function alone: its annotations are read once.
        _PLAIN[function] = made
    return made


def _no_function(given: object) -> str:
    if inspect.iscoroutine(given):
        given.close()
        name = given.__name__
        return (
            f"A step is a function and its arguments, and {name}(…) was called already, outside the step. Write "
            f"flow.step({name}, …), and not flow.step({name}(…))."
        )
    return f"A step is a function and its arguments, and this is {given!r}. Write flow.step(charge, order)."


_PLAIN: dict[Any, Step[..., Any]] = {}


@overload
def step(function: Callable[P, Awaitable[R]], /) -> Step[P, Awaitable[R]]: ...


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    name: str | None = None,
    version: int = 1,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    heartbeat: float | timedelta | None = None,
    recoveries: int | None = None,
    external: bool = False,
    at_most_once: bool = False,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    version: int = 1,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    heartbeat: float | timedelta | None = None,
    recoveries: int | None = None,
    external: bool = False,
    at_most_once: bool = False,
) -> Any:
    """Mark a function as a step, with a name, a version and options of its own; any function is one without a mark.

    `timeout` (seconds or timedelta) bounds each attempt, `heartbeat` the time between two `current_step().heartbeat()`.
    `recoveries` (3) is how many processes may die under one attempt before its run fails; 1 is as 2.
    `external` steps are taken by other processes, over SQL or the client: the function is only their signature.
    `at_most_once` attempts are not run again when their worker ends: they have failed, as `StepInterrupted`. Without a
    `retry`, no other one follows, whatever they fail with.

    Example:
        >>> @step(retry=Retry(attempts=3), timeout=30)
        ... async def charge(order: str) -> str:
        ...     return f"payment of {order}"
    """
    if external and at_most_once:
        raise ConfigurationError(
            "A step cannot be external and at_most_once: whoever took it may be gone, and then somebody else is given "
            "the same attempt. Leave one of the two out."
        )
    options = StepOptions(
        retry=ONCE if at_most_once else Retry(), external=external, at_most_once=bool(at_most_once)
    ).but(retry=retry, timeout=timeout, heartbeat=heartbeat, recoveries=recoveries)
    number: object = version
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"A step's version is a whole number from 1 on, and got {version!r}.")

    def mark(function: Callable[P, R]) -> Step[P, R]:
        known = name or getattr(function, "__name__", None)
        if known is None or known == "<lambda>":
            raise ConfigurationError(f'@step is for functions with a name, and got {function!r}. Give it name="…".')
        return Step(function, name=known, version=version, options=options)

    return mark if function is None else mark(function)


class Attempt:
    """The running attempt of a step, as `current_step()` inside it.

    `idempotency_key` (str) is the same in each attempt: hand it on to the outside world. `attempt` counts from 1.
    `progress` is what an earlier attempt, or this one before a crash, said last by `heartbeat`; None without.
    """

    __slots__ = ("_beat", "attempt", "idempotency_key", "progress", "run_id", "step", "workflow")

    def __init__(
        self,
        *,
        workflow: str,
        run_id: str,
        step: str,
        attempt: int,
        idempotency_key: str,
        progress: Any,
        beat: Callable[[Any], None],
    ) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.step = step
        self.attempt = attempt
        self.idempotency_key = idempotency_key
        self.progress = progress
        self._beat = beat

    def heartbeat(self, progress: Any = None) -> None:
        """Say that the attempt lives, and how far it is: something that JSON can hold. May be called from a thread.

        Raises:
            Unstorable: JSON cannot hold it.
        """
        self._beat(progress)
        if progress is not None:
            self.progress = progress


running_step: ContextVar[Attempt | None] = ContextVar("revenant_step", default=None)


def current_step() -> Attempt:
    """Return the attempt that runs here.

    Raises:
        ConfigurationError: no step runs here.
    """
    found = running_step.get()
    if found is None:
        raise ConfigurationError(
            "current_step() was called outside a step. Call it inside a function that a workflow runs by flow.step()."
        )
    return found
