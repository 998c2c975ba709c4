"""The kinds that one application knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from revenant.entities.entity import Entity, readable_shape
from revenant.entities.first import no_first_state
from revenant.entities.lifetime import EXPIRE
from revenant.entities.partner import check_strict
from revenant.errors import ConfigurationError


class Registry:
    """Entity classes by kind; built once, and read only."""

    def __init__(self, entities: Iterable[type[Entity]]) -> None:
        if isinstance(entities, type | str) or not isinstance(entities, Iterable):
            raise ConfigurationError(
                f"entities= takes a list of entity classes, and got {entities!r}. Write Revenant(entities=[Account])."
            )
        kinds: dict[str, type[Entity]] = {}
        for definition in entities:
            given: object = definition
            if not (isinstance(given, type) and issubclass(given, Entity)):
                raise ConfigurationError(f"{definition!r} is not a subclass of Entity; pass the classes themselves.")
            other = kinds.setdefault(definition.entity_kind, definition)
            if other is not definition:
                raise ConfigurationError(
                    f"Two classes are of kind {definition.entity_kind!r}: {other.__qualname__} and "
                    f'{definition.__qualname__}. Give one another name: class …(Entity, kind="…").'
                )
            definition.entity_shape = readable_shape(definition)
            if flaw := no_first_state(definition):
                raise ConfigurationError(flaw)
            for found in definition.entity_handlers.values():
                # Read the annotations now: a mistake in them belongs to the start, not to the first message.
                _ = found.arguments, found.result
                for partner in (definition, *found.partners.values()) if found.partners else ():
                    check_strict(partner, found.label)
        self.kinds: Mapping[str, type[Entity]] = MappingProxyType(kinds)

    @property
    def relaxed(self) -> bool:
        """Whether any kind is kept in a worker's memory between its messages."""
        return any(found.entity_durability != "strict" for found in self.kinds.values())

    def histories(self) -> dict[str, timedelta]:
        """Return how long the kinds that keep a history do so."""
        return {kind: found.entity_history for kind, found in self.kinds.items() if found.entity_history is not None}

    def described(self, only: Iterable[str] | None = None) -> dict[str, Any]:
        """Return what a worker's row says of its kinds: {kind: {"vsn": n, "handlers": [name, …]}}."""
        wanted = set(self.kinds if only is None else only)
        return {
            kind: {"vsn": definition.entity_vsn, "handlers": _handlers(definition)}
            for kind, definition in sorted(self.kinds.items())
            if kind in wanted
        }


def _handlers(definition: type[Entity]) -> list[str]:
    # An older worker leaves the end of an idle entity to those that say that they know of it.
    own = [EXPIRE] if definition.entity_idle_delete else []
    return sorted([*definition.entity_handlers, *own])
