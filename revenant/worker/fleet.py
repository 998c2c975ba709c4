"""Who else is alive, and which of us goes first for an entity; a preference only, the row lock decides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple


class Member(NamedTuple):
    """A live worker, as its heartbeat's row says: `kinds` is {kind: {"vsn": n, "handlers": [name, …]}}."""

    id: str
    kinds: dict[str, Any]
    draining: bool
    alive: bool
    """Whether its heartbeat is fresh and its connection there; one that is not may be back in a moment."""


class Fleet:
    """The live workers, by their heartbeats; rendezvous hashing gives each bucket of each kind one that goes first."""

    def __init__(self, *, own_id: str) -> None:
        self.own_id = own_id
        self._members: list[Member] = []
        self._first: dict[tuple[str, int], bool] = {}

    def update(self, members: Iterable[Member]) -> None:
        """Take in what the heartbeat read."""
        fresh = sorted(members)
        if fresh != self._members:
            self._members = fresh
            self._first.clear()

    def goes_first(self, kind: str, bucket: int) -> bool:
        """Whether this worker is the preferred one for that bucket of that kind."""
        known = self._first.get((kind, bucket))
        if known is None:
            able = [
                member.id for member in self._members if kind in member.kinds and member.alive and not member.draining
            ]
            best = max(able, key=lambda name: _weight(name, kind, bucket), default=self.own_id)
            known = self._first[kind, bucket] = best == self.own_id
        return known

    def served_elsewhere(self, kind: str, handler: str) -> bool:
        """Whether another worker has this handler: also one that seems dead, until its row is gone."""
        return any(has_handler(member.kinds, kind, handler) for member in self._members if member.id != self.own_id)

    def has_version(self, kind: str, version: int) -> bool:
        """Whether another live worker has that version of a workflow."""
        return version in self._other_versions(kind)

    def newest_version(self, kind: str) -> int:
        """Return the highest version of a workflow that another live worker has; 0 for none."""
        return max(self._other_versions(kind), default=0)

    def _other_versions(self, kind: str) -> set[int]:
        others = (member for member in self._members if member.id != self.own_id and member.alive)
        return {version for member in others for version in member.kinds.get(kind, {}).get("versions", ())}

    def has_newer(self, kind: str, vsn: int) -> bool:
        """Whether another worker, dead ones left out, has the kind at a later vsn."""
        others = (member for member in self._members if member.id != self.own_id and member.alive)
        return any(member.kinds.get(kind, {}).get("vsn", 0) > vsn for member in others)


def has_handler(kinds: dict[str, Any], kind: str, handler: str) -> bool:
    """Whether a worker's row names this handler."""
    return handler in kinds.get(kind, {}).get("handlers", ())


def _weight(name: str, kind: str, bucket: int) -> bytes:
    return hashlib.blake2b(f"{name}/{kind}/{bucket}".encode(), digest_size=8).digest()
