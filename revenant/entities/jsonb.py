"""What Postgres' `jsonb` gives back for a JSON text: the same values, in its own order and its own numerals.

Invariant: `as_stored(text)` reads as `text::jsonb::text` does; a test compares them.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def as_stored(text: str) -> str:
    """Return the document as it comes back from the database.

    Example:
        >>> as_stored('{"bb": 1e22, "a": -0.0}')
        '{"a": 0.0, "bb": 10000000000000000000000}'
    """
    return _written(json.loads(text, parse_float=Decimal))


def _written(value: Any) -> str:
    match value:
        case dict():
            items = sorted(value.items(), key=_place)
            return "{" + ", ".join(f"{json.dumps(name)}: {_written(item)}" for name, item in items) + "}"
        case list():
            return "[" + ", ".join(map(_written, value)) + "]"
        case Decimal():
            # A numeric has no exponent, and no zero of its own for numbers below it.
            return format(value or abs(value), "f")
        case _:
            return json.dumps(value)


def _place(item: tuple[str, Any]) -> tuple[int, bytes]:
    name = item[0].encode()
    return len(name), name
