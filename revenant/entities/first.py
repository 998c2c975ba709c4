"""First: the state of an entity that has none yet: by its fields' defaults, or by the class's own `initial`."""

from __future__ import annotations

import inspect

from pydantic import ValidationError

from revenant.codec import explain
from revenant.entities.entity import Entity
from revenant.entities.failure import RaisedBy
from revenant.errors import ConfigurationError
from revenant.wording import a


def first_state(definition: type[Entity], key: str) -> Entity:
    """Return a new entity; what its own `initial` raises, passes, with a note of where it comes from.

    Raises:
        ConfigurationError: the class does not say how an entity begins, or its `initial` returns something else.
    """
    name = definition.__qualname__
    try:
        made: object = definition.initial(key)
    except ValidationError as error:
        path, why = explain(error)
        raise ConfigurationError(
            no_first_state(definition)
            or f"{name}.initial({key!r}) made no {name}: the field {path} is wrong or missing: {why}. Mend `initial`, "
            "or give the field a default. Nothing was changed."
        ) from None
    except BaseException as error:
        error.add_note(RaisedBy(f"{definition.entity_kind}({key!r}).initial"))
        raise
    if type(made) is not definition:
        raise ConfigurationError(
            f"{name}.initial({key!r}) returned {a(type(made).__qualname__)}, and must return a "
            f"{name}: `return cls(…)`. Nothing was changed."
        )
    return made


def no_first_state(definition: type[Entity]) -> str:
    """Return what is wrong with a class that does not say how its entities begin; empty if nothing is."""
    own = inspect.getattr_static(definition, "initial") is not inspect.getattr_static(Entity, "initial")
    missing = [name for name, field in definition.model_fields.items() if field.is_required()]
    if own or not missing:
        return ""
    name, field = definition.__qualname__, missing[0]
    kind = getattr(definition.model_fields[field].annotation, "__name__", "…")
    return (
        f"{name} does not say how an entity begins: its field {field!r} has no default, and it has no `initial`. Give "
        f"the field one (`{field}: {kind} = …`), or write `@classmethod def initial(cls, key)`, which returns "
        f"`cls({field}=…)`. Nothing was changed."
    )
