"""Partners, as a handler names them: parameters that arrive as live entities and travel as their keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from revenant.codec import check_key
from revenant.entities.address import Addressed
from revenant.errors import ConfigurationError


def names_of(together: object, parameters: Iterable[str], label: str) -> tuple[str, ...]:
    """Return what `@handler(together=…)` was given as names of parameters.

    Raises:
        ConfigurationError: these are no names of the handler's parameters.
    """
    names = (together,) if isinstance(together, str) else tuple(together) if isinstance(together, Iterable) else (None,)
    known = list(parameters)
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"{label} has together={together!r}, and {name!r} is none of its parameters ({', '.join(known)}). "
                'Name those that are entities to be changed in the same commit: @handler(together=("other",)).'
            )
    return names


def class_of(hint: Any, label: str) -> type[Any]:
    """Return the entity's class that annotates a partner.

    Raises:
        ConfigurationError: it is annotated with something else.
    """
    if isinstance(hint, type) and isinstance(getattr(hint, "entity_kind", None), str):
        return hint
    raise ConfigurationError(
        f"{label} is to be an entity that is changed in the same commit, and is annotated with {hint!r}. Annotate it "
        "with the entity's class: `other: Account`."
    )


def travelling(definition: type[Any]) -> Any:
    """Return the type of a partner in a message: its key, made of a ref by whoever sends."""
    kind = definition.entity_kind

    def to_key(value: object) -> object:
        if isinstance(value, Addressed):
            if value._kind != kind:
                words = "is the address of a {found}, and a {wanted} is wanted"
                raise PydanticCustomError("partner", words, {"found": value._kind, "wanted": kind})
            return value._key
        if not isinstance(value, str):
            words = "is to be a ref, as app.ref({wanted}, key) makes one, or a key"
            raise PydanticCustomError("partner", words, {"wanted": kind})
        return check_key(kind, value)

    return Annotated[str, BeforeValidator(to_key)]


def check_strict(definition: type[Any], label: str) -> None:
    """Refuse a class whose entities have no row to lock while they live in a worker's memory.

    Raises:
        ConfigurationError: its durability is relaxed.
    """
    durability = getattr(definition, "entity_durability", "strict")
    if durability != "strict":
        raise ConfigurationError(
            f"{label} changes entities in one commit, and {definition.__qualname__} has durability={durability!r}: it "
            'is stored later than it changes. Make the class durability="strict", or cast to the other entity.'
        )
