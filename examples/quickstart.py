"""An account that survives everything: serve it with `revenant worker --app quickstart:app`, then run this file."""

import asyncio

from revenant import Entity, Revenant, handler


class Account(Entity):
    """An account: its fields are the state, and Postgres keeps it."""

    balance: int = 0

    @handler
    async def deposit(self, amount: int) -> int:
        """Add to the balance, and reply with the new one."""
        self.balance += amount
        return self.balance


app = Revenant(entities=[Account])


async def main() -> None:
    """Call, cast, and call again."""
    async with app:
        acct = app.ref(Account, "acct_42")
        print(await acct.deposit(100))  # a call: committed before you see 100
        await app.cast(acct.deposit(5))  # stored when this returns; nobody waits for the handler
        print(await acct.deposit(0))  # handled after the cast, since it was sent after it


if __name__ == "__main__":
    asyncio.run(main())
