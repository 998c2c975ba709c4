"""What type checkers see of the public names: nothing here runs; mypy and pyright read it, both strict.

Each `type: ignore` is an error that must be found: one that is not needed is an error itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import assert_type

import psycopg

from revenant import CallTimeout, Change, Entity, HandlerError, Message, Revenant, Schedule, Settings, handler, ref


class Account(Entity, kind="account", vsn=2):
    """Money."""

    balance: int = 0
    note: str | None = None

    @handler
    async def deposit(self, amount: int, *, note: str | None = None) -> int:
        """Add to the balance, and return it."""
        assert_type(self.key, str)
        assert_type(self.turn.message_id, str)
        self.balance += amount
        self.note = note
        return self.balance

    @handler
    async def transfer(self, to: str, amount: int) -> None:
        """Send some of it to another account."""
        self.turn.cast(self.turn.ref(Account, to).deposit(amount), after=timedelta(seconds=1))
        self.turn.cast(self.turn.ref("account", to).whatever(1))
        self.turn.ref(Account, to).deposit("much")  # type: ignore[arg-type]  # an int is wanted
        assert_type(self.turn.cast(self.turn.ref(self).deposit(1)), str)
        self.turn.remind("again", self.turn.ref(self).deposit(1), every=timedelta(days=1), missed="skip")
        self.turn.remind("again", self.turn.ref(self).deposit(1), missed="never")  # type: ignore[arg-type]  # no policy
        await self.turn.connection.execute("select 1")

    @handler
    async def history(self) -> list[tuple[str, int]]:
        """Return what happened."""
        return [("deposit", self.balance)]


nightly = Schedule("nightly", ref(Account, "main").deposit(1), cron="30 2 * * *", timezone="Europe/Berlin")
app = Revenant(entities=[Account], settings=Settings(call_timeout=2.0), schedules=[nightly])


async def refs_are_typed_by_their_class() -> None:
    async with app:
        account = app.ref(Account, "acct_42")
        assert_type(account, Account)
        assert_type(account.deposit(1), Message[int])
        assert_type(account.deposit(1).id, str | None)
        assert_type(await account.deposit(1), int)
        assert_type(ref(Account, "acct_42").deposit(1), Message[int])
        assert_type(await app.cancel(await app.cast(account.deposit(1), after=timedelta(days=1))), bool)
        assert_type(await account.deposit(1, note="x"), int)
        assert_type(await account.history(), list[tuple[str, int]])
        build: Callable[[str, int], Message[None]] = account.transfer
        await build("acct_7", 5)


async def messages_carry_the_handlers_type() -> None:
    account = app.ref(Account, "acct_42")
    assert_type(await app.call(account.deposit(1)), int)
    assert_type(await app.call(account.deposit(1), timeout=1.5, idempotency_key="k"), int)
    assert_type(await app.call(account.history()), list[tuple[str, int]])
    assert_type(await app.cast(account.deposit(1), after=timedelta(minutes=1)), str)
    assert_type(await app.delete(account), bool)


async def committed_state_is_of_the_entitys_class() -> None:
    account = app.ref(Account, "acct_42")
    assert_type(await app.state(Account, "acct_42"), Account | None)
    assert_type(await app.state(account), Account | None)
    assert_type(await app.state(account, at=datetime.now(UTC)), Account | None)
    assert_type(await app.history(Account, "acct_42"), list[Change[Account]])
    assert_type(await app.history(account, limit=5), list[Change[Account]])
    for change in await app.history(account):
        assert_type(change.state, Account | None)
    await app.state(Account)  # type: ignore[call-overload]  # the key is missing
    with app.sync() as rv:
        assert_type(rv.state(account), Account | None)
        assert_type(rv.history(Account, "acct_42"), list[Change[Account]])


async def what_does_not_fit_is_an_error() -> None:
    account = app.ref(Account, "acct_42")
    account.deposit("1")  # type: ignore[arg-type]  # an int is wanted
    account.deposit()  # type: ignore[call-arg]  # amount is missing
    account.deposit(1, 2)  # type: ignore[arg-type,call-arg]  # note goes by name
    account.deposit(amount=1, remark="x")  # type: ignore[call-arg]  # no such argument
    account.withdraw(1)  # type: ignore[attr-defined]  # no such handler
    await app.call(account.balance)  # type: ignore[arg-type]  # a field is no message
    await app.call(account.deposit(1), timeout="soon")  # type: ignore[arg-type]  # seconds are wanted
    await app.cast(account.deposit(1), after=5)  # type: ignore[arg-type]  # a timedelta is wanted
    _reply: str = await account.deposit(1)  # type: ignore[assignment]  # the handler returns an int
    Revenant(entities=[int])  # type: ignore[list-item]  # an entity is wanted


class Purse(Entity):
    coins: int = 0

    @handler(together="other")
    async def give(self, other: Purse, coins: int) -> int:
        assert_type(other, Purse)
        other.coins += coins
        return self.coins - coins


async def a_partner_is_a_ref_of_its_class() -> None:
    giver, taker = app.ref(Purse, "a"), app.ref(Purse, "b")
    assert_type(await giver.give(taker, 5), int)
    giver.give(app.ref(Account, "a"), 5)  # type: ignore[arg-type]  # a Purse is wanted
    giver.give("b", 5)  # type: ignore[arg-type]  # typed senders pass refs
    giver.give(taker)  # type: ignore[call-arg]  # the coins are missing


async def any_kind_goes_by_its_name() -> None:
    anything = app.ref("account", "acct_42")
    await anything.whatever(1, 2, 3)
    await app.cast(anything.deposit(amount=5))


def the_sync_door_is_typed_alike(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with app.sync() as rv:
        account = rv.ref(Account, "acct_42")
        assert_type(account, Account)
        assert_type(rv.call(account.deposit(1)), int)
        assert_type(rv.call(account.history(), timeout=1.0), list[tuple[str, int]])
        assert_type(rv.cast(account.deposit(1), connection=connection), str)
        assert_type(rv.delete(account), bool)
        rv.call(account.deposit("1"))  # type: ignore[arg-type]  # an int is wanted
        rv.cast(account.deposit(1), connection="dsn")  # type: ignore[arg-type]  # a connection is wanted


async def errors_say_what_they_hold() -> None:
    try:
        await app.ref(Account, "acct_42").deposit(1)
    except CallTimeout as error:
        assert_type(error.message_id, str)
    except HandlerError as error:
        assert_type(error.type, str)
        assert_type(error.traceback, str | None)
