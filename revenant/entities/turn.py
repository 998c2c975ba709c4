"""One entity's part of a turn: state and messages in, outcomes out; no I/O, and no clock of its own.

Invariant: a handler that fails leaves the state, and what will be sent, as they were before its message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from revenant.codec import dump
from revenant.entities.company import Company, Lender
from revenant.entities.context import Effects, Isolation, Job, Turn, running
from revenant.entities.entity import Entity
from revenant.entities.expiry import is_still_idle
from revenant.entities.failure import Sentence, failed, unknown_handler
from revenant.entities.handler import Handler
from revenant.entities.instance import Instance
from revenant.entities.lifetime import EXPIRE, slack_of
from revenant.entities.outcome import Applied, Awaits, EntityTurn, Failed, Left, Outcome, Repeated, reply_of
from revenant.entities.reading import check_reading
from revenant.entities.reminder import Reminder
from revenant.errors import ConfigurationError, ReadonlyBroken, Refused, StateInvalid, Unstorable
from revenant.queue.records import Claimed, Delivery, Reply

DELETE = "revenant:delete"
"""The handler that every entity has: it ends the entity, in order with everything else."""
PASSIVATE = "revenant:passivate"
"""The handler that every entity has: it leaves memory, in order with everything else."""
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
    condemned: Callable[[str], Sentence | None]
    """Why that message (id) must not run again, if so."""
    served_elsewhere: Callable[[str, str], Awaitable[bool]]
    """Whether another live worker knows this handler (kind, name), by a look made after the claim."""
    isolation: Isolation
    defer: Callable[[Sequence[Job]], Awaitable[None]]
    """Defers jobs in the turn's transaction, behind the message's savepoint."""
    limit: int
    """Bytes of JSON that a state or a result may take."""
    prove: bool = False
    """Whether each new state is read again and compared, as `validate_state` says."""
    lender: Lender | None = None
    """Locks the other entities that a message changes; None where there is only one."""


async def run_turn(
    definition: type[Entity],
    claimed: Claimed,
    rules: Rules,
    *,
    instance: Instance | None = None,
    handled: dict[str, Reply | None] | None = None,
) -> EntityTurn:
    """Handle one entity's messages in order, until they end or the budget does.

    `instance` is what an earlier turn left in memory, at the state that is claimed; `handled` the replies, by id, of
    messages that it has handled and that are not settled yet.
    """
    if instance is None:
        instance = Instance(definition, claimed, rules.limit, prove=rules.prove)
    handled = {} if handled is None else handled
    company = Company(instance, rules.lender)
    awaits: Awaits | None = None
    outcomes: list[Outcome] = []
    unreached = False
    for delivery in claimed.deliveries:
        if outcomes and rules.spent():
            unreached = True
            break
        if delivery.done is not None or delivery.id in handled:
            outcomes.append(Repeated(delivery, delivery.done or handled[delivery.id]))
            continue
        if delivery.handler == PASSIVATE:
            outcomes.append(Applied(delivery, instance.version, "true" if instance.resident else "false", None))
            continue
        outcome = await _handle(company, delivery, rules)
        if isinstance(outcome, Awaits):
            awaits, unreached = outcome, True
            break
        outcomes.append(outcome)
        company.record(delivery)
        if isinstance(outcome, Left) and outcome.why == "elsewhere":
            # Later messages must not overtake it.
            unreached = True
            break
        handled[delivery.id] = reply_of(outcome)
    text = instance.text if instance.version else None
    partners = [(_row_of(partner), partner.definition.entity_vsn) for partner in company.changed_partners]
    slack = slack_of(definition.entity_idle_delete)
    return EntityTurn(
        claimed, outcomes, text, instance.version, instance.changed, unreached, awaits, partners, slack,
        instance.take_past(),
    )  # fmt: skip


def _row_of(partner: Instance) -> EntityTurn:
    text = partner.text if partner.version else None
    past = partner.take_past()
    return EntityTurn(partner.claimed, (), text, partner.version, changed=True, unreached=False, past=past)


async def _handle(company: Company, delivery: Delivery, rules: Rules) -> Outcome | Awaits:
    instance, claimed = company.own, company.own.claimed
    if delivery.handler == DELETE:
        existed = instance.version > 0
        instance.end()
        return Applied(delivery, 0, "true" if existed else "false", _ended(claimed))
    if delivery.handler == EXPIRE:
        if not is_still_idle(instance, delivery):
            return Applied(delivery, instance.version, "false", None)
        instance.end()
        return Applied(delivery, 0, "true", _ended(claimed))
    found = instance.definition.entity_handlers.get(delivery.handler)
    if found is None:
        if await rules.served_elsewhere(claimed.kind, delivery.handler):
            return Left(delivery, "elsewhere")
        known = ", ".join(sorted(instance.definition.entity_handlers)) or "none"
        return _failed(instance, delivery, unknown_handler(claimed, delivery, known), final=True)
    sentence = rules.condemned(delivery.id)
    if sentence is not None:
        return _failed(instance, delivery, sentence(claimed, delivery), final=True)
    for _ in range(COLLISION_RERUNS):
        outcome = await _run_from_fresh(company, found, delivery, rules)
        if not (isinstance(outcome, Failed) and outcome.collided):
            return outcome
    return await _run_from_fresh(company, found, delivery, rules)


def _ended(claimed: Claimed) -> Effects:
    """What ends with an entity."""
    return Effects([], [], deleted=True, reminders=[Reminder(claimed.kind, claimed.key, None)])


async def _run_from_fresh(
    company: Company, found: Handler[..., Any], delivery: Delivery, rules: Rules
) -> Outcome | Awaits:
    instance = company.own
    try:
        instance.load()
        arguments = found.read_arguments(delivery.args, kind=instance.claimed.kind, key=instance.claimed.key)
    except StateInvalid as error:
        return Left(delivery, "state") if delivery.origin is None else _failed(instance, delivery, error, final=True)
    except BaseException as error:  # noqa: BLE001 # initial(), upgrade() and validators are the user's code: it becomes the reply
        return _failed(instance, delivery, error, final=isinstance(error, Refused))
    if found.partners:
        try:
            why = await company.gather(found.partners, arguments)
        except ConfigurationError as error:
            return _failed(instance, delivery, error, final=True)
        if why is not None:
            return Awaits(delivery, why)
    return await _run_handler(company, found, arguments, delivery, rules)


async def _run_handler(
    company: Company, found: Handler[..., Any], arguments: dict[str, Any], delivery: Delivery, rules: Rules
) -> Outcome:
    instance = company.own
    group = company.round(found.partners, arguments, lambda claimed: rules.new_turn(claimed, delivery))
    token = running.set(group.members[0].turn)
    try:
        entity, given = group.enter(arguments)
        result = await rules.guard(found.function(entity, **given))
        body = _dump_result(instance.claimed, found, result, rules.limit)
        effects = group.effects()
        if found.readonly:
            check_reading(found.label, [member.instance for member in group.members], effects)
        group.keep()
        if effects.jobs:
            await rules.defer(effects.jobs)
        if rules.isolation.used:
            # Whoever only reads keeps nothing, whatever its SQL has done.
            await (rules.isolation.rollback() if found.readonly else rules.isolation.release())
    except (Exception, SystemExit) as error:  # noqa: BLE001 # whatever the handler raises is its reply
        group.undo()
        if rules.isolation.used:
            await rules.isolation.rollback()
        # One that was given up was condemned while it ran.
        final = isinstance(error, Unstorable | Refused | ReadonlyBroken) or rules.condemned(delivery.id) is not None
        return _failed(instance, delivery, error, final=final)
    finally:
        rules.isolation.end_loan()
        group.leave()
        running.reset(token)
    return Applied(delivery, instance.version, body, effects if effects.to_book else None)


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
