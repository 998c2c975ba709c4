"""Company: one entity's turn and the other entities, its partners, that its messages change in the same commit.

Invariant: what a failed handler did to any of them is undone in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from revenant.entities.address import Address
from revenant.entities.context import Effects, Turn, effects_of
from revenant.entities.entity import Entity, set_turn
from revenant.entities.instance import Instance, Standing
from revenant.errors import ConfigurationError
from revenant.queue.records import Claimed, Delivery

Partners = Mapping[str, type[Entity]]
"""The classes of a handler's partners, by the names of its parameters."""


class Lender(Protocol):
    """Whoever locks further entities for a turn that runs."""

    def serves(self, kind: str) -> bool:
        """Whether entities of that kind may be handled here."""

    async def lend(self, addresses: Sequence[Address]) -> Sequence[Claimed] | None:
        """Lock these entities until the turn's commit and return them, in order; None where one is busy."""


@dataclass(slots=True)
class Member:
    """One entity of a message that runs, and what to go back to if its handler fails."""

    instance: Instance
    turn: Turn
    standing: Standing
    entity: Entity | None = None

    def enter(self) -> Entity:
        """Return the entity, ready to be used by the handler."""
        self.entity = self.instance.load()
        set_turn(self.entity, self.turn)
        return self.entity

    def keep(self) -> None:
        """Make what the handler did the last good state."""
        if effects_of(self.turn).deleted:
            self.instance.end()
        else:
            self.instance.keep()


@dataclass(frozen=True, slots=True)
class Round:
    """The entities of one message that runs: its own one first; and the partners by the handler's parameters."""

    members: Sequence[Member]
    by_name: Mapping[str, Member]

    def enter(self, arguments: Mapping[str, Any]) -> tuple[Entity, Mapping[str, Any]]:
        """Return the own entity and the handler's arguments, all entities live."""
        entities = [member.enter() for member in self.members]
        live = {name: member.entity for name, member in self.by_name.items()}
        return entities[0], {**arguments, **live} if live else arguments

    def effects(self) -> Effects:
        """Return what the handler asked for, on whichever of the entities' turns."""
        first = effects_of(self.members[0].turn)
        for member in self.members[1:]:
            first.absorb(effects_of(member.turn))
        return first

    def keep(self) -> None:
        """Make what the handler did to the entities their last good states."""
        for member in self.members:
            member.keep()

    def undo(self) -> None:
        """Go back to how all of them stood before the handler."""
        for member in self.members:
            member.instance.undo(member.standing)

    def leave(self) -> None:
        """End the handler's use of the entities."""
        for member in self.members:
            if member.entity is not None:
                set_turn(member.entity, None)


class Company:
    """The entity whose turn it is, and the partners that were locked for its messages so far."""

    __slots__ = ("_lender", "_partners", "own")

    def __init__(self, own: Instance, lender: Lender | None) -> None:
        self.own = own
        self._lender = lender
        self._partners: dict[Address, Instance] = {}

    async def gather(self, partners: Partners, arguments: Mapping[str, Any]) -> str | None:
        """Have the partners locked that a message names; return why they cannot be had now, None where they can."""
        wanted = {address: of for _, address, of in _named(partners, arguments)}
        missing = [address for address in wanted if self._instance(address) is None]
        if not missing:
            return None
        if self._lender is None:
            raise ConfigurationError(
                f"{missing[0]} is to change in the same commit as {self._own_address}, and what runs this turn locks "
                "one entity only. Run it with a worker."
            )
        if not all(self._lender.serves(address.kind) for address in missing):
            return "elsewhere"
        lent = await self._lender.lend(missing)
        if lent is None:
            return "busy"
        if any((one.vsn or 0) > wanted[address].entity_vsn for address, one in zip(missing, lent, strict=True)):
            return "newer"
        for address, one in zip(missing, lent, strict=True):
            self._partners[address] = Instance(wanted[address], one, self.own.limit, prove=self.own.prove)
        return None

    def round(self, partners: Partners, arguments: Mapping[str, Any], new_turn: Callable[[Claimed], Turn]) -> Round:
        """Return the entities of a message that was gathered for."""
        own = _member(self.own, new_turn)
        if not partners:
            return Round([own], {})
        by_name: dict[str, Member] = {}
        known = {self._own_address: own}
        for name, address, _ in _named(partners, arguments):
            if address not in known:
                known[address] = _member(self._partners[address], new_turn)
            by_name[name] = known[address]
        return Round([own, *(member for member in known.values() if member is not own)], by_name)

    def record(self, delivery: Delivery) -> None:
        """Note for the histories what a message has made of the entities."""
        self.own.record(delivery)
        for partner in self._partners.values():
            partner.record(delivery)

    @property
    def changed_partners(self) -> list[Instance]:
        """The partners whose rows have to be written."""
        return [instance for instance in self._partners.values() if instance.changed]

    @property
    def _own_address(self) -> Address:
        return Address(self.own.claimed.kind, self.own.claimed.key)

    def _instance(self, address: Address) -> Instance | None:
        # The entity itself may be named as a partner: then both are one object.
        return self.own if address == self._own_address else self._partners.get(address)


def _member(instance: Instance, new_turn: Callable[[Claimed], Turn]) -> Member:
    return Member(instance, new_turn(instance.claimed), instance.standing)


def _named(partners: Partners, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Address, type[Entity]]]:
    """Yield the partners that a message names: parameter, address and class."""
    for name, definition in partners.items():
        if name in arguments:
            yield name, Address(definition.entity_kind, arguments[name]), definition
