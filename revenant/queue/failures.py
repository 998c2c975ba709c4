"""Failures: an error as it stands in a reply or a history, made into the exception that it stands for."""

from __future__ import annotations

from typing import Any

from revenant.errors import (
    AlreadyAnswered,
    ConfigurationError,
    HandlerCrashed,
    HandlerError,
    HandlerTimeout,
    IntegrityViolation,
    InvalidArguments,
    InvalidKey,
    MessageBuried,
    NestedCall,
    ReadonlyBroken,
    ReplyNotKept,
    RevenantError,
    RunCancelled,
    RunEnded,
    RunExists,
    RunFailed,
    RunNotFound,
    RunRefused,
    StateInvalid,
    TooLarge,
    UnknownHandler,
    UnknownKind,
    UnknownWorkflow,
    Unstorable,
    UpdateRefused,
)
from revenant.wording import raised

_WITH_PATH: dict[str, type[Unstorable | StateInvalid]] = {"Unstorable": Unstorable, "StateInvalid": StateInvalid}
_ENDS: dict[str, type[RunFailed]] = {"RunFailed": RunFailed, "RunCancelled": RunCancelled}
_PLAIN: dict[str, type[RevenantError]] = {
    kind.__name__: kind
    for kind in (
        *(ConfigurationError, InvalidArguments, InvalidKey, NestedCall, ReadonlyBroken),
        *(MessageBuried, ReplyNotKept, TooLarge, UnknownHandler, UnknownKind),
        *(RunEnded, RunExists, RunNotFound, RunRefused, UnknownWorkflow, UpdateRefused),
    )
}


def error_of(details: dict[str, Any]) -> RevenantError:
    """Return the exception that an error reply stands for."""
    name, text = str(details.get("error")), str(details.get("message"))
    with_path = _WITH_PATH.get(name)
    if with_path is not None:
        return with_path(text, path=str(details.get("path")))
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain(text)
    if name == "AlreadyAnswered":
        return AlreadyAnswered(text, by=str(details.get("by")))
    ended = _ENDS.get(name)
    if ended is not None:
        return ended(text, type=str(details.get("type")), message=str(details.get("why", text)))
    traceback = details.get("traceback")
    where = details.get("where", "The handler")
    words = (
        f"{where} raised {raised(details.get('type'), text)}. The state is as it was before the message; "
        "mend the handler or the arguments and send again." + (f"\n{traceback}" if traceback else "")
    )
    told: dict[str, Any] = {"type": str(details.get("type")), "message": text, "traceback": traceback}
    if name == "IntegrityViolation":
        broken: dict[str, Any] = {part: details.get(part) for part in ("constraint", "table", "column")}
        return IntegrityViolation(words, sqlstate=str(details.get("sqlstate")), **told, **broken)
    if name == "HandlerCrashed":
        return HandlerCrashed(text, **told)
    return (HandlerTimeout if name == "HandlerTimeout" else HandlerError)(words, **told)
