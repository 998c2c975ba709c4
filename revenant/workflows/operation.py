"""Operations: what a workflow's code can ask for; awaiting one suspends the code until it is answered."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from revenant.codec import as_text, explain
from revenant.errors import ConfigurationError
from revenant.workflows.signature import Shape
from revenant.workflows.step import Step, StepOptions

R = TypeVar("R")


class Sendable(Protocol):
    """A message to an entity, as a ref builds it."""

    kind: str
    key: str
    handler: str
    args: str
    load: Callable[[str], Any]

    def sent(self) -> Any:
        """Mark it as used."""

    def send_as(self, message_id: str | None, *, keyed: bool = False) -> None:
        """Take it for one sending."""


class Awaited(Generic[R]):
    """What flow code can await, once; forgotten, it warns, as an un-awaited coroutine does."""

    __slots__ = ("_asked", "used")

    def __init__(self) -> None:
        self.used = False
        self._asked = False

    def __await__(self) -> Generator[Any, Any, R]:
        if self._asked:
            raise ConfigurationError(
                f"{self!r} was awaited before, and a second time would do it once more. Keep what the first await "
                "returns; to do it again, build another one."
            )
        self.used = self._asked = True
        return (yield self)  # type: ignore[no-any-return]  # the replay answers with what the operation promises

    def __del__(self) -> None:
        if not getattr(self, "used", True):
            warnings.warn(f"{self!r} was never awaited; nothing happened.", RuntimeWarning, stacklevel=2)


class Operation(Awaited[R]):
    """One thing that is recorded under a number; `type` and `name` must be the same when the code runs again."""

    __slots__ = ("name",)
    type: ClassVar[str]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.type} {self.name}>"

    def read(self, result: Any) -> R:
        """Return what the code gets, of what was recorded."""
        return result  # type: ignore[no-any-return]  # JSON that nobody has typed


class StepOperation(Operation[R]):
    """Run a function outside any transaction, at least once; or, `transaction`, inside one, exactly once."""

    __slots__ = ("args", "idempotency", "options", "step", "transaction")
    type = "step"

    def __init__(
        self,
        step: Step[..., Any],
        args: Sequence[Any],
        options: StepOptions,
        *,
        idempotency: str | None = None,
        transaction: bool = False,
    ) -> None:
        super().__init__(step.name)
        self.step = step
        self.args = args
        """As what JSON holds."""
        self.options = options
        self.idempotency = idempotency
        self.transaction = transaction

    def read(self, result: Any) -> R:
        """Return what the function returned."""
        return self.step.signature.result.read(result)  # type: ignore[no-any-return]  # by the function's annotation


class TimerOperation(Operation[None]):
    """Wait until a moment, or for so many seconds."""

    __slots__ = ("after", "at")
    type = "timer"

    def __init__(self, *, after: float | None, at: datetime | None, name: str = "sleep") -> None:
        super().__init__(name)
        self.after = after
        self.at = at


class Misfit(NamedTuple):
    """Why something that was sent cannot be taken."""

    error: str
    """The name of the error that its sender gets."""
    why: str

    @property
    def told(self) -> str:
        """What its sender reads: a code's own refusal says all there is to say."""
        if self.error != "InvalidArguments":
            return self.why
        return f"{self.why.rstrip('.')}. Nothing was changed; send what has the shape that the run's code asks for."


def why_not(error: Exception) -> str:
    """Return why a type did not read something."""
    words = explain(error)[1] if isinstance(error, ValidationError) else " ".join(str(error).split())[:500]
    return as_text(words) or type(error).__name__


class WaitOperation(Operation[R]):
    """Wait for a signal of that name, at most so many seconds."""

    __slots__ = ("after", "shape")
    type = "wait"

    def __init__(self, name: str, shape: Shape, after: float | None) -> None:
        super().__init__(name)
        self.shape = shape
        self.after = after

    def read(self, result: Any) -> R:
        """Return the signal's payload."""
        return self.shape.read(result)  # type: ignore[no-any-return]  # by the type that was asked for

    def misfit(self, payload: Any) -> Misfit | None:
        """Return why this cannot be taken; None: it can."""
        try:
            self.read(payload)
        except Exception as error:  # noqa: BLE001 # a type may refuse what it reads in any way
            return Misfit("InvalidArguments", why_not(error))
        return None

    def take(self, payload: Any, update: str | None) -> R:
        """Return what the code gets; `update` is the message whose sender waits for an answer, if one does."""
        return self.read(payload)


class CallOperation(Operation[R]):
    """Send a message to an entity, and wait for its reply."""

    __slots__ = ("message",)
    type = "call"

    def __init__(self, message: Sendable) -> None:
        super().__init__(f"{message.kind}({message.key!r}).{message.handler}")
        self.message = message


class ChildOperation(Operation[R]):
    """Start another run, and wait for its result."""

    __slots__ = ("id", "input", "on_close", "result", "version", "wait", "workflow")
    type = "child"

    def __init__(
        self,
        workflow: str,
        id: str | None,
        input: Any,
        *,
        version: int | None,
        result: Shape,
        on_close: str,
        wait: bool,
    ) -> None:
        super().__init__(workflow)
        self.workflow = workflow
        self.id = id
        self.input = input
        self.version = version
        self.result = result
        self.on_close = on_close
        self.wait = wait

    def read(self, result: Any) -> R:
        """Return the child's result, or its id where nobody waits for that."""
        return self.result.read(result) if self.wait else result  # type: ignore[no-any-return]  # by its annotation


class CastOperation(Operation[str]):
    """Send a message to an entity, and go on; answered at once, by its id."""

    __slots__ = ("after", "message")
    type = "cast"

    def __init__(self, message: Sendable, after: float | None) -> None:
        super().__init__(f"{message.kind}({message.key!r}).{message.handler}")
        self.message = message
        self.after = after


class JobOperation(Operation[None]):
    """Defer a procrastinate task, and go on."""

    __slots__ = ("kwargs", "task")
    type = "job"

    def __init__(self, name: str, task: Any, kwargs: dict[str, Any]) -> None:
        super().__init__(name)
        self.task = task
        self.kwargs = kwargs


class UndoOperation(Operation[None]):
    """Say what undoes what has been done so far, should the run fail or be cancelled; and go on."""

    __slots__ = ("args", "options", "step")
    type = "undo"

    def __init__(self, step: Step[..., Any], args: Sequence[Any], options: StepOptions) -> None:
        super().__init__(step.name)
        self.step = step
        self.args = args
        self.options = options


Part = Coroutine[Any, Any, Any] | Awaitable[Any]


class Gather(Awaited[list[Any]]):
    """All of these, side by side; the first that fails cancels the others, unless failures are wanted as results."""

    __slots__ = ("parts", "return_exceptions")

    def __init__(self, parts: Sequence[Part], *, return_exceptions: bool) -> None:
        _use(parts, "gather")
        super().__init__()
        self.parts = parts
        self.return_exceptions = return_exceptions

    def __repr__(self) -> str:
        return f"<gather of {len(self.parts)}>"


class Mapped(Awaited[list[Any]]):
    """One part for each item, at most `limit` at a time."""

    __slots__ = ("limit", "parts")

    def __init__(self, parts: Iterable[Part], *, limit: int) -> None:
        super().__init__()
        self.parts = iter(parts)
        self.limit = limit

    def __repr__(self) -> str:
        return "<map>"


class Race(Awaited[Any]):
    """The first of these that is answered; the others are cancelled."""

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Part]) -> None:
        _use(parts, "race")
        super().__init__()
        self.parts = parts

    def __repr__(self) -> str:
        return f"<race of {len(self.parts)}>"


def _use(parts: Sequence[Part], door: str) -> None:
    """Take these for good.

    Raises:
        ConfigurationError: one of them is nothing that can be awaited.
    """
    for part in parts:
        if isinstance(part, Awaited):
            part.used = True
    for place, part in enumerate(parts):
        given: object = part
        if not isinstance(given, Awaitable):
            for other in parts:
                if isinstance(other, Coroutine):
                    other.close()
            raise ConfigurationError(
                f"flow.{door}() takes operations, as flow.step(…) makes one, and coroutines that await them, and got "
                f"{given!r} in place {place}. Nothing was begun; a list of them goes as flow.{door}(*parts)."
            )
