"""Instance: the entity while its messages are handled: its last good state, and the Python object that holds it.

Invariant: what a failed handler did to the object, private attributes included, is gone with the object.
"""

from __future__ import annotations

from revenant.entities.entity import Entity
from revenant.entities.snapshot import check_readable, dump_state, load_state
from revenant.queue.records import Claimed

Standing = tuple[str | None, int, bool]
"""What a failure goes back to: the state's text, its version, and whether the claimed state was deleted."""


class Instance:
    """One entity of a turn; the object lives on from message to message until a handler fails."""

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
        return self.entity

    def keep(self) -> None:
        """Make what the handler did to the object the last good state."""
        assert self.entity is not None
        text = dump_state(self.entity, key=self.claimed.key, limit=self.limit)
        if text != self.text:
            check_readable(self.entity, text, key=self.claimed.key)
            self.text = text
            self.version += 1

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
