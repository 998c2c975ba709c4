"""Instance: the entity while its messages are handled: its last good state, and the Python object that holds it.

Invariant: what a failed handler did to the object, private attributes included, is gone with the object.
"""

from __future__ import annotations

from revenant import telemetry
from revenant.entities.entity import Entity
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.queue.records import Claimed, Delivery, Past

Standing = tuple[str | None, int, bool]
"""What a failure goes back to: the state's text, its version, and whether the claimed state was deleted."""

_LAST = 2**62


class Instance:
    """One entity of a turn; the object lives on from message to message until a handler fails."""

    __slots__ = (
        *("claimed", "definition", "ended", "entity", "limit", "past", "prove", "recorded", "resident", "text"),
        "version",
    )

    def __init__(self, definition: type[Entity], claimed: Claimed, limit: int, *, prove: bool = False) -> None:
        self.definition = definition
        self.claimed = claimed
        self.limit = limit
        self.prove = prove
        self.version = claimed.version
        self.text: str | None = None
        self.entity: Entity | None = None
        self.past: list[Past] = []
        """What its messages have made of it, for a kind that keeps a history; whoever books it takes it away."""
        self.recorded = claimed.version
        self.ended = False
        """Whether the state that was claimed has been deleted: what the row holds afterwards is a new one."""
        self.resident = False
        """Whether it was in memory before this turn."""

    @property
    def changed(self) -> bool:
        """Whether the row has to be written. After a deletion a new state may have reached the old version again."""
        return self.version != self.claimed.version or (self.ended and self.claimed.tid is not None)

    @property
    def standing(self) -> Standing:
        """The last good state, to return to by `undo`."""
        return self.text, self.version, self.ended

    def load(self) -> Entity:
        """Return the object; after a failure it is read again from the last good state."""
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
            if telemetry.handlers:
                telemetry.emit(
                    "state.load",
                    {"bytes": len(self.text.encode()), "version": self.version},
                    {"kind": self.claimed.kind, "key": self.claimed.key, "fresh": self.version == 0},
                )
        return self.entity

    @property
    def differs(self) -> bool:
        """Whether the object is no longer the last good state."""
        if self.entity is None:
            return False
        return dump_state(self.entity, key=self.claimed.key, limit=self.limit) != self.text

    def keep(self) -> None:
        """Make what the handler did to the object the last good state."""
        assert self.entity is not None
        text = dump_state(self.entity, key=self.claimed.key, limit=self.limit)
        if text != self.text:
            check_readable(self.entity, text, key=self.claimed.key, prove=self.prove)
            self.text = text
            self.version += 1

    def record(self, delivery: Delivery) -> None:
        """Note for the history what a message has made of the state, if anything."""
        if self.definition.entity_history is None or self.version == self.recorded:
            return
        self.recorded = self.version
        place, vsn = self.claimed, self.definition.entity_vsn
        state = self.text if self.version else None
        by = (delivery.id, delivery.handler)
        # A hook is no message, and comes after all of them.
        seq = delivery.seq or _LAST
        self.past.append(Past(place.bucket, place.kind, place.key, seq, self.version, vsn, state, *by))

    def take_past(self) -> list[Past]:
        """Return what was noted since the last time."""
        past, self.past = self.past, []
        return past

    def undo(self, standing: Standing) -> None:
        """Go back to how it stood before the handler, which failed, and forget the object."""
        self.text, self.version, self.ended = standing
        self.entity = None

    def end(self) -> None:
        """The entity is deleted: the next message starts afresh."""
        self.entity = None
        self.text = None
        self.version = 0
        self.ended = True
