"""Arguments: what a message to a run holds, checked before anything comes of it: SQL sends whatever JSON allows."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from revenant.codec import ANYTHING, RUN_KIND, check_key, dump, read_part
from revenant.errors import RevenantError
from revenant.queue.records import Delivery

_NEEDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "fire": {"run": str, "op": int, "what": str},
    "answer": {"op": int, "id": str, "status": str},
    "finished": {"run": str, "op": int, "id": str, "status": str, "error": (dict, type(None))},
    "step": {
        "run": str,
        "op": int,
        "attempt": int,
        "status": str,
        "error": (dict, type(None)),
        "retryable": (bool, type(None)),
    },
    "signal": {"name": str, "id": (str, type(None))},
    "update": {"name": str, "id": (str, type(None))},
    "decide": {
        "name": str,
        "approved": bool,
        "by": str,
        "reason": (str, type(None)),
        "run": (str, type(None)),
        "op": (int, type(None)),
    },
    "start": {"parent": (list, type(None)), "events": (list, type(None)), "version": (int, type(None))},
    "cancel": {"reason": (str, type(None))},
    "park": {"reason": (str, type(None))},
    "migrate": {"version": (int, type(None))},
}
"""What must be of a type before it is looked at; what is not there is None."""
_SUSPICIOUS = re.compile(r"\\u|[0-9][eE]\+?[0-9]{2}|[0-9]{299}")
"""What JSON text may hold and a history may not: characters that jsonb does not store, numbers that no float is."""
_WORDS = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    type(None): "nothing",
}
_NAMED = ("signal", "update")
"""What is taken by its name, and counts once by its id."""
_PARENT = (str, str, int, bool, str)
"""Kind, key, operation, whether it waits, and its stream."""
_LONGEST_KIND = 128
MOST = 2**31 - 1
"""Operations, attempts and versions are counted from 1 to what Postgres holds as an integer."""


class Unusable(BaseException):
    """A message cannot be for a run; its text says why, and what to do."""


def read_args(delivery: Delivery) -> dict[str, Any]:
    """Return the arguments of a message to a run.

    Raises:
        Unusable: no run can do anything with them, and no history can hold them.
    """
    what = f"{delivery.handler!r} of a run"
    try:
        args = from_json(delivery.args)
        if _SUSPICIOUS.search(delivery.args) is not None:
            dump(ANYTHING, args, what=f"What {what} was sent", limit=len(delivery.args) * 8)
    except RevenantError as error:
        raise Unusable(str(error)) from None
    except ValueError as error:
        raise Unusable(f"The arguments of {what} cannot be read ({error}). Nothing was done; send JSON.") from None
    if not isinstance(args, dict):
        raise Unusable(f"The arguments of {what} are no JSON object. Nothing was done; send an object.")
    for name, kinds in _NEEDS.get(delivery.handler, {}).items():
        if not _is(args.get(name), kinds):
            wanted = " or ".join(_WORDS[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise Unusable(f"{what} takes {name!r} as {wanted}, and got {args.get(name)!r}. Nothing was done.")
    if delivery.handler in _NAMED:
        _check_named(args, what, delivery.args)
    if delivery.handler == "start":
        _check_start(args, what)
    if delivery.handler == "answer" and args["status"] != "ok" and not isinstance(args.get("body"), dict):
        raise Unusable(f"{what} has an error as {args.get('body')!r}. Nothing was done; entities answer by themselves.")
    return args


def _is(value: object, kinds: type | tuple[type, ...]) -> bool:
    if type(value) is bool:
        # To Python it is a number, and to Postgres it is not.
        return bool in (kinds if isinstance(kinds, tuple) else (kinds,))
    return isinstance(value, kinds) and not (isinstance(value, int) and abs(value) > MOST)


def _check_named(args: dict[str, Any], what: str, text: str) -> None:
    if not args["name"] or args.get("id") == "":
        raise Unusable(f"{what} has an empty name or id. Nothing was done; give it a name, and an id or none.")
    try:
        # Its payload is to be read again, as a part of what it is recorded in.
        read_part(text, what=f"What {what} was sent")
    except RevenantError as error:
        raise Unusable(str(error)) from None


def _check_start(args: dict[str, Any], what: str) -> None:
    parent, version = args.get("parent"), args.get("version")
    if parent is not None and not _is_parent(parent):
        raise Unusable(f"{what} names its parent as {parent!r}. Nothing was done; flow.child() starts children.")
    if args.get("events") is not None and (version is None or version < 1):
        raise Unusable(f"{what} has a history, and its version as {version!r}. Nothing was done; app.fork() sends it.")


def _is_parent(parent: list[Any]) -> bool:
    """Whether that can be told of an end: it has an address."""
    if tuple(map(type, parent)) != _PARENT or not 0 < parent[2] <= MOST:
        return False
    kind, key = parent[:2]
    try:
        check_key(RUN_KIND, key)
        return str(kind).startswith(RUN_KIND) and len(RUN_KIND) < len(kind.encode()) <= _LONGEST_KIND
    except (RevenantError, UnicodeEncodeError):
        return False
