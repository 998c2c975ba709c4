"""Handlers that go on after they were cancelled: they cost their message, and neither a lane nor its neighbours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import psycopg
import pytest
import pytest_asyncio
from pydantic import field_serializer

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.context import Turn
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerError, HandlerTimeout, RevenantError
from revenant.worker.lanes import guard
from revenant.worker.lanes.ledger import Ledger
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
Case = tuple[type["Mule"], str, str]
"""A kind, what its handler does in SQL, and what it does in SQL again and again."""


class Mule(Entity):
    """What does not let itself be stopped."""

    steps: int = 0
    freed: ClassVar[bool] = False
    turns: ClassVar[list[Turn]] = []

    @handler
    async def step(self) -> int:
        self.steps += 1
        return self.steps

    @handler
    async def refuse(self, before: str = "", again: str = "") -> int:
        """Run SQL, then go on for ever, with more SQL or without."""
        self.steps += 100
        self.turns.append(self.turn)
        self.turn.cast(self.turn.ref(Mule, "other").step())
        if before:
            await self.turn.connection.execute(before)
        while not Mule.freed:
            try:
                if again:
                    await self.turn.connection.execute(again)
                await asyncio.sleep(0.01)
            except BaseException:  # noqa: BLE001 # what a careless handler does
                pass
        return self.steps


class OwnEnd(BaseException):
    """No Exception, so that few expect it."""


class Mute(Exception):
    """Its text cannot be read."""

    def __str__(self) -> str:
        raise OwnEnd("no text")


def raised(name: str) -> BaseException:
    kinds = (OwnEnd, GeneratorExit, KeyboardInterrupt, SystemExit, asyncio.CancelledError, StopIteration, Mute)
    return next(kind for kind in kinds if kind.__name__ == name)("on purpose")


class Odd(Entity):
    """What raises what nobody expects, wherever its code runs: its key says what."""

    steps: int = 0
    spoilt: str = ""

    @classmethod
    def initial(cls, key: str) -> Odd:
        """Begin, or not."""
        if key.startswith("initial "):
            raise raised(key.split()[1])
        return cls()

    @field_serializer("spoilt")
    def write(self, spoilt: str) -> str:
        if spoilt:
            raise raised(spoilt)
        return spoilt

    @handler
    async def step(self) -> int:
        self.steps += 1
        return self.steps

    @handler
    async def throw(self, name: str, wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)
        if name == "itself":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        raise raised(name)

    @handler
    async def spoil(self, name: str) -> None:
        self.spoilt = name


class LazyOdd(Odd, durability=Interval(seconds=60)):
    """One that lives in a worker's memory."""


class LazyMule(Mule, durability=Interval(seconds=60)):
    """One that lives in a worker's memory."""


@pytest_asyncio.fixture
async def stable(database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Revenant]:
    """An application with a worker of two lanes, which gives a handler half a second."""
    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(Mule, "freed", False)
    monkeypatch.setattr(Mule, "turns", [])
    quick = settings.model_copy(update={"handler_timeout": 0.2, "call_timeout": 60.0})
    async with Revenant(entities=[Mule, LazyMule, Odd, LazyOdd], database_url=database, settings=quick) as app:
        worker = app.worker()
        await worker.start()
        yield app
        Mule.freed = True
        await worker.stop(drain_timeout=5)


@pytest.mark.parametrize(
    "case",
    [
        (Mule, "", ""),
        (Mule, "insert into own_rows values (1)", ""),
        (Mule, "", "select pg_sleep(5)"),
        (LazyMule, "", ""),
    ],
    ids=["without SQL", "after SQL", "in SQL", "in memory"],
)
async def test_handlers_that_swallow_their_cancellation_cost_neither_a_lane_nor_a_neighbour(
    stable: Revenant, connection: Connection, caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    kind, before, again = case
    await connection.execute("create table own_rows (value int)")
    mules = [stable.ref(kind, f"m{number}") for number in range(5)]
    refused = await asyncio.gather(
        *(mule.refuse(before, again) for mule in mules),
        *(stable.ref(kind, f"n{number}").step() for number in range(5)),
        return_exceptions=True,
    )
    assert [type(one) for one in refused[:5]] == [HandlerTimeout] * 5
    assert all("went on" in str(one) for one in refused[:5])
    assert refused[5:] == [1] * 5, "neighbours were handled, once"
    assert await asyncio.gather(*(mule.step() for mule in mules)) == [1] * 5, "nothing of it is left"
    assert await value(connection, "select count(*) from own_rows") == 0
    assert await value(connection, "select count(*) from revenant.messages where key = 'other'") == 0
    told = [record for record in caplog.records if "swallows asyncio.CancelledError" in record.message]
    assert len(told) == 5, "each is named, once"
    assert all(record.levelno == logging.ERROR for record in told)
    first = next(turn for turn in Mule.turns if turn.key == "m0")
    assert any(f"{kind.__name__}('m0').refuse, message {first.message_id}" in record.message for record in told)


async def test_a_cast_that_swallows_its_cancellation_is_tried_once(stable: Revenant, connection: Connection) -> None:
    message = await stable.cast(stable.ref(Mule, "m").refuse())
    await eventually(lambda: value(connection, "select count(*) from revenant.dead"), seconds=30)
    assert await rows(connection, "select id::text, attempts from revenant.dead") == [(message, 1)]
    assert len(Mule.turns) == 1


async def test_what_a_given_up_handler_has_of_its_turn_reaches_nothing(
    stable: Revenant, connection: Connection
) -> None:
    with pytest.raises(HandlerTimeout):
        await stable.ref(Mule, "m").refuse()
    assert await stable.ref(Mule, "m").step() == 1
    (turn,) = Mule.turns
    turn.delete()
    turn.cast(stable.ref(Mule, "never").step())
    assert turn.connection.closed, "its connection serves nobody any more"
    assert await stable.ref(Mule, "m").step() == 2
    assert await value(connection, "select count(*) from revenant.entities where key = 'never'") == 0


@pytest.mark.parametrize("kind", [Odd, LazyOdd])
@pytest.mark.parametrize(
    "name", ["OwnEnd", "GeneratorExit", "KeyboardInterrupt", "SystemExit", "CancelledError", "StopIteration"]
)
async def test_whatever_an_entity_raises_costs_its_message_and_no_lane(
    stable: Revenant, kind: type[Odd], name: str
) -> None:
    odd = stable.ref(kind, "o")
    thrown = [odd.throw(name, wait) for wait in (False, True) for _ in range(3)]
    begun = [stable.ref(kind, f"initial {name} {number}").step() for number in range(3)]
    for error in await asyncio.gather(*thrown, *begun, return_exceptions=True):
        assert isinstance(error, HandlerError), error
        assert name in str(error)
    assert await asyncio.gather(*(stable.ref(kind, f"n{number}").step() for number in range(8))) == [1] * 8
    assert await odd.step() == 1


@pytest.mark.parametrize("kind", [Odd, LazyOdd])
async def test_a_handler_that_cancels_its_own_task_costs_no_lane(stable: Revenant, kind: type[Odd]) -> None:
    thrown = [stable.ref(kind, f"o{number}").throw("itself", wait=number % 2 == 0) for number in range(6)]
    for error in await asyncio.gather(*thrown, return_exceptions=True):
        assert isinstance(error, HandlerError), error
    assert await asyncio.gather(*(stable.ref(kind, f"n{number}").step() for number in range(8))) == [1] * 8


@pytest.mark.parametrize("kind", [Odd, LazyOdd])
async def test_what_nobody_expects_of_a_turn_ends_no_lane(
    stable: Revenant, kind: type[Odd], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book, times = Ledger.book, 0

    def fails(*args: Any, **kwargs: Any) -> None:
        nonlocal times
        times += 1
        if times <= 4:
            raise OwnEnd("of our own making")
        book(*args, **kwargs)

    monkeypatch.setattr(Ledger, "book", fails)
    for number in range(4):
        await asyncio.gather(stable.ref(kind, f"f{number}").step(), return_exceptions=True)
    assert times >= 4
    assert await asyncio.gather(*(stable.ref(kind, f"n{number}").step() for number in range(8))) == [1] * 8
    assert "in a way that it should not" in caplog.text


@pytest.mark.parametrize("kind", [Odd, LazyOdd])
async def test_an_error_whose_text_cannot_be_read_and_a_serializer_that_ends_itself_cost_their_messages(
    stable: Revenant, kind: type[Odd]
) -> None:
    spoilt = await asyncio.gather(
        *(stable.ref(kind, f"s{number}").spoil("OwnEnd") for number in range(3)),
        *(stable.ref(kind, f"m{number}").throw("Mute", wait=False) for number in range(3)),
        return_exceptions=True,
    )
    assert all(isinstance(error, RevenantError) for error in spoilt), spoilt
    assert await asyncio.gather(*(stable.ref(kind, f"n{number}").step() for number in range(8))) == [1] * 8
