"""Ahead: says, once for each kind, that state is newer than every live worker's code, so that its messages wait."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from revenant.queue.records import Hint
from revenant.worker.fleet import Fleet

log = logging.getLogger("revenant.worker")


class Ahead:
    """Told of entities whose state this worker is too old for; `vsns` are its own, by kind."""

    def __init__(self, *, fleet: Fleet, vsns: Mapping[str, int]) -> None:
        self._fleet = fleet
        self._vsns = vsns
        self._told: set[str] = set()

    def note(self, hints: Iterable[Hint]) -> None:
        """Take note of entities that were passed by."""
        for hint in hints:
            own = self._vsns[hint.kind]
            # During a rolling deploy the newer workers take them.
            if hint.kind in self._told or self._fleet.has_newer(hint.kind, own):
                continue
            self._told.add(hint.kind)
            log.warning(
                "%s(%r) has state that a newer version of the class wrote, and no live worker has a vsn over %d: its "
                "messages wait, and so do those of others like it. Deploy the newer version again; `revenant check` "
                "counts what waits. This is said once for each kind.",
                *(hint.kind, hint.key, own),
            )
