"""One entity's part of a turn: state and messages in, outcomes out; no I/O, and no clock of its own.

Invariant: a handler that fails leaves the state, and what will be sent, as they were before its message.
"""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from revenant.codec import dump
from revenant.entities.context import Effects, Isolation, Job, Turn, effects_of, running
from revenant.entities.entity import Entity
from revenant.entities.handler import Handler
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.errors import (
    ConfigurationError,
    HandlerTimeout,
    Refused,
    RevenantError,
    StateInvalid,
    UnknownHandler,
    Unstorable,
)
from revenant.queue.records import Claimed, Delivery, Reply

LONGEST_WORDS = 64 * 1024
"""Characters of an exception's text, and of its traceback, that are kept."""
DELETE = "revenant:delete"
"""The handler that every entity has: it ends the entity, in order with everything else."""
COLLISIONS = ("40001", "40P01")
"""The SQLSTATEs of a serialization failure and of a deadlock."""
COLLISION_RERUNS = 3
"""Times that a handler is run again at once, from fresh state, because its own SQL collided with somebody else's."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The handler returned; its effects belong to the commit."""

    delivery: Delivery
    version: int
    body: str
    effects: Effects | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or could not be run; the state is as before. `final`: trying again would not help."""

    delivery: Delivery
    version: int
    error: dict[str, Any]
    traceback: str
    final: bool
    collided: bool
    """Whether its own SQL lost against a concurrent transaction, so that running it at once again may help."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The message was handled before: it only leaves the mailbox. `reply` is None for a cast's."""

    delivery: Delivery
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Left:
    """The message stays in the mailbox: another worker knows what to do, or a person has to mend the state."""

    delivery: Delivery
    why: str


Outcome = Applied | Failed | Repeated | Left


@dataclass(frozen=True, slots=True)
class EntityTurn:
    """What became of one entity: its outcomes in order, and its row afterwards."""

    claimed: Claimed
    outcomes: Sequence[Outcome]
    state: str | None
    """The new state; None where the entity has none."""
    version: int
    changed: bool
    unreached: bool
    """Whether the budget ended before the messages did."""


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
    served_elsewhere: Callable[[str, str], bool]
    """Whether another live worker knows this handler (kind, name)."""
    isolation: Isolation
    defer: Callable[[Sequence[Job]], Awaitable[None]]
    """Defers jobs in the turn's transaction, behind the message's savepoint."""
    limit: int
    """Bytes of JSON that a state or a result may take."""


class _Running:
    """The entity while its messages are handled: its last good state, and the instance that holds it."""

    __slots__ = ("claimed", "definition", "ended", "entity", "limit", "text", "version")

    def __init__(self, definition: type[Entity], claimed: Claimed, limit: int) -> None:
        self.definition = definition
        self.claimed = claimed
        self.limit = limit
        self.version = claimed.version
        self.text: str | None = None
        self.entity: Entity | None = None
        self.ended = False
        """Whether the state that was claimed has been deleted: what the row holds afterwards is a new one."""

    @property
    def changed(self) -> bool:
        """Whether the row has to be written. After a deletion a new state may have reached the old version again."""
        return self.version != self.claimed.version or (self.ended and self.claimed.tid is not None)

    def load(self) -> Entity:
        """Return the instance; after a failure it is read again from the last good state."""
        if self.entity is None:
            if self.text is None or self.version == 0:
                first = load_state(
                    self.definition,
                    self.claimed.key,
                    state=self.claimed.state if self.version else None,
                    vsn=self.claimed.vsn,
                )
            else:
                first = load_state(self.definition, self.claimed.key, state=self.text, vsn=self.definition.entity_vsn)
            if self.text is None:
                self.text = dump_state(first, key=self.claimed.key, limit=self.limit)
            self.entity = first
        return self.entity

    def keep(self) -> None:
        """Make what the handler did to the instance the last good state."""
        assert self.entity is not None
        text = dump_state(self.entity, key=self.claimed.key, limit=self.limit)
        if text != self.text:
            check_readable(self.definition, text, key=self.claimed.key)
            self.text = text
            self.version += 1

    def drop(self) -> None:
        """Forget what the handler did."""
        self.entity = None

    def end(self) -> None:
        """The entity is deleted: the next message starts afresh."""
        self.entity = None
        self.text = None
        self.version = 0
        self.ended = True


async def run_turn(definition: type[Entity], claimed: Claimed, rules: Rules) -> EntityTurn:
    """Handle one entity's messages in order, until they end or the budget does."""
    state = _Running(definition, claimed, rules.limit)
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
        outcome = await _handle(state, delivery, rules)
        outcomes.append(outcome)
        if isinstance(outcome, Left) and outcome.why == "elsewhere":
            # Later messages must not overtake it.
            unreached = True
            break
        handled[delivery.id] = reply_of(outcome)
    text = state.text if state.version else None
    return EntityTurn(claimed, outcomes, text, state.version, state.changed, unreached)


async def _handle(state: _Running, delivery: Delivery, rules: Rules) -> Outcome:
    claimed = state.claimed
    if delivery.handler == DELETE:
        existed = state.version > 0
        state.end()
        return Applied(delivery, 0, "true" if existed else "false", None)
    found = state.definition.entity_handlers.get(delivery.handler)
    if found is None:
        if rules.served_elsewhere(claimed.kind, delivery.handler):
            return Left(delivery, "elsewhere")
        known = ", ".join(sorted(state.definition.entity_handlers)) or "none"
        unknown = UnknownHandler(
            f"{claimed.kind}({claimed.key!r}) has no handler {delivery.handler!r} on any live worker; known here: "
            f"{known}. Deploy the code that has it, or send to one of these."
        )
        return _failed(state, delivery, unknown, final=True)
    why = rules.condemned(delivery.id)
    if why is not None:
        return _failed(
            state, delivery, _unfit(claimed, delivery, why) if why else _ended(claimed, delivery), final=True
        )
    for _ in range(COLLISION_RERUNS):
        outcome = await _run_from_fresh(state, found, delivery, rules)
        if not (isinstance(outcome, Failed) and outcome.collided):
            return outcome
    return await _run_from_fresh(state, found, delivery, rules)


async def _run_from_fresh(state: _Running, found: Handler[..., Any], delivery: Delivery, rules: Rules) -> Outcome:
    try:
        state.load()
        arguments = found.read_arguments(delivery.args, kind=state.claimed.kind, key=state.claimed.key)
    except StateInvalid as error:
        return Left(delivery, "state") if delivery.origin is None else _failed(state, delivery, error, final=True)
    except Exception as error:  # noqa: BLE001 # initial(), upgrade() and validators are the user's code: it becomes the reply
        return _failed(state, delivery, error, final=isinstance(error, Refused))
    return await _run_handler(state, found, arguments, delivery, rules)


async def _run_handler(
    state: _Running, found: Handler[..., Any], arguments: dict[str, Any], delivery: Delivery, rules: Rules
) -> Outcome:
    entity = state.load()
    turn = rules.new_turn(state.claimed, delivery)
    before = (state.text, state.version, state.ended)
    token = running.set(turn)
    entity._turn = turn
    try:
        result = await rules.guard(found.function(entity, **arguments))
        body = _dump_result(state, found, result, rules.limit)
        effects = effects_of(turn)
        if effects.deleted:
            state.end()
        else:
            state.keep()
        if effects.jobs:
            await rules.defer(effects.jobs)
        if rules.isolation.used:
            await rules.isolation.release()
    except (Exception, SystemExit) as error:  # noqa: BLE001 # whatever the handler raises is its reply
        state.text, state.version, state.ended = before
        state.drop()
        if rules.isolation.used:
            await rules.isolation.rollback()
        return _failed(state, delivery, error, final=isinstance(error, Unstorable | Refused))
    finally:
        rules.isolation.end_loan()
        entity._turn = None
        running.reset(token)
    return Applied(delivery, state.version, body, effects if effects.sends else None)


def _unfit(claimed: Claimed, delivery: Delivery, why: str) -> Unstorable:
    return Unstorable(
        f"What {claimed.kind}({claimed.key!r}).{delivery.handler} did cannot be stored: Postgres says {why!r}. "
        "The state is as before; send values that Postgres takes.",
        path="(root)",
    )


def _ended(claimed: Claimed, delivery: Delivery) -> ConfigurationError:
    return ConfigurationError(
        f"{claimed.kind}({claimed.key!r}).{delivery.handler} ended the turn's transaction by its own SQL: what it had "
        "written by then is committed, and the state is as before. Do not commit or roll back on self.turn.connection; "
        "use `async with self.turn.connection.transaction()` around what may fail."
    )


def _dump_result(state: _Running, found: Handler[..., Any], result: Any, limit: int) -> str:
    if result is None and found.may_return_none:
        return "null"
    if result is None:
        raise Unstorable(
            f"{state.claimed.kind}({state.claimed.key!r}).{found.name} returned None, and its annotation says "
            "otherwise. Nothing was changed; was a `return` forgotten?",
            path="(root)",
        )
    what = f"The result of {state.claimed.kind}({state.claimed.key!r}).{found.name}"
    return dump(found.result.serializer, result, what=what, limit=limit)


def _failed(state: _Running, delivery: Delivery, error: BaseException, *, final: bool) -> Failed:
    name = type(error).__qualname__
    module = type(error).__module__
    plain = isinstance(error, RevenantError) and not isinstance(error, HandlerTimeout)
    details = {
        "error": name if plain else "HandlerTimeout" if isinstance(error, HandlerTimeout) else "HandlerError",
        "type": name if module in ("builtins", "__main__") else f"{module}.{name}",
        "message": _clean(_words(error)),
        "where": _clean(f"{state.claimed.kind}({state.claimed.key!r}).{delivery.handler}"),
    }
    if isinstance(error, Unstorable | StateInvalid):
        details["path"] = _clean(error.path)
    text = _clean("".join(tracebacks.format_exception(error))[-LONGEST_WORDS:])
    return Failed(delivery, state.version, details, text, final, getattr(error, "sqlstate", None) in COLLISIONS)


def _words(error: BaseException) -> str:
    try:
        return str(error)[:LONGEST_WORDS]
    except Exception:  # noqa: BLE001 # a broken __str__ is the user's, and must not cost more than its words
        return "(its text cannot be read: __str__ raised)"


def _clean(text: str) -> str:
    """Return text that Postgres stores: an exception's words may hold what its value did."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def reply_of(outcome: Outcome) -> Reply | None:
    """Return the reply that this outcome is, without the traceback; None where the message stays."""
    delivery = outcome.delivery
    if isinstance(outcome, Applied):
        return Reply(delivery.id, "ok", outcome.version, outcome.body, delivery.digest)
    if isinstance(outcome, Failed):
        return Reply(delivery.id, "error", outcome.version, to_json(outcome.error).decode(), delivery.digest)
    return None
