"""Signature: a function's parameters and result as JSON, by its annotations; for steps, workflows and their signals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json

from revenant.codec import JSON, dump, explain, read_part
from revenant.errors import ConfigurationError, InvalidArguments, Unstorable
from revenant.wording import raised

_PLAIN = (int, str, bool)
"""Types whose values are what JSON holds of them, and are not looked at any closer when they are short text."""
_VALUES = (str, bytes, int, float, list, tuple, dict, set)
_SHORT = 1000
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Shape:
    """One type: what it writes, it reads back."""

    def __init__(self, annotation: Any, *, of: str) -> None:
        self.annotation = annotation
        self._of = of

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """Reads and writes values of the type.

        Raises:
            ConfigurationError: pydantic cannot.
        """
        try:
            return TypeAdapter(self.annotation, config=JSON)
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise ConfigurationError(
                    f"{self._of} is annotated with what pydantic cannot read or write: "
                    f"{' '.join(str(error).split())[:300]} Use types that have a JSON form."
                ) from error
        return TypeAdapter(self.annotation)

    def write(self, value: object, *, limit: int) -> Any:
        """Return the value as what JSON holds.

        Raises:
            Unstorable: it cannot be written, or would not be read again; names the path.
            TooLarge: it takes more than `limit` bytes.
        """
        if self.is_plain(value):
            return value
        text = dump(self.adapter.serializer, value, what=self._of, limit=limit)
        try:
            self.adapter.validator.validate_json(text)
        except ValidationError as error:
            path, why = explain(error)
            raise Unstorable(
                f"{self._of} cannot be stored: written as JSON, it is not read back as its type says: {why}. "
                "Nothing was recorded; mend the value or the annotation there.",
                path=path,
            ) from None
        return read_part(text, what=self._of)

    def read(self, value: Any) -> Any:
        """Return what `write` had of what it returned.

        Raises:
            ValidationError: it is not of the type.
        """
        if self.is_plain(value):
            return value
        try:
            return self.adapter.validator.validate_json(to_json(value))
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            # A validator that gives up its process, as by sys.exit(), gives up a value, and nobody else's process.
            raise ValueError(raised(type(error).__qualname__, error)) from error

    def is_plain(self, value: object) -> bool:
        """Whether a value of the type is the same in JSON: then nothing needs to be asked of pydantic."""
        if self.annotation not in _PLAIN or type(value) is not self.annotation:
            return False
        return not isinstance(value, str) or (len(value) < _SHORT and value.isascii() and "\0" not in value)


def asked_as(given: object, *, of: str, such_as: str) -> Shape:
    """Return the shape of what code asks for, by the type that it gives; `of` is what it asks for.

    Raises:
        ConfigurationError: it gives a value where a type belongs.
    """
    if isinstance(given, _VALUES):
        raise ConfigurationError(
            f"{of} was to be read as a type, and got the value {given!r} for one. Give it the type itself, as in "
            f"{such_as}."
        )
    return Shape(given, of=of)


class Signature:
    """The parameters of a function that is called with values that were stored, and its result."""

    def __init__(self, function: Callable[..., Any], *, label: str, skip: int = 0) -> None:
        self._function = function
        self.label = label
        self._skip = skip

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        found = list(inspect.signature(self._function).parameters.values())[self._skip :]
        for parameter in found:
            if parameter.kind not in _POSITIONAL and parameter.default is parameter.empty:
                raise ConfigurationError(
                    f"{self.label} takes {parameter}: what it gets is stored by position. Use ordinary parameters."
                )
        return [parameter for parameter in found if parameter.kind in _POSITIONAL]

    @cached_property
    def _least(self) -> int:
        return sum(one.default is one.empty for one in self._parameters)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        target = self._function if inspect.isroutine(self._function) else type(self._function).__call__
        try:
            return get_type_hints(target, include_extras=True)
        except NameError as error:
            raise ConfigurationError(
                f"The annotations of {self.label} cannot be read: {error}. "
                "Define or import that name at module level, outside `if TYPE_CHECKING`."
            ) from error

    @cached_property
    def parameters(self) -> list[Shape]:
        """What the function takes, by position."""
        return [
            Shape(self._hints.get(one.name, Any), of=f"The argument {one.name} of {self.label}")
            for one in self._parameters
        ]

    @cached_property
    def result(self) -> Shape:
        """What it returns."""
        return Shape(self._hints.get("return", Any), of=f"The result of {self.label}")

    def check(self) -> None:
        """Read the annotations now: a mistake in them belongs to the start.

        Raises:
            ConfigurationError: they cannot be read.
        """
        for shape in (*self.parameters, self.result):
            _ = shape.adapter

    def write(self, args: Sequence[object], *, limit: int) -> list[Any]:
        """Return these arguments as what JSON holds.

        Raises:
            InvalidArguments: there are too many or too few, or they are not what the annotations say.
        """
        if not self._least <= len(args) <= len(self._parameters):
            names = ", ".join(str(one) for one in self._parameters)
            raise InvalidArguments(
                f"{self.label}({names}) got {len(args)} arguments. Nothing was recorded; give it what it takes."
            )
        known = zip(self._parameters, self.parameters, args, strict=False)
        return [self._written(parameter.name, shape, value, limit) for parameter, shape, value in known]

    def _written(self, name: str, shape: Shape, value: object, limit: int) -> Any:
        if shape.is_plain(value):
            return value
        try:
            return shape.write(shape.adapter.validator.validate_python(value), limit=limit)
        except ValidationError as error:
            raise InvalidArguments(
                f"{self.label} cannot take what it was given as {name}: {explain(error)[1]}. Nothing was recorded; "
                "send values that fit the annotations."
            ) from None

    def read(self, values: Sequence[Any]) -> list[Any]:
        """Return the arguments that were stored.

        Raises:
            InvalidArguments: they do not fit the annotations of today.
        """
        try:
            return [shape.read(value) for shape, value in zip(self.parameters, values, strict=False)]
        except ValidationError as error:
            raise InvalidArguments(
                f"{self.label} cannot take what is recorded for it: {explain(error)[1]}. Nothing was changed; give the "
                "annotations a shape that reads it, or register the code that wrote it beside this one."
            ) from None
