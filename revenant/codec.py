"""Values to JSON text and back, by pydantic; nothing is ever unpickled.

Invariant: what `dump` returns, Postgres stores and `load` reads back; anything else is refused with the path.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, from_json, to_json

from revenant.errors import InvalidKey, TooLarge, Unstorable

JSON = ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64")
"""How every value is written: non-finite floats visibly, so that they can be refused; bytes as base64."""
ANYTHING: SchemaSerializer = TypeAdapter(Any, config=JSON).serializer
"""Writes whatever JSON can hold."""
MAX_KEY_BYTES = 512
_DEEPEST = 150
_ROOM = 50
"""Levels that may be around a value where it is stored: JSON is read back up to 200 of them."""
MAX_KIND_BYTES = 128
ROOT = "(root)"
"""The path of a flaw of the whole value."""
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""What the first digit of a UUID's fourth part becomes, so that it says which variant it is of (RFC 9562)."""
RUN_KIND = "run:"
"""How the kinds begin under which runs of workflows have their mailboxes."""


def bucket_of(kind: str, key: str) -> int:
    """Return the entity's bucket, 0 to 255, fixed for ever: the same rule as `revenant.bucket_v1`.

    Example:
        >>> bucket_of("Account", "acct_42")
        167
    """
    return hashlib.sha256(f"{kind}/{key}".encode()).digest()[0]


def new_id(bucket: int) -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7) whose last byte is the bucket, so that an id finds its row."""
    millis = time.time_ns() // 1_000_000
    time_, noise = f"{millis:012x}", os.urandom(9).hex()
    return f"{time_[:8]}-{time_[8:]}-7{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[7:17]}{bucket:02x}"


def is_id(text: str) -> bool:
    """Whether that is an id as this module makes them: a UUID in lower case, with its hyphens."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.ASCII) is not None


def keyed_id(kind: str, key: str, idempotency_key: str) -> str:
    """Return the id that this idempotency key stands for, for this entity: a UUIDv8 made of its hash."""
    check_idempotency_key(kind, key, idempotency_key)
    return derived_id(bucket_of(kind, key), kind, key, idempotency_key)


def derived_id(bucket: int, kind: str, key: str, what: str) -> str:
    """Return what `keyed_id` does, for an address whose bucket is known and a text that is not empty."""
    text = hashlib.sha256(f"{kind}\0{key}\0{what}".encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:30]}{bucket:02x}"


def check_idempotency_key(kind: str, key: str, idempotency_key: object) -> None:
    """Refuse what is no idempotency key: an empty one would make every message the same."""
    try:
        good = isinstance(idempotency_key, str) and len(idempotency_key.encode()) > 0
    except UnicodeEncodeError:
        good = False
    if not good:
        raise InvalidKey(
            f"{idempotency_key!r} is no idempotency key for {kind}({key!r}): it must be text that is not empty. "
            "Nothing was sent; leave it out, or give each message its own."
        )


def digest_of(handler: str, args: str) -> bytes:
    """Return what an idempotency key is bound to: 16 bytes of a hash over the handler and its arguments."""
    return hashlib.sha256(f"{handler}\0{args}".encode()).digest()[:16]


def check_key(kind: str, key: str) -> str:
    """Return the key if Postgres can store it as it is; raise InvalidKey otherwise.

    Any text of 1 to 512 bytes in UTF-8 is a key, compared byte by byte: quotes, emoji and SQL included.
    """
    what, of, every = "key", kind, "entity"
    if kind.startswith(RUN_KIND):
        what, of, every = "id", f"a run of {kind.removeprefix(RUN_KIND)}", "run"
    if not isinstance(key, str):
        raise InvalidKey(f"The {what} of {of} must be a str, not {type(key).__name__}. Pass text, such as str(id).")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(
            f"The {what} {key!r} of {of} holds a lone surrogate at index {error.start}, which is no text. "
            "Decode it properly, or remove that character."
        ) from None
    if size == 0:
        raise InvalidKey(f"The {what} of {of} is empty. Give every {every} one of 1 to {MAX_KEY_BYTES} bytes.")
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"The {what} {key[:40]!r}… of {of} takes {size} bytes; {MAX_KEY_BYTES} is the limit. Use a hash of it."
        )
    if "\0" in key:
        raise InvalidKey(f"The {what} {key!r} of {of} holds a NUL, which Postgres does not store. Remove it.")
    return key


def dump(
    serializer: SchemaSerializer,
    value: object,
    *,
    what: str,
    limit: int,
    include: set[str] | None = None,
    round_trip: bool = False,
) -> str:
    """Return the value as JSON text that Postgres stores and gives back.

    `include` names the fields of a model that are written; `round_trip` leaves out what is only computed.

    Raises:
        Unstorable: naming the path of a NUL, lone surrogate, non-finite float or foreign object.
        TooLarge: over `limit` bytes.
    """
    try:
        data = serializer.to_json(value, by_alias=True, include=include, round_trip=round_trip, warnings="error")
    except (PydanticSerializationError, UnicodeEncodeError, ValueError, RecursionError) as error:
        raise _unstorable(serializer, value, what=what, cause=error) from None
    # A cheap look at the bytes first: only a suspicious document is walked.
    if b"\\u0000" in data or b"NaN" in data or b"Infinity" in data:
        flaw = _flaw(value, "")
        if flaw is not None:
            raise Unstorable(_explain(what, *flaw), path=flaw[0])
    if len(data) > limit:
        raise TooLarge(
            f"{what} as JSON: {len(data):,} bytes, and the limit is {limit:,}. Nothing was changed. "
            "Store less, split it over several entities, or raise REVENANT_MAX_BYTES."
        )
    return data.decode()


def explain(error: ValidationError) -> tuple[str, str]:
    """Return the path of the first flaw that pydantic found, and all of them as one line of text."""
    flaws = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [(".".join(str(part) for part in flaw["loc"]), flaw["msg"]) for flaw in flaws[:5]]
    more = f" (and {len(flaws) - 5} more)" if len(flaws) > 5 else ""
    return lines[0][0] or ROOT, "; ".join(f"{path}: {text}" if path else text for path, text in lines) + more


def _explain(what: str, path: str, why: str) -> str:
    where = "it" if path in ("", ROOT) else path
    return f"{what} cannot be stored: {where} {why}. Nothing was changed; mend the value there."


def _unstorable(serializer: SchemaSerializer, value: object, *, what: str, cause: Exception) -> Unstorable:
    flaw = _flaw(value, "") or (ROOT, f"is not what its type says: {_first_line(cause)}")
    if flaw[0] == ROOT and isinstance(value, BaseModel):
        flaw = _flawed_field(value) or flaw
    return Unstorable(_explain(what, *flaw), path=flaw[0])


def _flawed_field(model: BaseModel) -> tuple[str, str] | None:
    for name, field in type(model).model_fields.items():
        adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
        try:
            adapter.serializer.to_json(getattr(model, name, None), warnings="error")
        except (PydanticSerializationError, UnicodeEncodeError, ValueError) as error:
            return field.alias or name, f"is not what its type says: {_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _flaw(value: object, path: str) -> tuple[str, str] | None:
    if path.count(".") > _DEEPEST:
        return path[:80] + "…", f"is nested deeper than {_DEEPEST} levels, or in itself"
    if isinstance(value, BaseModel):
        named = ((field.alias or name, getattr(value, name, None)) for name, field in type(value).model_fields.items())
        return _flaw_in(named, path)
    if isinstance(value, Mapping):
        return _flaw_in(value.items(), path)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes | bytearray):
        return _flaw_in(enumerate(value), path)
    why = _why_unstorable(value)
    return None if why is None else (path or ROOT, why)


def _flaw_in(items: Any, path: str) -> tuple[str, str] | None:
    for name, item in items:
        where = f"{path}.{name}" if path else str(name)
        if isinstance(name, str) and (why := _why_unstorable(name)):
            return where.encode("ascii", "backslashreplace").decode(), f"has a name that {why}"
        if (flaw := _flaw(item, where)) is not None:
            return flaw
    return None


def read_part(text: str, *, what: str) -> Any:
    """Return what JSON text holds that is to be part of something larger, which must be read again as well.

    Raises:
        Unstorable: it is nested deeper than 150 levels.

    Example:
        >>> read_part('{"a": [1]}', what="It")
        {'a': [1]}
    """
    if text.count("[") + text.count("{") <= _DEEPEST:
        return from_json(text)
    try:
        value = from_json("[" * _ROOM + text + "]" * _ROOM)
    except ValueError:
        raise Unstorable(_explain(what, ROOT, f"is nested deeper than {_DEEPEST} levels"), path=ROOT) from None
    for _ in range(_ROOM):
        (value,) = value
    return value


def why_no_text(value: str) -> str | None:
    """Return why Postgres does not store this as text, as what follows "it"; None: it does.

    Example:
        >>> why_no_text("go\\udcff")
        'holds a lone surrogate, which is no text'
    """
    if "\0" in value:
        return "holds a NUL character, which Postgres does not store"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is no text"
    return None


def as_text(words: str) -> str:
    """Return words as text that Postgres stores: those of an exception may hold what its value did.

    Example:
        >>> as_text("go\\udcff")
        'go\\\\udcff'
    """
    return words.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _why_unstorable(value: object) -> str | None:
    if isinstance(value, str):
        return why_no_text(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"is {value}, which JSON does not have"
    else:
        try:
            to_json(value, bytes_mode="base64")
        except (PydanticSerializationError, ValueError):
            name = type(value).__qualname__
            return f"is a{'n' if name[0].lower() in 'aeiou' else ''} {name}, which has no JSON form"
    return None
