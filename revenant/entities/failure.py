"""Failures: an exception becomes the outcome of its message, in words that Postgres stores."""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Callable

from revenant.entities.outcome import Failed
from revenant.errors import (
    ConfigurationError,
    HandlerCrashed,
    HandlerTimeout,
    RevenantError,
    StateInvalid,
    UnknownHandler,
    Unstorable,
)
from revenant.queue.records import Claimed, Delivery

Sentence = Callable[[Claimed, Delivery], RevenantError]
"""Why a message must not run again: makes the error that it ends with."""
LONGEST_WORDS = 64 * 1024
"""Characters of an exception's text, and of its traceback, that are kept."""
COLLISIONS = ("40001", "40P01")
"""The SQLSTATEs of a serialization failure and of a deadlock."""
INTEGRITY = "23"
"""The class of SQLSTATEs that says that a constraint was broken."""


class RaisedBy(str):
    """A note on an exception: what raised it, where that is not the handler."""

    __slots__ = ()


def failed(claimed: Claimed, delivery: Delivery, version: int, error: BaseException, *, final: bool) -> Failed:
    """Return the outcome that this exception is; the entity is at `version`, as before the message."""
    name = type(error).__qualname__
    module = type(error).__module__
    where = f"{claimed.kind}({claimed.key!r}).{delivery.handler}"
    notes: list[str] = getattr(error, "__notes__", [])
    plain = isinstance(error, RevenantError) and not isinstance(error, HandlerTimeout)
    details = {
        "error": name if plain else "HandlerTimeout" if isinstance(error, HandlerTimeout) else "HandlerError",
        "type": name if module in ("builtins", "__main__") else f"{module}.{name}",
        "message": _clean(_words(error)),
        "where": _clean(next((note for note in notes if isinstance(note, RaisedBy)), where)),
    }
    if isinstance(error, Unstorable | StateInvalid):
        details["path"] = _clean(error.path)
    if _sqlstate(error).startswith(INTEGRITY):
        details |= {"error": "IntegrityViolation", "sqlstate": _sqlstate(error), **_broken(error)}
    text = _clean("".join(tracebacks.format_exception(error))[-LONGEST_WORDS:])
    return Failed(delivery, version, details, text, final, _sqlstate(error) in COLLISIONS)


def unknown_handler(claimed: Claimed, delivery: Delivery, known: str) -> UnknownHandler:
    """Return what to say of a handler that no live worker has."""
    return UnknownHandler(
        f"{claimed.kind}({claimed.key!r}) has no handler {delivery.handler!r} on any live worker; known here: "
        f"{known}. Deploy the code that has it, or send to one of these."
    )


def ended_transaction(claimed: Claimed, delivery: Delivery) -> ConfigurationError:
    """Return what to say of a handler whose own SQL ended the turn's transaction."""
    return ConfigurationError(
        f"{claimed.kind}({claimed.key!r}).{delivery.handler} ended the turn's transaction by its own SQL: what it "
        "had written by then is committed, and the state is as before. Do not commit or roll back on "
        "self.turn.connection; use `async with self.turn.connection.transaction()` around what may fail."
    )


def went_on(seconds: float) -> HandlerTimeout:
    """Return what to say of a handler that was cancelled after so many seconds and did not end."""
    return HandlerTimeout(
        f"it took longer than {seconds:g} s, was cancelled, and went on: it was given up, and is not run again. Let "
        "asyncio.CancelledError pass in it: no bare `except:`, and no `except BaseException` without `raise`",
        type="HandlerTimeout",
        message=f"longer than {seconds:g} s",
    )


def refused_by_postgres(words: str) -> Sentence:
    """Return what says of a handler that Postgres refused, in those words, what it left."""
    return lambda claimed, delivery: Unstorable(
        f"What {claimed.kind}({claimed.key!r}).{delivery.handler} did cannot be stored: Postgres says {words!r}. "
        "The state is as before; send values that Postgres takes.",
        path="(root)",
    )


def crashed(deaths: int) -> Sentence:
    """Return what says of a handler that so many worker processes have died while they ran it."""

    def sentence(claimed: Claimed, delivery: Delivery) -> HandlerCrashed:
        where = f"{claimed.kind}({claimed.key!r}).{delivery.handler}"
        return HandlerCrashed(
            f"{deaths} worker processes died, one after another, while they handled message {delivery.id}, {where}. It "
            "was set aside, and the state is as before. The last words of those processes say why: a crash in a C "
            "library, os._exit, too little memory, an event loop that stood still. Mend the handler, then send anew.",
            type="HandlerCrashed",
            message=f"{deaths} worker processes died while they handled it",
        )

    return sentence


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _broken(error: BaseException) -> dict[str, str]:
    """Return what Postgres names of the constraint that was broken."""
    diagnosis = getattr(error, "diag", None)
    names = {part: getattr(diagnosis, f"{part}_name", None) for part in ("constraint", "table", "column")}
    return {part: _clean(name) for part, name in names.items() if name}


def _words(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST_WORDS]
    except BaseException:  # noqa: BLE001 # a broken __str__ is the user's, and must not cost more than its words
        return "(its text cannot be read: __str__ raised)"


def _clean(text: str) -> str:
    """Return text that Postgres stores: an exception's words may hold what its value did."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
