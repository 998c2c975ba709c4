"""BenchCounter: the smallest entity there is, so that what is measured is the engine."""

from __future__ import annotations

import os

from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class BenchCounter(Entity):
    """A number that grows."""

    value: int = 0

    @handler
    async def add(self, amount: int) -> int:
        """Add, and return the new value."""
        self.value += amount
        return self.value

    @handler
    async def add_here(self, amount: int) -> int:
        """Add, and return the id of the process that did."""
        self.value += amount
        return os.getpid()
