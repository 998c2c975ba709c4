"""One entity's part of a turn: state and messages in, outcomes out; no I/O, and no clock of its own.

Invariant: a handler that fails leaves the state, and what will be sent, as they were before its message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from revenant.codec import dump
from revenant.entities.context import Isolation, Job, Turn, effects_of, running
from revenant.entities.entity import Entity
from revenant.entities.failure import condemned, failed, unknown_handler
from revenant.entities.handler import Handler
from revenant.entities.instance import Instance
from revenant.entities.outcome import Applied, EntityTurn, Failed, Left, Outcome, Repeated, reply_of
from revenant.errors import Refused, StateInvalid, Unstorable
from revenant.queue.records import Claimed, Delivery, Reply

DELETE = "revenant:delete"
"""The handler that every entity has: it ends the entity, in order with everything else."""
COLLISION_RERUNS = 3
"""Times that a handler is run again at once, from fresh state, because its own SQL collided with somebody else's."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the worker decides for the turns it runs."""

    new_turn: Callable[[Claimed, Delivery], Turn]
    guard: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
    """Awaits a handler, and raises HandlerTimeout when it takes too long."""
    spent: Callable[[], bool]
    """Whether the turn's time budget is used up."""
    condemned: Callable[[str], str | None]
    """Why that message (id) must not run again: what Postgres said of it; empty where it ended its transaction."""
    served_elsewhere: Callable[[str, str], Awaitable[bool]]
    """Whether another live worker knows this handler (kind, name), by a look made after the claim."""
    isolation: Isolation
    defer: Callable[[Sequence[Job]], Awaitable[None]]
    """Defers jobs in the turn's transaction, behind the message's savepoint."""
    limit: int
    """Bytes of JSON that a state or a result may take."""


async def run_turn(definition: type[Entity], claimed: Claimed, rules: Rules) -> EntityTurn:
    """Handle one entity's messages in order, until they end or the budget does."""
    instance = Instance(definition, claimed, rules.limit)
    outcomes: list[Outcome] = []
    handled: dict[str, Reply | None] = {}
    unreached = False
    for delivery in claimed.deliveries:
        if outcomes and rules.spent():
            unreached = True
            break
        if delivery.done is not None or delivery.id in handled:
            outcomes.append(Repeated(delivery, delivery.done or handled[delivery.id]))
            continue
        outcome = await _handle(instance, delivery, rules)
        outcomes.append(outcome)
        if isinstance(outcome, Left) and outcome.why == "elsewhere":
            # Later messages must not overtake it.
            unreached = True
            break
        handled[delivery.id] = reply_of(outcome)
    text = instance.text if instance.version else None
    return EntityTurn(claimed, outcomes, text, instance.version, instance.changed, unreached)


async def _handle(instance: Instance, delivery: Delivery, rules: Rules) -> Outcome:
    claimed = instance.claimed
    if delivery.handler == DELETE:
        existed = instance.version > 0
        instance.end()
        return Applied(delivery, 0, "true" if existed else "false", None)
    found = instance.definition.entity_handlers.get(delivery.handler)
    if found is None:
        if await rules.served_elsewhere(claimed.kind, delivery.handler):
            return Left(delivery, "elsewhere")
        known = ", ".join(sorted(instance.definition.entity_handlers)) or "none"
        return _failed(instance, delivery, unknown_handler(claimed, delivery, known), final=True)
    why = rules.condemned(delivery.id)
    if why is not None:
        return _failed(instance, delivery, condemned(claimed, delivery, why), final=True)
    for _ in range(COLLISION_RERUNS):
        outcome = await _run_from_fresh(instance, found, delivery, rules)
        if not (isinstance(outcome, Failed) and outcome.collided):
            return outcome
    return await _run_from_fresh(instance, found, delivery, rules)


async def _run_from_fresh(instance: Instance, found: Handler[..., Any], delivery: Delivery, rules: Rules) -> Outcome:
    try:
        instance.load()
        arguments = found.read_arguments(delivery.args, kind=instance.claimed.kind, key=instance.claimed.key)
    except StateInvalid as error:
        return Left(delivery, "state") if delivery.origin is None else _failed(instance, delivery, error, final=True)
    except Exception as error:  # noqa: BLE001 # initial(), upgrade() and validators are the user's code: it becomes the reply
        return _failed(instance, delivery, error, final=isinstance(error, Refused))
    return await _run_handler(instance, found, arguments, delivery, rules)


async def _run_handler(
    instance: Instance, found: Handler[..., Any], arguments: dict[str, Any], delivery: Delivery, rules: Rules
) -> Outcome:
    entity = instance.load()
    turn = rules.new_turn(instance.claimed, delivery)
    before = instance.standing
    token = running.set(turn)
    entity._turn = turn
    try:
        result = await rules.guard(found.function(entity, **arguments))
        body = _dump_result(instance.claimed, found, result, rules.limit)
        effects = effects_of(turn)
        if effects.deleted:
            instance.end()
        else:
            instance.keep()
        if effects.jobs:
            await rules.defer(effects.jobs)
        if rules.isolation.used:
            await rules.isolation.release()
    except (Exception, SystemExit) as error:  # noqa: BLE001 # whatever the handler raises is its reply
        instance.undo(before)
        if rules.isolation.used:
            await rules.isolation.rollback()
        return _failed(instance, delivery, error, final=isinstance(error, Unstorable | Refused))
    finally:
        rules.isolation.end_loan()
        entity._turn = None
        running.reset(token)
    return Applied(delivery, instance.version, body, effects if effects.sends else None)


def _dump_result(claimed: Claimed, found: Handler[..., Any], result: Any, limit: int) -> str:
    if result is None and found.may_return_none:
        return "null"
    if result is None:
        raise Unstorable(
            f"{claimed.kind}({claimed.key!r}).{found.name} returned None, and its annotation says "
            "otherwise. Nothing was changed; was a `return` forgotten?",
            path="(root)",
        )
    what = f"The result of {claimed.kind}({claimed.key!r}).{found.name}"
    return dump(found.result.serializer, result, what=what, limit=limit)


def _failed(instance: Instance, delivery: Delivery, error: BaseException, *, final: bool) -> Failed:
    return failed(instance.claimed, delivery, instance.version, error, final=final)
