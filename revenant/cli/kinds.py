"""The classes of an application, as commands ask for them."""

from __future__ import annotations

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.errors import UnknownKind


def definition_of(app: Revenant, kind: str) -> type[Entity]:
    """Return the class of a kind.

    Raises:
        UnknownKind: the application has none.
    """
    found = app.registry.kinds.get(kind)
    if found is None:
        known = ", ".join(sorted(app.registry.kinds)) or "none"
        raise UnknownKind(f"No entity is of kind {kind!r}. This application has: {known}.")
    return found
