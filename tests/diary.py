"""An entity that keeps its history, for worker processes: `--app tests.diary:app`."""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta

from pydantic import Field

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class Diary(Entity, history=timedelta(days=1)):
    """Words, and anything else."""

    words: list[str] = Field(default_factory=list)
    ordered: OrderedDict[str, int] = Field(default_factory=OrderedDict)

    @handler
    async def write(self, word: str) -> int:
        self.words.append(word)
        return len(self.words)

    @handler
    async def spoil(self) -> None:
        """Leave what comes back as something else, and only where it is proved does anybody notice."""
        self.ordered = OrderedDict(long=1, a=2)


app = Revenant(entities=[Diary])
