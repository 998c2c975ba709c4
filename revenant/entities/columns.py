"""Columns: what the fields of a state are in SQL, as its class says; for the view of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from revenant.entities.entity import Entity

JSONB = "jsonb"
_TYPES = {
    "bool": "boolean",
    "int": "bigint",
    "float": "double precision",
    "decimal": "numeric",
    "str": "text",
    "bytes": "text",
    "url": "text",
    "datetime": "timestamptz",
    "date": "date",
    "uuid": "uuid",
}
"""By the kinds of pydantic's schemas; all others stay JSON."""
_WRAPPERS = frozenset(
    {"default", "nullable", "definitions", "model", "function-before", "function-after", "function-wrap"}
)


class Column(NamedTuple):
    """A field of the state: its name in JSON, and its type in SQL."""

    field: str
    type: str


def columns_of(definition: type[Entity]) -> list[Column]:
    """Return the fields of the class, in order, as columns."""
    schema: Any = definition.__pydantic_core_schema__
    known = {found["ref"]: found for found in schema.get("definitions", ()) if "ref" in found}
    node = _unwrapped(schema, known)
    return [
        Column(field.get("serialization_alias") or name, _type_of(field["schema"], known))
        for name, field in node["fields"].items()
    ]


def _unwrapped(node: Any, known: Mapping[str, Any]) -> Any:
    while node["type"] in _WRAPPERS or node["type"] == "definition-ref":
        node = known[node["schema_ref"]] if node["type"] == "definition-ref" else node["schema"]
    return node


def _type_of(node: Any, known: Mapping[str, Any]) -> str:
    while True:
        if "serialization" in node:
            return JSONB  # written as somebody else says
        if node["type"] == "definition-ref":
            node = known[node["schema_ref"]]
        elif node["type"] in _WRAPPERS and node["type"] != "model":
            node = node["schema"]
        else:
            break
    match node["type"]:
        case "enum":
            return _common([member.value if isinstance(member, Enum) else member for member in node["members"]])
        case "literal":
            return _common(list(node["expected"]))
        case "datetime" if node.get("tz_constraint") == "naive":
            return "text"  # a time of no zone is no moment
        case kind:
            return _TYPES.get(kind, JSONB)


def _common(values: list[Any]) -> str:
    if all(isinstance(value, str) for value in values):
        return "text"
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return "bigint" if whole else JSONB
