"""BenchAlbum: a large state that takes small messages, strict and relaxed."""

from __future__ import annotations

import base64
import os

from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler

INTERVAL = Interval(seconds=5)
"""How often the benchmark's relaxed entities are written."""


class BenchAlbum(Entity):
    """Pages that stay, and a number that grows; strict."""

    pages: str = ""
    value: int = 0

    @handler
    async def fill(self, size: int) -> int:
        """Have pages of so many bytes, which no compression makes small."""
        self.pages = base64.b64encode(os.urandom(size)).decode()[:size]
        return len(self.pages)

    @handler
    async def add(self, amount: int) -> int:
        """Add, and return the new value."""
        self.value += amount
        return self.value


class BenchLooseAlbum(BenchAlbum, durability=INTERVAL):
    """The same, written every 5 seconds."""
