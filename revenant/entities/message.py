"""A message is a value with one id: awaiting it calls; it can be cast, scheduled, or sent in a transaction instead.

Invariant: without an idempotency key, one value is sent once.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from revenant.errors import AlreadySent, ConfigurationError
from revenant.wording import a

R = TypeVar("R")


class Caller(Protocol):
    """Whoever can turn an awaited message into a call: an application, or a turn that refuses."""

    def __call__(self, message: Message[Any]) -> Awaitable[Any]:
        """Send the message and wait for its reply."""


class Message(Generic[R]):
    """What a ref builds: kind, key, handler and arguments as JSON; `R` is what the reply will be.

    Example:
        >>> await acct.deposit(100)                 # a call: committed before you see the result
        >>> await app.cast(acct.deposit(5))         # the same value, sent without waiting
    """

    __slots__ = ("_caller", "_sendings", "_used", "args", "handler", "id", "key", "kind", "load")

    def __init__(
        self, *, kind: str, key: str, handler: str, args: str, load: Callable[[str], R], caller: Caller | None
    ) -> None:
        self.kind = kind
        self.key = key
        self.handler = handler
        self.args = args
        """JSON text: an object of named arguments, or an array of positional ones."""
        self.load = load
        """Reads the reply's JSON text into `R`."""
        self.id: str | None = None
        """What it was sent as; None before that, and inside a turn, which gives ids at its end."""
        self._caller = caller
        self._used = False
        self._sendings = 0

    def __repr__(self) -> str:
        return f"<message {self.kind}({self.key!r}).{self.handler}>"

    def __reduce_ex__(self, _: object) -> NoReturn:
        self._used = True
        raise ConfigurationError(
            f"{self!r} can be neither copied nor pickled: it is sent once, by the application that it is bound to. "
            "Build another one, where it is sent."
        )

    def sent(self) -> Message[R]:
        """Mark the message as used, so that it does not warn when it is forgotten."""
        self._used = True
        return self

    def send_as(self, message_id: str | None, *, keyed: bool = False) -> None:
        """Take the message for one sending; `keyed` when the id stands for an idempotency key.

        Raises:
            AlreadySent: it was sent before, and not under the same key.
        """
        self._used = True
        if self._sendings and not (keyed and message_id == self.id):
            what = f"as message {self.id}" if self.id else "in this turn"
            waits = f"app.reply({self.id!r}) waits for its reply; " if self.id else ""
            raise AlreadySent(
                f"{self!r} was sent already, {what}: sent again, it would count twice. Nothing was sent now. {waits}"
                "build a new message if it is meant to happen again, or send this one with the same idempotency_key "
                "each time.",
                message_id=self.id,
            )
        self.id = message_id
        self._sendings += 1

    def not_sent(self) -> None:
        """Take a sending back that certainly stored nothing, so that the message may be sent again."""
        self._sendings -= 1
        if not self._sendings:
            self.id = None

    def __await__(self) -> Generator[Any, None, R]:
        self._used = True
        if self._caller is None:
            raise ConfigurationError(f"{self!r} belongs to no application; send it with app.call() or app.cast().")
        return self._caller(self).__await__()

    def __del__(self) -> None:
        if not getattr(self, "_used", True):
            warnings.warn(
                f"{self!r} was never awaited or sent; nothing happened. Await it to call, or pass it to app.cast().",
                RuntimeWarning,
                stacklevel=2,
            )


def as_message(value: object, door: str) -> Message[Any]:
    """Return the value if it is a message, as used from now on; `door` is what it was given to.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(value, Message):
        return value.sent()
    hint = " Call the handler with its arguments: app.ref(Account, key).deposit(5)." if callable(value) else ""
    raise ConfigurationError(
        f"{door}() takes a message, as app.ref(Account, key).deposit(5) makes one, and got {_a(value)}.{hint} "
        "Nothing was sent."
    )


def _a(value: object) -> str:
    name = type(value).__qualname__
    return "None" if value is None else a(name)
