"""Commands: what a decider can decide on: what is done next, or how the run ends. They are values, and do nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from revenant.workflows.retry import Retry


@dataclass(frozen=True, slots=True, init=False)
class RunStep:
    """Run one of the declared steps, named by its function or its name, with these arguments.

    Example:
        >>> RunStep("charge", "order-42", timeout=30).args
        ('order-42',)
    """

    step: Callable[..., Any] | str
    args: tuple[Any, ...]
    retry: Retry | None
    timeout: float | timedelta | None
    idempotency: str | None
    recoveries: int | None

    def __init__(
        self,
        step: Callable[..., Any] | str,
        *args: Any,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        idempotency: str | None = None,
        recoveries: int | None = None,
    ) -> None:
        given = {"step": step, "args": args, "retry": retry, "timeout": timeout, "idempotency": idempotency}
        given["recoveries"] = recoveries
        for name, value in given.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class RunMany:
    """Do all of these side by side; the next decision comes when each has an outcome, whether or not some failed."""

    commands: Sequence[Command]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so long: seconds, or a timedelta. An `id` is for one timer of a run."""

    duration: float | timedelta
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SleepUntil:
    """Wait until that moment, which has a time zone. An `id` is for one timer of a run."""

    moment: datetime
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a signal of that name, or the first of several, `{"approved": Approval, "rejected": str}` by type.

    After `timeout` (seconds or timedelta) the wait has expired, and the decider is asked again.
    """

    signals: str | Mapping[str, Any]
    timeout: float | timedelta | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Send a message to an entity, exactly once, and wait for its reply."""

    message: Awaitable[Any] = field(compare=False)


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a run of another workflow, and wait for its result, or, without `wait`, only for its id.

    `on_close` says what becomes of it when this run ends first: by default one that is waited for is cancelled.
    """

    workflow: Any
    input: Any = None
    id: str | None = None
    on_close: Literal["cancel", "abandon"] | None = None
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Complete:
    """End the run with this result."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Fail:
    """Fail the run: `reason` is what the error's `type` says, `message` tells a person more."""

    reason: str
    message: str = ""


Command = RunStep | RunMany | Sleep | SleepUntil | Wait | Call | StartChild | Complete | Fail


class Failing(BaseException):
    """The run is to fail with these words; not an Exception, so that nobody swallows it."""

    def __init__(self, type: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = {"error": "RunFailed", "type": type, "message": message, **more}
