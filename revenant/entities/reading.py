"""Reading: what a handler marked `readonly` has promised, checked once it has run.

Invariant: such a handler leaves nothing behind but its reply.
"""

from __future__ import annotations

from collections.abc import Iterable

from revenant.entities.context import Effects
from revenant.entities.instance import Instance
from revenant.errors import ReadonlyBroken


def check_reading(label: str, instances: Iterable[Instance], effects: Effects) -> None:
    """Refuse what a readonly handler has changed or asked for; `label` is its name.

    Raises:
        ReadonlyBroken: saying what it did.
    """
    did = next((f"changed the state of {_name(one)}" for one in instances if one.differs), None)
    if effects.deleted:
        did = "deleted the entity"
    elif effects.to_book:
        did = "sent a message, or set a reminder"
    elif effects.jobs:
        did = "deferred a job"
    if did is not None:
        raise ReadonlyBroken(
            f"{label} is marked readonly and {did}. Nothing of it was kept. Take the mark off (@handler), or the "
            "change out of the handler."
        )


def _name(instance: Instance) -> str:
    return f"{instance.claimed.kind}({instance.claimed.key!r})"
