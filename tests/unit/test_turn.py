"""A turn, values in and values out: what a failed handler leaves behind, and what lives on from message to message."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pytest
from psycopg import AsyncConnection
from pydantic import PrivateAttr

from revenant.entities.context import Job, Turn
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.entities.outcome import Applied, EntityTurn, Failed
from revenant.entities.turn import Rules, run_turn
from revenant.errors import AlreadySent, ConfigurationError
from revenant.queue.records import Claimed, Delivery


class NoSql:
    """An isolation for handlers that run no SQL."""

    used = False

    def open(self) -> AsyncConnection[Any]:
        raise AssertionError("no handler here asks for the connection")

    async def release(self) -> None: ...

    async def rollback(self) -> None: ...

    def end_loan(self) -> None: ...

    def abandon(self) -> None: ...


class Memory(Entity):
    """State, and three kinds of what is not state."""

    n: int = 0
    _seen: list[int] = PrivateAttr(default_factory=list)

    @cached_property
    def expensive(self) -> list[int]:
        return []

    @handler
    async def remember(self, what: int, fail: bool = False) -> tuple[list[int], list[int], list[int]]:
        self.n += 1
        self._seen.append(what)
        self.__dict__.setdefault("_loose", []).append(what)
        self.expensive.append(what)
        if fail:
            raise ValueError(what)
        return self._seen, vars(self)["_loose"], self.expensive

    @handler
    async def forward(self, times: int) -> None:
        message = self.turn.ref(Memory, "other").remember(1)
        for _ in range(times):
            self.turn.cast(message)

    @handler
    async def bad_cast(self, how: str) -> None:
        given: dict[str, Any] = {
            "no message": {},
            "seconds": {"after": 5},
            "no zone": {"at": datetime(2026, 1, 1)},
            "both": {"at": datetime.now(UTC), "after": 5},
        }
        message: Any = 7 if how == "no message" else self.turn.ref(Memory, "other").remember(1)
        self.turn.cast(message, **given[how])

    @handler
    async def bad_ref(self) -> None:
        self.turn.ref(self, "other")  # type: ignore[call-overload]  # the mistake that is told


async def run(*messages: tuple[str, str]) -> EntityTurn:
    isolation = NoSql()

    def new_turn(claimed: Claimed, delivery: Delivery) -> Turn:
        return Turn(
            kind=claimed.kind, key=claimed.key, message_id=delivery.id, attempt=1,
            now=datetime.now(UTC), isolation=isolation, limit=1000,
        )  # fmt: skip

    async def guard(running: Coroutine[Any, Any, Any]) -> Any:
        return await running

    def defer(jobs: Sequence[Job]) -> Awaitable[None]:
        raise AssertionError("no handler here defers")

    async def elsewhere(kind: str, name: str) -> bool:
        return False

    rules = Rules(
        new_turn=new_turn, guard=guard, spent=lambda: False, condemned=lambda _: None, served_elsewhere=elsewhere,
        isolation=isolation, defer=defer, limit=1000,
    )  # fmt: skip
    deliveries = [
        Delivery(number, "(0,1)", f"id{number}", name, args, "channel", None, 0, None)
        for number, (name, args) in enumerate(messages, start=1)
    ]
    return await run_turn(Memory, Claimed(0, "Memory", "k", None, 0, None, None, deliveries), rules)


def remember(what: int, *, fail: bool = False) -> tuple[str, str]:
    return "remember", f'{{"what": {what}, "fail": {str(fail).lower()}}}'


async def test_nothing_of_a_failed_handler_survives_its_private_attributes_included() -> None:
    done = await run(remember(1), remember(2, fail=True), remember(3))
    assert [type(outcome) for outcome in done.outcomes] == [Applied, Failed, Applied]
    last = done.outcomes[2]
    assert isinstance(last, Applied)
    assert last.body == "[[3],[3],[3]]"
    assert (done.state, done.version) == ('{"n":2}', 2)


async def test_private_attributes_are_no_state() -> None:
    done = await run(remember(1), remember(2))
    last = done.outcomes[1]
    assert isinstance(last, Applied)
    assert last.body == "[[1,2],[1,2],[1,2]]"
    assert done.state == '{"n":2}'


async def test_a_message_that_is_cast_twice_by_one_turn_is_refused() -> None:
    done = await run(("forward", '{"times": 1}'), ("forward", '{"times": 2}'))
    first, second = done.outcomes
    assert isinstance(first, Applied)
    assert first.effects is not None
    assert len(first.effects.sends) == 1
    assert isinstance(second, Failed)
    assert second.error["error"] == AlreadySent.__name__


@pytest.mark.parametrize(
    ("how", "words"),
    [("no message", "an int"), ("seconds", "timedelta"), ("no zone", "time zone"), ("both", "give one")],
)
async def test_a_cast_inside_a_handler_says_what_it_takes(how: str, words: str) -> None:
    (outcome,) = (await run(("bad_cast", f'{{"how": "{how}"}}'))).outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error["error"] == ConfigurationError.__name__
    assert words in outcome.error["message"]


async def test_a_ref_inside_a_handler_says_what_it_takes() -> None:
    (outcome,) = (await run(("bad_ref", "{}"))).outcomes
    assert isinstance(outcome, Failed)
    assert "class" in outcome.error["message"]
