"""State as it is stored: JSON text to an entity and back, upgraded step by step where the class has moved on."""

from __future__ import annotations

import json

from pydantic import ValidationError

from revenant.codec import dump, explain
from revenant.entities.entity import COPY_OF, Entity
from revenant.entities.first import first_state
from revenant.entities.jsonb import as_stored
from revenant.entities.likeness import difference
from revenant.errors import StateInvalid, Unstorable
from revenant.wording import a, raised


def load_state(definition: type[Entity], key: str, *, state: str | None, vsn: int | None) -> Entity:
    """Return the entity whose state that is; its initial one where there is none.

    Raises:
        StateInvalid: the stored JSON does not fit the class.
        ConfigurationError: `initial` returned something else than the class's own state.
    """
    if state is None:
        return first_state(definition, key)
    try:
        if vsn is not None and vsn < definition.entity_vsn:
            return definition.model_validate_json(upgraded(definition, key, state, vsn))
        return definition.__pydantic_validator__.validate_json(state)  # type: ignore[no-any-return]  # pydantic-core is untyped
    except ValidationError as error:
        path, why = explain(error)
        raise StateInvalid(
            f"The stored state of {definition.entity_kind}({key!r}) does not fit {definition.__qualname__} "
            f"(vsn {definition.entity_vsn}, stored by vsn {vsn}): {why}. Nothing is overwritten and its casts wait. "
            "Mend the class (raise vsn and write `upgrade`), or mend the row in revenant.entities.",
            path=path,
        ) from None


def load_copy(definition: type[Entity], key: str, *, state: str, vsn: int | None) -> Entity:
    """Return a committed state to look at: its key is known, and its handlers are not for it.

    Raises:
        StateInvalid: the stored JSON does not fit the class, or a newer version of it has written it.
    """
    if vsn is not None and vsn > definition.entity_vsn:
        raise StateInvalid(
            f"The stored state of {definition.entity_kind}({key!r}) is of vsn {vsn}, and {definition.__qualname__} is "
            f"at {definition.entity_vsn} here. Read it with the newer class, or by its name, which gives plain JSON.",
            path="(root)",
        )
    copy = load_state(definition, key, state=state, vsn=vsn)
    vars(copy)[COPY_OF] = key
    return copy


def dump_state(entity: Entity, *, key: str, limit: int) -> str:
    """Return the state as JSON text.

    Raises:
        Unstorable: naming the path of the field that cannot be stored.
        TooLarge: over `limit` bytes.
    """
    definition = type(entity)
    what = f"The state of {definition.entity_kind}({key!r})"
    return dump(definition.__pydantic_serializer__, entity, what=what, limit=limit, round_trip=True)


def check_readable(entity: Entity, text: str, *, key: str, prove: bool = False) -> None:
    """Refuse a state that was written and would come back as another one: its message must not be acknowledged.

    `prove`: compare whatever the types say, exactly, and with what Postgres' `jsonb` makes of the text.

    Raises:
        Unstorable: naming the path.
    """
    definition = type(entity)
    what = f"The state of {definition.entity_kind}({key!r})"
    try:
        read = definition.__pydantic_validator__.validate_json(as_stored(text) if prove else text)
    except ValidationError as error:
        path, why = explain(error)
        raise Unstorable(
            f"{what} could be written but not read again: {why}. Nothing was changed; the handler left what the class "
            "does not allow, or the class writes a field otherwise than it reads it.",
            path=path,
        ) from None
    changed = difference(entity, read, exact=prove) if prove or definition.entity_shape.must_compare else None
    if changed is not None:
        raise Unstorable(
            f"{what} could be written, and would come back as another one: {changed} is not read as it was written. "
            "Nothing was changed; annotate the field with the type of what it holds, or mend its serializer.",
            path=changed,
        )


def upgraded(definition: type[Entity], key: str, state: str, vsn: int) -> str:
    """Return the state as the class writes it today, by its `upgrade`, a step at a time.

    Raises:
        StateInvalid: a step failed, or returned what is no JSON object.
    """
    raw: object = json.loads(state)
    for step in range(vsn, definition.entity_vsn):
        try:
            raw = definition.upgrade(step, raw)  # type: ignore[arg-type]  # a dict, as the last step has seen to
            text = json.dumps(_object(raw), allow_nan=False)
        except Exception as error:
            raise StateInvalid(
                f"The stored state of {definition.entity_kind}({key!r}) cannot be upgraded from vsn {step} to "
                f"{step + 1}: {raised(type(error).__qualname__, error)}. Nothing is overwritten and its casts wait. "
                f"Mend {definition.__qualname__}.upgrade; `revenant upgrade {definition.entity_kind} --dry-run` finds "
                "every row that would fail.",
                path="(root)",
            ) from error
    return text


def _object(raw: object) -> object:
    if type(raw) is not dict:
        raise TypeError(f"it returned {a(type(raw).__qualname__)}, and must return a dict")
    return raw
