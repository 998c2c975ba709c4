"""Refs: an entity's address, which builds messages and never touches the entity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Self, TypeVar, cast, overload

from pydantic_core import from_json

from revenant.codec import ANYTHING, MAX_KIND_BYTES, check_key, dump
from revenant.entities.address import Addressed
from revenant.entities.entity import Entity
from revenant.entities.handler import Handler
from revenant.entities.message import Caller, Message
from revenant.errors import ConfigurationError, InvalidArguments, UnknownHandler

E = TypeVar("E", bound=Entity)
DEFAULT_MAX_BYTES = 8 * 1024 * 1024


class Ref(Addressed):
    """The address of one entity. Reading a handler's name gives the function that builds its message.

    Example:
        >>> acct = app.ref(Account, "acct_42")
        >>> message = acct.deposit(100)
    """

    __slots__ = ("_caller", "_definition", "_limit")

    def __init__(
        self, *, kind: str, key: str, definition: type[Entity] | None, caller: Caller | None, limit: int
    ) -> None:
        self._kind = kind
        self._key = check_key(kind, key)
        self._definition = definition
        self._caller = caller
        self._limit = limit

    def __repr__(self) -> str:
        return f"<ref {self._kind}({self._key!r})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self._kind, self._key) == (other._kind, other._key)

    def __hash__(self) -> int:
        return hash((self._kind, self._key))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise ConfigurationError(
            f"{self!r} cannot be pickled: it is bound to its application. Pass its kind and its key, and make a ref of "
            f"them where they arrive: app.ref({self._kind!r}, {self._key!r})."
        )

    def __getattr__(self, name: str) -> Callable[..., Message[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        return message_builder(self, name)


@overload
def ref(kind: type[E], key: str) -> E: ...


@overload
def ref(kind: str, key: str) -> Any: ...


def ref(kind: type[E] | str, key: str) -> E | Any:
    """Return the address of an entity without an application: for the messages of schedules.

    Example:
        >>> Schedule("nightly", ref(Report, "main").build(), cron="30 2 * * *")
    """
    name, definition = kind_of(kind, "ref")
    made = Ref(kind=name, key=key, definition=definition, caller=None, limit=DEFAULT_MAX_BYTES)
    return cast(E, made)


def kind_of(kind: object, door: str) -> tuple[str, type[Entity] | None]:
    """Return the name of a kind, and its class where that was given; `door` is what it was given to.

    Raises:
        ConfigurationError: it is neither a class of an entity nor the name of a kind.
    """
    if isinstance(kind, type) and issubclass(kind, Entity):
        return kind.entity_kind, kind
    if not isinstance(kind, str):
        raise ConfigurationError(
            f"{door}() takes an entity's class, or the name of its kind, and got {kind!r}. Write {door}(Account, key)."
        )
    size = len(kind.encode(errors="replace"))
    if not 0 < size <= MAX_KIND_BYTES or any(char == "\0" or "\ud800" <= char <= "\udfff" for char in kind):
        raise ConfigurationError(f"{kind!r} is no kind: its name must be text of 1 to {MAX_KIND_BYTES} bytes.")
    return kind, None


def address_of(ref: Ref | Entity) -> tuple[str, str]:
    """Return (kind, key) of a ref, which type checkers see as the entity's class."""
    if not isinstance(ref, Ref):
        raise ConfigurationError(
            f"A ref is wanted, as app.ref(Account, key) makes one, and {ref!r} is none. Nothing was sent."
        )
    return ref._kind, ref._key


def engine_message(ref: Ref | Entity, handler: str, caller: Caller) -> Message[bool]:
    """Return a message to one of the handlers that every entity has, such as DELETE; it is answered by a bool."""
    kind, key = address_of(ref)
    return Message(kind=kind, key=key, handler=handler, args="{}", load=lambda body: body == "true", caller=caller)


def message_builder(ref: Ref, name: str) -> Callable[..., Message[Any]]:
    """Return the function that builds messages for this handler of this entity.

    Raises:
        UnknownHandler: the class is known here and has no such handler.
    """
    definition = ref._definition
    if definition is None:
        return lambda *args, **kwargs: _untyped(ref, name, args, kwargs)
    found = definition.entity_handlers.get(name)
    if found is None:
        known = ", ".join(sorted(definition.entity_handlers)) or "none"
        raise UnknownHandler(
            f"{ref._kind}({ref._key!r}) has no handler {name!r}. Its handlers are: {known}. "
            "Call one of them, or mark the method with @handler."
        )
    return lambda *args, **kwargs: _typed(ref, found, args, kwargs)


def _typed(ref: Ref, found: Handler[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message[Any]:
    return Message(
        kind=ref._kind,
        key=ref._key,
        handler=found.name,
        args=found.bind(args, kwargs, kind=ref._kind, key=ref._key, limit=ref._limit),
        load=found.result.validate_json,
        caller=ref._caller,
    )


def _untyped(ref: Ref, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message[Any]:
    if args and kwargs:
        raise InvalidArguments(
            f"{ref._kind}({ref._key!r}).{name}: without the class, arguments go all by name or all by position."
        )
    what = f"The arguments of {ref._kind}({ref._key!r}).{name}"
    text = dump(ANYTHING, list(args) if args else kwargs, what=what, limit=ref._limit)
    return Message(kind=ref._kind, key=ref._key, handler=name, args=text, load=from_json, caller=ref._caller)
