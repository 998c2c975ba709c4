"""The `@handler` mark and what it knows: how to read a message's arguments and write its result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model

from revenant.codec import JSON, dump, explain
from revenant.entities.message import Message
from revenant.entities.partner import class_of, names_of, travelling
from revenant.entities.shape import shape_of
from revenant.errors import ConfigurationError, InvalidArguments

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E")
_NAMED = ConfigDict(extra="forbid", **JSON)


class Handler(Generic[P, R]):
    """A method of an entity that messages reach. On an entity it is the method; on a ref it builds a message."""

    def __init__(
        self, function: Callable[..., Coroutine[Any, Any, R]], *, together: tuple[str, ...] = (), readonly: bool = False
    ) -> None:
        self.function = function
        self.together = together
        self.readonly = readonly
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self._owner: type | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self._owner = owner

    @overload
    def __get__(self, instance: None, owner: type) -> Handler[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, Message[R]]: ...

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        if "revenant:copy_of" in vars(instance):
            _ = instance.turn  # type: ignore[attr-defined]  # an entity; a copy's says why not
        # Inside a turn one handler may use another: then it is the plain method.
        return self.function.__get__(instance, owner)

    @cached_property
    def signature(self) -> inspect.Signature:
        """The handler's parameters without `self`."""
        signature = inspect.signature(self.function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @cached_property
    def _hints(self) -> dict[str, Any]:
        local = {self._owner.__name__: self._owner} if self._owner else {}
        try:
            return get_type_hints(self.function, localns=local, include_extras=True)
        except NameError as error:
            raise ConfigurationError(
                f"The annotations of {self.label} cannot be read: {error}. "
                "Define or import that name at module level, outside `if TYPE_CHECKING`."
            ) from error

    @cached_property
    def partners(self) -> dict[str, Any]:
        """The classes of the entities that it changes besides its own, by the parameters that name them."""
        return {name: class_of(self._hints.get(name), f"{self.label}({name})") for name in self.together}

    @cached_property
    def _types(self) -> dict[str, Any]:
        """How the parameters travel."""
        return {**self._hints, **{name: travelling(definition) for name, definition in self.partners.items()}}

    @property
    def label(self) -> str:
        """The handler's name for messages: `Account.deposit`."""
        return f"{self._owner.__name__ if self._owner else '?'}.{self.name}"

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """A model of the named arguments; its fields are numbered, since a parameter may have any name."""
        fields: dict[str, Any] = {}
        for number, (name, parameter) in enumerate(self.signature.parameters.items()):
            default = ... if parameter.default is parameter.empty else None
            fields[f"p{number}"] = (self._types.get(name, Any), Field(default, alias=name))
        try:
            made = create_model(self.name, __config__=_NAMED, **fields)
        except PydanticUserError as error:
            raise self._unreadable(error) from error
        for name in self.signature.parameters:
            flaws = shape_of(TypeAdapter(self._types.get(name, Any)).core_schema, f"{self.label}({name})").flaws
            if flaws:
                raise ConfigurationError(
                    f"{flaws[0]}: the handler would not get what was sent. Messages travel as JSON; annotate {name} "
                    "with a type that is read as it is written."
                )
        return made

    @cached_property
    def result(self) -> TypeAdapter[R]:
        """Reads and writes what the handler returns."""
        shape = self._hints.get("return", Any)
        try:
            return TypeAdapter(shape, config=JSON)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise self._unreadable(error) from error
        return TypeAdapter(shape)

    @cached_property
    def may_return_none(self) -> bool:
        """Whether None is what the annotation says; a forgotten `return` is not."""
        try:
            self.result.validate_python(None)
        except ValidationError:
            return False
        return True

    def _unreadable(self, error: PydanticUserError) -> ConfigurationError:
        return ConfigurationError(
            f"{self.label} has an annotation that pydantic cannot read or write: "
            f"{' '.join(str(error).split())[:300]} Use types that have a JSON form."
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, kind: str, key: str, limit: int) -> str:
        """Return the arguments of one message as JSON text.

        Raises:
            InvalidArguments: they do not fit the signature or its annotations.
        """
        try:
            named = self._named(args, kwargs)
            valid = self.arguments.__pydantic_validator__.validate_python(named)
        except TypeError as error:
            raise self._refusal(kind, key, str(error)) from None
        except ValidationError as error:
            raise self._refusal(kind, key, explain(error)[1]) from None
        what = f"The arguments of {kind}({key!r}).{self.name}"
        return dump(
            self.arguments.__pydantic_serializer__, valid, what=what, limit=limit, include=valid.__pydantic_fields_set__
        )

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if not args:
            return kwargs
        if kwargs or len(args) > len(self._positional):
            return dict(self.signature.bind(*args, **kwargs).arguments)
        return dict(zip(self._positional, args, strict=False))

    @cached_property
    def _positional(self) -> list[str]:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return [name for name, parameter in self.signature.parameters.items() if parameter.kind is kind]

    def read_arguments(self, args: str, *, kind: str, key: str) -> dict[str, Any]:
        """Return the named arguments of a message that arrived."""
        try:
            if args.lstrip()[:1] == "[":
                values = TypeAdapter(list[Any]).validate_json(args)
                named = self._named(tuple(values), {})
                valid = self.arguments.__pydantic_validator__.validate_python(named)
            else:
                valid = self.arguments.__pydantic_validator__.validate_json(args)
        except TypeError as error:
            raise self._refusal(kind, key, str(error)) from None
        except ValidationError as error:
            raise self._refusal(kind, key, explain(error)[1]) from None
        # What is absent stays the function's own default.
        given = valid.__pydantic_fields_set__
        return {name: vars(valid)[field] for field, name in self._names if field in given}

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        return [(f"p{number}", name) for number, name in enumerate(self.signature.parameters)]

    def _described(self) -> str:
        """The parameters as their author wrote them, whether the annotations are text or types."""
        parts = []
        for name, parameter in self.signature.parameters.items():
            hint = self.function.__annotations__.get(name, "Any")
            default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
            parts.append(f"{name}: {hint if isinstance(hint, str) else getattr(hint, '__name__', hint)}{default}")
        return ", ".join(parts)

    def _refusal(self, kind: str, key: str, why: str) -> InvalidArguments:
        return InvalidArguments(
            f"{kind}({key!r}).{self.name}({self._described()}) cannot take these arguments: {why}. "
            "Nothing was changed; send arguments that fit the annotations."
        )


@overload
def handler(function: Callable[Concatenate[E, P], Coroutine[Any, Any, R]], /) -> Handler[P, R]: ...


@overload
def handler(
    *, together: str | Sequence[str] = (), readonly: bool = False
) -> Callable[[Callable[Concatenate[E, P], Coroutine[Any, Any, R]]], Handler[P, R]]: ...


def handler(function: Any = None, /, *, together: str | Sequence[str] = (), readonly: bool = False) -> Any:
    """Mark an `async def` method of an entity as one that messages reach.

    Its arguments and its result are validated by their annotations, at both ends. `together` names parameters that
    are entities: senders pass refs, the handler gets the live entities, and all of them are committed together.
    `readonly` promises that it changes nothing and sends nothing; one that does fails with `ReadonlyBroken`.

    Example:
        >>> class Account(Entity):
        ...     balance: int = 0
        ...
        ...     @handler
        ...     async def deposit(self, amount: int) -> int:
        ...         self.balance += amount
        ...         return self.balance
        ...
        ...     @handler(together="other")
        ...     async def transfer(self, other: "Account", amount: int) -> None:
        ...         self.balance -= amount
        ...         other.balance += amount
    """
    if function is None:
        return lambda method: _mark(method, together, readonly=readonly)
    return _mark(function, together, readonly=readonly)


def _mark(
    function: Callable[..., Coroutine[Any, Any, R]], together: str | Sequence[str], *, readonly: bool
) -> Handler[..., R]:
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(
            f"@handler is for `async def` methods, and {getattr(function, '__qualname__', function)!s} is not one. "
            "Write `async def`; blocking work belongs into a job (self.turn.defer)."
        )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigurationError(
                f"{function.__qualname__} takes {parameter}: a message's arguments travel by name. "
                "Use ordinary or keyword-only parameters."
            )
    names = names_of(together, list(inspect.signature(function).parameters)[1:], function.__qualname__)
    return Handler(function, together=names, readonly=readonly)
