"""Update: a signal whose sender waits for what the run's code makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from revenant.codec import ANYTHING, as_text, dump, read_part
from revenant.errors import ConfigurationError
from revenant.workflows.operation import Misfit, Operation, WaitOperation
from revenant.workflows.signature import Shape

T = TypeVar("T")


class ReplyOperation(Operation[None]):
    """Tell whoever sent an update what came of it, and go on."""

    __slots__ = ("error", "message", "value")
    type = "reply"

    def __init__(self, name: str, message: str, *, value: Any = None, error: str | None = None) -> None:
        super().__init__(name)
        self.message = message
        self.value = value
        """As what JSON holds."""
        self.error = error
        """Why it is refused; None: it is not."""


class Update(Generic[T]):
    """An update that the code has taken; it is answered once, by awaiting `reply(…)` or `refuse(…)`.

    `value` is what was sent, `name` what it was sent as.

    Example:
        >>> request = await flow.update("change_address", Address)
        >>> await request.reply({"ships_to": request.value.city})
    """

    __slots__ = ("_answered", "_limit", "_message", "name", "value")

    def __init__(self, name: str, value: T, *, message: str, limit: int) -> None:
        self.name = name
        self.value = value
        self._message = message
        self._limit = limit
        self._answered = False

    def __repr__(self) -> str:
        return f"<update {self.name}>"

    def reply(self, value: Any = None) -> Operation[None]:
        """Tell the sender this: anything that JSON can hold.

        Raises:
            Unstorable: JSON cannot hold it.
            ConfigurationError: it was answered before.
        """
        text = dump(ANYTHING, value, what=f"The reply to update {self.name!r}", limit=self._limit)
        value = read_part(text, what=f"The reply to update {self.name!r}")
        self._answer()
        return ReplyOperation(self.name, self._message, value=value)

    def refuse(self, reason: str) -> Operation[None]:
        """Tell the sender that it was not done, and why: there, `UpdateRefused` is raised.

        Raises:
            ConfigurationError: it was answered before.
        """
        self._answer()
        return ReplyOperation(self.name, self._message, error=as_text(str(reason)))

    def _answer(self) -> None:
        if self._answered:
            raise ConfigurationError(
                f"Update {self.name!r} was to be answered twice; its sender was told the first answer. Answer each "
                "update once, on every path of the code."
            )
        self._answered = True


class UpdateOperation(WaitOperation[Update[T]]):
    """Wait for an update of that name that the validator lets pass."""

    __slots__ = ("_limit", "_validator")
    type = "update"

    def __init__(
        self, name: str, shape: Shape, after: float | None, *, validator: Callable[[T], object] | None, limit: int
    ) -> None:
        given: object = validator
        if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
            raise ConfigurationError(
                f"flow.update({name!r}, validator=…) takes a plain function that raises what is wrong with the value, "
                f"and got {validator!r}. It cannot wait for anything: what takes time is a step, before the reply."
            )
        super().__init__(name, shape, after)
        self._validator = validator
        self._limit = limit

    def misfit(self, payload: Any) -> Misfit | None:
        """Return why this cannot be taken: its shape, or what the validator says."""
        found = super().misfit(payload)
        if found is not None or self._validator is None:
            return found
        try:
            self._validator(self.read(payload))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 # whatever the validator raises is why it refuses
            return Misfit("UpdateRefused", as_text(str(error) or type(error).__name__)[:500])
        return None

    def read(self, result: Any) -> Any:
        """Return the payload."""
        return self.shape.read(result)

    def take(self, payload: Any, update: str | None) -> Update[T]:
        """Return what the code gets."""
        assert update is not None
        return Update(self.name, self.read(payload), message=update, limit=self._limit)
