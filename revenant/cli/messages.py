"""A message as one types it, built by its class where the application has it."""

from __future__ import annotations

import json

from revenant.app import Revenant
from revenant.entities.message import Message
from revenant.entities.ref import message_builder
from revenant.errors import UnknownKind


def message_of(app: Revenant, kind: str, key: str, handler: str, args: str) -> Message[str]:
    """Return the message; its reply will be JSON text, as it was committed.

    Raises:
        UnknownKind: the application has entities, and none of this kind.
        UnknownHandler, InvalidArguments: the class is known, and does not take them.
    """
    kinds = app.registry.kinds
    if kinds and kind not in kinds:
        raise UnknownKind(
            f"No entity is of kind {kind!r}. This application has: {', '.join(sorted(kinds))}. "
            "Without --app (and REVENANT_APP) a message of any kind can be sent, unchecked."
        )
    builder = message_builder(app.ref(kind, key), handler)
    if kind in kinds and handler in kinds[kind].entity_handlers:
        named = kinds[kind].entity_handlers[handler].read_arguments(args, kind=kind, key=key)
        built = builder(**named)
    else:
        values = json.loads(args)
        built = builder(*values) if isinstance(values, list) else builder(**values)
    built.sent()
    return Message(kind=kind, key=key, handler=handler, args=built.args, load=str, caller=None)
