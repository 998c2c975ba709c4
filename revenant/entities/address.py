"""Addresses: what names an entity from anywhere, and the base by which refs are told from values."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """One entity."""

    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}({self.key!r})"


class Addressed:
    """What stands for an entity without being it."""

    __slots__ = ("_key", "_kind")

    _kind: str
    _key: str
