"""A message is a value: awaiting it calls; the same value can be cast, scheduled, or sent in a transaction."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

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

    __slots__ = ("_caller", "_sent", "args", "handler", "key", "kind", "load")

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
        self._caller = caller
        self._sent = False

    def __repr__(self) -> str:
        return f"<message {self.kind}({self.key!r}).{self.handler}>"

    def sent(self) -> Message[R]:
        """Mark the message as used, so that it does not warn when it is forgotten."""
        self._sent = True
        return self

    def __await__(self) -> Generator[Any, None, R]:
        self._sent = True
        if self._caller is None:
            raise TypeError(f"{self!r} belongs to no application; send it with app.call() or app.cast().")
        return self._caller(self).__await__()

    def __del__(self) -> None:
        if not getattr(self, "_sent", True):
            warnings.warn(
                f"{self!r} was never awaited or sent; nothing happened. Await it to call, or pass it to app.cast().",
                RuntimeWarning,
                stacklevel=2,
            )
