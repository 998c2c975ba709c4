"""Shape: what a class writes and would not read again, found when it is defined by a walk over pydantic's schema.

Invariant: what the walk does not know to come back as it was is refused here, or compared whenever it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

_SURE = frozenset(
    {"model", "model-fields", "model-field", "default", "nullable", "definitions", "definition-ref"}
    | {"int", "str", "bool", "float", "none", "decimal", "date", "timedelta", "uuid", "bytes", "enum", "literal"}
    | {"list", "tuple", "set", "frozenset", "dict"}
)
"""Kinds of schema whose values come back equal, whatever they are."""
_LOSSY = ("strip_whitespace", "to_lower", "to_upper")
_NO_SCHEMAS = frozenset(
    {"metadata", "config", "cls", "default", "expected", "members", "serialization", "computed_fields"}
)
"""Keys of a schema under which there are values of the user's, or nothing that is stored."""
_ADAPTERS = frozenset({"function-before", "function-wrap", "function-plain"})
"""Validators that may read any name: only a comparison can tell what they make of it."""


@dataclass(slots=True)
class Shape:
    """What is known of the values that a class writes and reads."""

    flaws: list[str] = field(default_factory=list)
    """What would certainly not come back, each as a sentence that begins with the place."""
    iterators: list[str] = field(default_factory=list)
    """What is empty once it has been written: good enough to be sent, and no state."""
    unsure: bool = False
    parts: set[type[BaseModel]] = field(default_factory=set)
    """The models inside: an instance of a subclass in their place would come back as less than it was."""

    @property
    def must_compare(self) -> bool:
        """Whether the types alone do not say that a value comes back as it was written."""
        if not self.unsure:
            # Asked for every change, so without a generator; and every time, since classes may come later.
            for part in self.parts:
                if part.__subclasses__():
                    return True
        return self.unsure


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: what to call it, and which names are read there."""

    owner: str
    by_alias: bool = True
    by_name: bool = False
    adapted: bool = False


def shape_of(schema: Any, owner: str) -> Shape:
    """Return the shape of a class by its core schema; flaws call it `owner`."""
    shape = Shape()
    _walk(schema, _Place(owner), shape)
    return shape


def _walk(node: object, place: _Place, shape: Shape) -> None:
    if isinstance(node, list | tuple):
        for item in node:
            _walk(item, place, shape)
    elif isinstance(node, Mapping):
        kind = node.get("type")
        if isinstance(kind, str):
            _visit(kind, node, place, shape)
        else:
            # Schemas by name, as a union that is told by tags has them.
            _walk(list(node.values()), place, shape)


def _visit(kind: str, node: Mapping[str, Any], place: _Place, shape: Shape) -> None:
    writer = node.get("serialization")
    config = node.get("config") or {}
    shape.unsure |= kind not in _SURE or writer is not None or any(node.get(name) for name in _LOSSY)
    shape.unsure |= config.get("extra_fields_behavior") == "allow"
    if writer is not None:
        # Whatever is inside, it is this that writes it.
        if _hides(writer):
            shape.flaws.append(f"{place.owner} is a secret, which pydantic writes as asterisks")
        return
    if kind == "generator":
        shape.iterators.append(f"{place.owner} is an iterator, which is empty once it has been written")
    place = _entered(node, config, place, shape)
    if kind in _ADAPTERS:
        place = replace(place, adapted=True)
    for name, inner in node.items():
        if name == "fields":
            for written, found in _named(inner):
                _walk_field(written, found, place, shape)
        elif name not in _NO_SCHEMAS:
            _walk(inner, place, shape)


def _entered(node: Mapping[str, Any], config: Mapping[str, Any], place: _Place, shape: Shape) -> _Place:
    if node["type"] not in ("model", "dataclass", "typed-dict"):
        return place
    inside = node.get("cls")
    if isinstance(inside, type) and issubclass(inside, BaseModel):
        shape.parts.add(inside)
    by_name = config.get("validate_by_name", False) or config.get("populate_by_name", False)
    owner = inside.__qualname__ if isinstance(inside, type) else place.owner
    return replace(place, owner=owner, by_alias=config.get("validate_by_alias", True), by_name=by_name)


def _named(fields: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the fields of a model or typed dict, which are a mapping, or of a dataclass, which are a list."""
    if isinstance(fields, Mapping):
        yield from fields.items()
    else:
        yield from ((found["name"], found) for found in fields if isinstance(found, Mapping))


def _walk_field(name: str, node: Mapping[str, Any], place: _Place, shape: Shape) -> None:
    where = f"{place.owner}.{name}"
    written = node.get("serialization_alias") or name
    readable = _read_names(name, node.get("validation_alias"), place)
    if node.get("serialization_exclude"):
        shape.flaws.append(f"{where} is excluded from what is written")
    elif written not in readable and not place.adapted:
        shape.flaws.append(f"{where} is written as {written!r} and read as {' or '.join(map(repr, sorted(readable)))}")
    _walk(node["schema"], replace(place, owner=where, adapted=False), shape)


def _read_names(name: str, alias: Any, place: _Place) -> set[str]:
    """Return the names by which a field is read; a path into something else is shown, and matches nothing."""
    if alias is None:
        return {name}
    choices = [[alias]] if isinstance(alias, str) else alias if isinstance(alias[0], list) else [alias]
    names = {".".join(map(str, path)) if len(path) > 1 else str(path[0]) for path in choices if place.by_alias}
    return names | {name} if place.by_name else names


def _hides(writer: Mapping[str, Any]) -> bool:
    function = writer.get("function")
    return getattr(function, "__module__", "") == "pydantic.types" and "secret" in getattr(function, "__name__", "")
