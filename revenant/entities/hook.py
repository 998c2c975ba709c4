"""Hook: what an entity does before it leaves memory; its failure is logged, and costs what it did only."""

from __future__ import annotations

import logging

from revenant.entities.context import Effects, effects_of, running
from revenant.entities.entity import Entity, set_turn
from revenant.entities.instance import Instance
from revenant.entities.turn import Rules
from revenant.queue.records import Delivery

log = logging.getLogger("revenant.hook")


def has_hook(definition: type[Entity]) -> bool:
    """Whether the class does something before its entities leave memory."""
    return definition.passivate is not Entity.passivate


async def run_hook(instance: Instance, rules: Rules, delivery: Delivery) -> Effects | None:
    """Run `passivate()` as if `delivery` had asked for it; return what it asked for, None where it did not run."""
    before = instance.standing
    entity: Entity | None = None
    try:
        entity = instance.load()
        turn = rules.new_turn(instance.claimed, delivery)
        token = running.set(turn)
        set_turn(entity, turn)
        try:
            await rules.guard(entity.passivate())
        finally:
            running.reset(token)
            set_turn(entity, None)
        effects = effects_of(turn)
        if effects.deleted:
            instance.end()
        else:
            instance.keep()
        if effects.jobs:
            await rules.defer(effects.jobs)
    except (Exception, SystemExit):
        log.exception(
            "%s(%r).passivate failed; what it did is undone, and the entity leaves memory without it. Mend the hook.",
            instance.claimed.kind,
            instance.claimed.key,
        )
        instance.undo(before)
        return None
    instance.record(delivery)
    return effects
