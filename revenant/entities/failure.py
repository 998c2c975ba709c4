"""Failures: an exception becomes the outcome of its message, in words that Postgres stores."""

from __future__ import annotations

import traceback as tracebacks

from revenant.entities.outcome import Failed
from revenant.errors import (
    ConfigurationError,
    HandlerTimeout,
    RevenantError,
    StateInvalid,
    UnknownHandler,
    Unstorable,
)
from revenant.queue.records import Claimed, Delivery

LONGEST_WORDS = 64 * 1024
"""Characters of an exception's text, and of its traceback, that are kept."""
COLLISIONS = ("40001", "40P01")
"""The SQLSTATEs of a serialization failure and of a deadlock."""


def failed(claimed: Claimed, delivery: Delivery, version: int, error: BaseException, *, final: bool) -> Failed:
    """Return the outcome that this exception is; the entity is at `version`, as before the message."""
    name = type(error).__qualname__
    module = type(error).__module__
    plain = isinstance(error, RevenantError) and not isinstance(error, HandlerTimeout)
    details = {
        "error": name if plain else "HandlerTimeout" if isinstance(error, HandlerTimeout) else "HandlerError",
        "type": name if module in ("builtins", "__main__") else f"{module}.{name}",
        "message": _clean(_words(error)),
        "where": _clean(f"{claimed.kind}({claimed.key!r}).{delivery.handler}"),
    }
    if isinstance(error, Unstorable | StateInvalid):
        details["path"] = _clean(error.path)
    text = _clean("".join(tracebacks.format_exception(error))[-LONGEST_WORDS:])
    return Failed(delivery, version, details, text, final, getattr(error, "sqlstate", None) in COLLISIONS)


def unknown_handler(claimed: Claimed, delivery: Delivery, known: str) -> UnknownHandler:
    """Return what to say of a handler that no live worker has."""
    return UnknownHandler(
        f"{claimed.kind}({claimed.key!r}) has no handler {delivery.handler!r} on any live worker; known here: "
        f"{known}. Deploy the code that has it, or send to one of these."
    )


def condemned(claimed: Claimed, delivery: Delivery, why: str) -> RevenantError:
    """Return what to say of a message that must not run again; `why` are Postgres' words, or empty."""
    if not why:
        return ConfigurationError(
            f"{claimed.kind}({claimed.key!r}).{delivery.handler} ended the turn's transaction by its own SQL: what it "
            "had written by then is committed, and the state is as before. Do not commit or roll back on "
            "self.turn.connection; use `async with self.turn.connection.transaction()` around what may fail."
        )
    return Unstorable(
        f"What {claimed.kind}({claimed.key!r}).{delivery.handler} did cannot be stored: Postgres says {why!r}. "
        "The state is as before; send values that Postgres takes.",
        path="(root)",
    )


def _words(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST_WORDS]
    except Exception:  # noqa: BLE001 # a broken __str__ is the user's, and must not cost more than its words
        return "(its text cannot be read: __str__ raised)"


def _clean(text: str) -> str:
    """Return text that Postgres stores: an exception's words may hold what its value did."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
