"""Entities that change together; at module level, so that worker processes can import them too."""

from __future__ import annotations

import asyncio

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class Vault(Entity):
    """The partner of another kind."""

    gold: int = 0

    @handler
    async def put(self, gold: int) -> int:
        self.gold += gold
        return self.gold


class Purse(Entity):
    """Money that is never half moved."""

    coins: int = 0

    @handler
    async def put(self, coins: int) -> int:
        self.coins += coins
        return self.coins

    @handler
    async def look(self) -> int:
        return self.coins

    @handler
    async def linger(self, seconds: float) -> int:
        """Keep the entity busy."""
        await asyncio.sleep(seconds)
        return self.coins

    @handler(together="other")
    async def give(self, other: Purse, coins: int, fail: str = "") -> tuple[int, int]:
        """Move coins, and reply with what both have then."""
        self.coins -= coins
        await other.put(coins)
        if fail:
            raise ValueError(fail)
        return self.coins, other.coins

    @handler(together=("one", "two"))
    async def share(self, one: Purse, two: Vault, coins: int) -> list[str]:
        """Change three entities, of two kinds, and use their turns."""
        self.coins -= 2 * coins
        one.coins += coins
        two.gold += coins
        one.turn.cast(one.turn.ref(Purse, "witness").put(1))
        two.turn.cast(two.turn.ref(Purse, "witness").put(1))
        return [self.key, one.key, two.key]

    @handler(together="other")
    async def inherit(self, other: Purse) -> int:
        """Take all that the other one has, and end it."""
        self.coins += other.coins
        other.turn.delete()
        return self.coins

    @handler(together="other")
    async def give_on_paper(self, other: Purse, coins: int) -> int:
        """Move coins, and write that down in a table of the application's own."""
        self.coins -= coins
        other.coins += coins
        await self.turn.connection.execute("insert into own_rows (value) values (%s)", (coins,))
        return self.coins


app = Revenant(entities=[Purse, Vault])
"""For worker processes: `revenant worker --app tests.purses:app`."""
