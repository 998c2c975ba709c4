"""Likeness: whether what was read again is what was written, as far as anybody can tell."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

_ARRAYS = (list, tuple, deque)
"""One is as good as another: JSON has arrays only, and a field's annotation says which it becomes."""


def difference(written: object, read: object, path: str = "", *, exact: bool = False) -> str | None:
    """Return the path of the first value that came back as another one; None where nothing did.

    Private attributes are no part of it, nor are objects that cannot be compared. `exact`: a tuple that comes back as
    a list is another value, too.
    """
    here = path or "(root)"
    if isinstance(written, BaseModel) and type(written) is type(read):
        if _equal(vars(written), vars(read)) and not written.__pydantic_extra__:
            return None
        return _in_members(_fields(written), dict(_fields(read)), path, exact)
    if _equal(written, read):
        return None
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        moved = exact and isinstance(written, OrderedDict) and list(written) != list(read)
        return here if moved or written.keys() != read.keys() else _in_members(written.items(), read, path, exact)
    if isinstance(written, _ARRAYS) and isinstance(read, _ARRAYS):
        alike = (type(read),) if exact else (*_ARRAYS, type(read))
        if len(written) != len(read) or type(written) not in alike:
            return here
        return _in_members(enumerate(written), dict(enumerate(read)), path, exact)
    if is_dataclass(written) and type(written) is type(read):
        return _in_members(_compared(written), dict(_compared(read)), path, exact)
    return None if _alike(written, read) else here


def _fields(model: Any) -> list[tuple[str, object]]:
    return [(name, vars(model).get(name)) for name in type(model).model_fields] + [*(model.model_extra or {}).items()]


def _compared(value: Any) -> list[tuple[str, object]]:
    return [(field.name, getattr(value, field.name, None)) for field in fields(value) if field.compare]


def _in_members(
    written: Iterable[tuple[Any, object]], read: Mapping[Any, object], path: str, exact: bool
) -> str | None:
    for name, value in written:
        found = difference(value, read.get(name), f"{path}.{name}" if path else str(name), exact=exact)
        if found is not None:
            return found
    return None


def _equal(written: object, read: object) -> bool:
    try:
        return bool(written == read)
    except Exception:  # noqa: BLE001 # arrays of numbers compare to arrays, and an __eq__ of the user's may raise
        return False


def _alike(written: object, read: object) -> bool:
    """Whether two values that are not equal are the same nevertheless, or may be for all that they say."""
    if isinstance(written, datetime) and isinstance(read, datetime) and written.tzinfo and read.tzinfo:
        # Inside the hour that a change of clocks repeats, times of two zones are never equal.
        return written.timestamp() == read.timestamp()
    if type(written) is not type(read):
        return False
    # What does not even equal itself (a NaN, an array of numbers), or only itself, cannot be compared.
    return type(written).__eq__ is object.__eq__ or not _equal(written, written)
