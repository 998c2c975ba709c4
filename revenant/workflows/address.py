"""Address: where a run is, which is how what is sent to it finds it."""

from __future__ import annotations

from typing import NamedTuple

from revenant.workflows.workflow import KIND


class Address(NamedTuple):
    """Where a run is: as an entity is, of the kind 'run:' and its workflow's name."""

    bucket: int
    kind: str
    key: str

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self.kind.removeprefix(KIND)
