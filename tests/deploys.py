"""One application before and after a deploy, for worker processes: `--app tests.deploys:old` and `:new`."""

from __future__ import annotations

from typing import Any

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class OldParcel(Entity, kind="Parcel"):
    """What ran yesterday."""

    grams: int = 0

    @handler
    async def add(self, grams: int) -> int:
        self.grams += grams
        return self.grams


class NewParcel(Entity, kind="Parcel", vsn=2):
    """What runs from today on: another shape of state, and a handler more."""

    kilos: float = 0.0
    stamps: int = 0

    @classmethod
    def upgrade(cls, vsn: int, state: dict[str, Any]) -> dict[str, Any]:
        """Weigh in kilos."""
        assert vsn == 1
        return {"kilos": state["grams"] / 1000}

    @handler
    async def add(self, grams: int) -> int:
        self.kilos += grams / 1000
        return round(self.kilos * 1000)

    @handler
    async def stamp(self) -> int:
        self.stamps += 1
        return self.stamps


class Letter(Entity):
    """A kind that did not change."""

    pages: int = 0

    @handler
    async def write(self) -> int:
        self.pages += 1
        return self.pages


old = Revenant(entities=[OldParcel, Letter])
new = Revenant(entities=[NewParcel, Letter])
