"""The entities that tests use; at module level, so that worker processes can import them too."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import procrastinate
import psycopg
from pydantic import BaseModel, Field

from revenant.app import Revenant
from revenant.entities.entity import Entity
from revenant.entities.handler import handler

jobs = procrastinate.App(connector=procrastinate.PsycopgConnector())


@jobs.task(name="note_job")
async def note_job(word: str) -> None:
    """Write a word into the application's own table."""
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        await connection.execute("insert into own_words (word) values (%s)", (word,))


class Broken(Exception):
    """What the tests' handlers raise."""


class Account(Entity):
    """Money, and what can go wrong with it."""

    balance: int = 0
    log: list[str] = Field(default_factory=list)

    @handler
    async def deposit(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    @handler
    async def deposit_versioned(self, amount: int) -> tuple[int, str]:
        self.balance += amount
        return self.balance, self.turn.message_id

    @handler
    async def read(self) -> int:
        return self.balance

    @handler
    async def note(self, word: str) -> list[str]:
        self.log.append(word)
        return self.log

    @handler
    async def fail(self, amount: int, text: str = "no") -> None:
        self.balance += amount
        raise Broken(text)

    @handler
    async def fail_badly(self) -> None:
        raise Broken("b\0d \ud800")

    @handler
    async def fail_times(self, times: int) -> int:
        if self.turn.attempt <= times:
            raise Broken(f"attempt {self.turn.attempt}")
        self.balance += 1
        return self.turn.attempt

    @handler
    async def transfer(self, to: str, amount: int, after: float | None = None) -> None:
        self.balance -= amount
        delay = None if after is None else timedelta(seconds=after)
        self.turn.cast(self.turn.ref(Account, to).deposit(amount), after=delay)

    @handler
    async def transfer_then_fail(self, to: str, amount: int) -> None:
        self.turn.cast(self.turn.ref(Account, to).deposit(amount))
        raise Broken("after the cast")

    @handler
    async def call_other(self, to: str) -> int:
        return await self.turn.ref(Account, to).deposit(1)

    @handler
    async def pause(self, seconds: float) -> int:
        self.balance += 1
        await asyncio.sleep(seconds)
        return self.balance

    @handler
    async def weigh(self, words: str) -> int:
        """Take a large argument, and keep nothing of it."""
        self.balance += 1
        return len(words)

    @handler
    async def who(self) -> tuple[str, str, datetime, int]:
        return self.key, self.turn.message_id, self.turn.now, self.turn.attempt

    @handler
    async def end(self) -> None:
        self.turn.delete()

    @handler
    async def exit_process(self) -> None:
        os._exit(9)

    @handler
    async def raise_system_exit(self) -> None:
        raise SystemExit(3)


class Shelf(Entity):
    """State of many types, and state that cannot be stored."""

    words: list[str] = Field(default_factory=list)
    prices: dict[str, Decimal] = Field(default_factory=dict)
    weight: float = 0.0
    seen: datetime | None = None
    raw: bytes = b""
    anything: Any = None

    @handler
    async def put(self, word: str, price: Decimal, seen: datetime, raw: bytes) -> dict[str, Decimal]:
        self.words.append(word)
        self.prices[word] = price
        self.seen = seen
        self.raw = raw
        return self.prices

    @handler
    async def look(self) -> tuple[list[str], dict[str, Decimal], datetime | None, bytes]:
        return self.words, self.prices, self.seen, self.raw

    @handler
    async def spoil(self, how: str) -> None:
        match how:
            case "nan":
                self.weight = float("nan")
            case "nul":
                self.words.append("a\0b")
            case "surrogate":
                self.words.append("\ud800")
            case "object":
                self.anything = {"deep": [object()]}
            case "too long a number":
                self.anything = 10**140_000
            case "wrong type":
                self.words.append(7)  # type: ignore[arg-type]  # what a careless handler does
            case _:
                self.words.append("x" * int(how))

    @handler
    async def result(self, how: str) -> Any:
        return {"nan": float("nan"), "nul": "a\0b", "object": object(), "big": "x" * 3000}[how]


class Ledger(Entity):
    """Uses the application's own tables, inside the turn's transaction."""

    rows: int = 0

    @handler
    async def insert(self, value: int, fail: bool = False) -> int:
        await self.turn.connection.execute("insert into own_rows (value) values (%s)", (value,))
        self.rows += 1
        if fail:
            raise Broken("after the insert")
        return self.rows

    @handler
    async def insert_in_block(self, value: int, fail: bool) -> None:
        async with self.turn.connection.transaction():
            await self.turn.connection.execute("insert into own_rows (value) values (%s)", (value,))
        self.rows += 1
        if fail:
            raise Broken("after the block")

    @handler
    async def run(self, statements: list[str]) -> int:
        """Run statements inside the turn."""
        self.rows += 1
        for statement in statements:
            await self.turn.connection.execute(statement)
        return self.rows

    @handler
    async def bad_sql(self) -> None:
        await self.turn.connection.execute("select * from there_is_no_such_table")

    @handler
    async def swallow_bad_sql(self) -> None:
        self.rows += 100
        try:
            await self.turn.connection.execute("select * from there_is_no_such_table")
        except Exception:  # noqa: BLE001 # what a careless handler does
            pass

    @handler
    async def commit(self) -> None:
        await self.turn.connection.commit()

    @handler
    async def commit_by_sql(self) -> None:
        await self.turn.connection.execute("commit")

    @handler
    async def defer_note(self, word: str, fail: bool = False) -> None:
        self.turn.defer(note_job, word=word)
        if fail:
            raise Broken("after the defer")


class Gate(Entity):
    """Says that it runs, and stays inside its turn until the test opens the gate (`tests.nemesis.Gate`)."""

    passed: int = 0

    @handler
    async def walk(self) -> int:
        self.passed += 1
        folder = Path(os.environ["REVENANT_TEST_GATE"])
        (folder / f"in-{os.getpid()}").touch()
        while not (folder / "open").exists():  # noqa: ASYNC110 # another process opens it
            await asyncio.sleep(0.005)
        return self.passed

    @handler
    async def count(self) -> int:
        return self.passed


class Payment(BaseModel):
    """An argument that makes a part of itself."""

    amount: int
    id: UUID = Field(default_factory=uuid4)


class Unusual(BaseException):
    """What no library should raise."""


class Wordless(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Odd(Entity):
    """Handlers that end in every odd way there is."""

    few: Annotated[list[int], Field(max_length=2)] = Field(default_factory=list)

    @handler
    async def end_by(self, how: str) -> int:
        self.few = [1]
        match how:
            case "cancelled":
                task = asyncio.ensure_future(asyncio.sleep(60))
                task.cancel()
                await task
            case "own base exception":
                raise Unusual("odd")
            case "broken text":
                raise Wordless
            case "job that is no JSON":
                self.turn.defer(note_job, word=object())
                return 1
        return None  # type: ignore[return-value]  # what a forgotten `return` does

    @handler
    async def pay(self, payment: Payment) -> Payment:
        return payment

    @handler
    async def push(self, number: int) -> int:
        self.few.append(number)
        return len(self.few)

    @handler
    async def push_none(self) -> int:
        return len(self.few)


ENTITIES: list[type[Entity]] = [Account, Shelf, Ledger, Gate, Odd]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

app = Revenant(entities=ENTITIES, jobs=jobs)
"""For worker processes: `revenant worker --app tests.entities:app`."""
