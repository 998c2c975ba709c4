"""Code that is run by hand: side by side, in races, while it unwinds, and in whatever way it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from revenant.errors import ConfigurationError
from revenant.workflows.operation import Gather, Mapped, Operation, Race, TimerOperation
from revenant.workflows.replay import Answer, Replay, in_code


class Oops(Exception):
    """What code raises here."""


class Desk:
    """Writes down what code asks for, and answers at once what is named `now`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.replay = Replay(asks=self._asks)

    def _asks(self, number: int, operation: Operation[Any]) -> Answer | None:
        assert number == len(self.asked) + 1
        self.asked.append(operation.name)
        return Answer(operation.name) if operation.name.startswith("now") else None

    def run(self, code: Coroutine[Any, Any, Any]) -> Replay:
        self.replay.begin(code)
        return self.replay


def ask(name: str) -> Operation[Any]:
    return TimerOperation(after=1, at=None, name=name)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def value(replay: Replay) -> Any:
    assert replay.end is not None
    if replay.end.error is not None:
        raise replay.end.error
    return replay.end.value


def test_strands_ask_in_the_order_in_which_they_were_written_and_answers_go_to_whoever_asked(desk: Desk) -> None:
    async def twice(name: str) -> list[Any]:
        return [await ask(f"{name}1"), await ask(f"{name}2")]

    async def code() -> Any:
        return await Gather([twice("a"), twice("b")], return_exceptions=False)

    replay = desk.run(code())
    assert desk.asked == ["a1", "b1"]
    replay.answer(2, Answer("B1"))
    assert desk.asked == ["a1", "b1", "b2"]
    replay.answer(1, Answer("A1"))
    replay.answer(3, Answer("B2"))
    replay.answer(4, Answer("A2"))
    assert value(replay) == [["A1", "A2"], ["B1", "B2"]]


def test_the_first_failure_of_a_gather_drops_the_others(desk: Desk) -> None:
    async def code() -> Any:
        return await Gather([ask("a"), ask("b"), ask("c")], return_exceptions=False)

    replay = desk.run(code())
    replay.answer(2, Answer(error=Oops()))
    assert replay.dropped == [1, 3]
    with pytest.raises(Oops):
        value(replay)


def test_failures_are_results_where_they_are_wanted(desk: Desk) -> None:
    async def code() -> Any:
        return await Gather([ask("a"), ask("b")], return_exceptions=True)

    replay = desk.run(code())
    replay.answer(1, Answer(error=Oops("no")))
    replay.answer(2, Answer(2))
    found = value(replay)
    assert isinstance(found[0], Oops)
    assert found[1] == 2


@pytest.mark.parametrize("build", [lambda: Gather([], return_exceptions=False), lambda: Mapped([], limit=3)])
def test_nothing_to_wait_for_is_an_empty_list(desk: Desk, build: Callable[[], Any]) -> None:
    async def code() -> Any:
        return await build()

    assert value(desk.run(code())) == []


def test_a_race_is_won_by_the_first_answer_and_the_rest_is_dropped_in_order(desk: Desk) -> None:
    async def nested() -> Any:
        return await Gather([ask("c"), ask("d")], return_exceptions=False)

    async def code() -> Any:
        return await Race([ask("a"), ask("b"), nested()])

    replay = desk.run(code())
    replay.answer(2, Answer("B"))
    assert value(replay) == (1, "B")
    assert replay.dropped == [1, 3, 4]
    replay.answer(1, Answer("late"))
    assert value(replay) == (1, "B")


def test_a_race_that_is_decided_at_once_asks_for_nothing_more(desk: Desk) -> None:
    async def code() -> Any:
        return await Race([ask("now"), ask("b")])

    assert value(desk.run(code())) == (0, "now")
    assert desk.asked == ["now"]


def test_a_map_has_so_many_under_way_and_keeps_the_order_of_its_items(desk: Desk) -> None:
    async def code() -> Any:
        return await Mapped((ask(str(number)) for number in range(4)), limit=2)

    replay = desk.run(code())
    assert desk.asked == ["0", "1"]
    replay.answer(2, Answer("one"))
    assert desk.asked == ["0", "1", "2"]
    replay.answer(3, Answer("two"))
    replay.answer(4, Answer("three"))
    replay.answer(1, Answer("zero"))
    assert value(replay) == ["zero", "one", "two", "three"]


@pytest.mark.parametrize("error", [Oops, GeneratorExit, SystemExit])
def test_a_map_whose_items_raise_fails_with_that_and_drops_what_is_under_way(
    desk: Desk, error: type[BaseException]
) -> None:
    def items() -> Any:
        yield ask("a")
        raise error

    async def code() -> Any:
        return await Mapped(items(), limit=2)

    replay = desk.run(code())
    with pytest.raises(error):
        value(replay)


def test_what_is_none_of_flows_operations_is_refused_where_it_was_awaited(desk: Desk) -> None:
    async def code() -> Any:
        try:
            await asyncio.sleep(0)
        except ConfigurationError as error:
            return str(error)

    assert "none of flow's operations" in value(desk.run(code()))


async def test_a_future_is_refused_too(desk: Desk) -> None:
    future = asyncio.get_running_loop().create_future()

    async def code() -> Any:
        await future

    with pytest.raises(ConfigurationError, match=r"flow\.step"):
        value(desk.run(code()))


def test_a_finally_that_awaits_while_the_code_unwinds_asks_for_nothing(desk: Desk) -> None:
    unwound = []

    async def code() -> None:
        try:
            await ask("a")
        finally:
            try:
                await ask("undo")
            finally:
                unwound.append(1)

    replay = desk.run(code())
    replay.close()
    replay.close()
    assert unwound == [1]
    assert desk.asked == ["a"]
    assert replay.end is None


def test_code_that_swallows_everything_is_put_aside_nevertheless(desk: Desk) -> None:
    async def code() -> None:
        for _ in range(50):
            try:
                await ask("a")
            except BaseException:  # noqa: BLE001 # what the worst code does
                pass

    desk.run(code()).close()
    assert desk.asked == ["a"]


def test_a_loser_that_awaits_while_it_unwinds_does_not_hold_the_race_up(desk: Desk) -> None:
    async def stubborn() -> None:
        try:
            await ask("a")
        finally:
            await ask("b")

    async def code() -> Any:
        won = await Race([stubborn(), ask("c")])
        return [won, await ask("d")]

    replay = desk.run(code())
    replay.answer(2, Answer("C"))
    assert desk.asked == ["a", "c", "d"]
    replay.answer(3, Answer("D"))
    assert value(replay) == [(1, "C"), "D"]


def test_code_that_raises_ends_with_that(desk: Desk) -> None:
    async def code() -> None:
        await ask("a")
        raise Oops

    replay = desk.run(code())
    replay.answer(1, Answer())
    with pytest.raises(Oops):
        value(replay)


def test_an_answer_that_nobody_waits_for_does_nothing(desk: Desk) -> None:
    async def code() -> None:
        await ask("a")

    replay = desk.run(code())
    replay.answer(7, Answer())
    assert replay.awaits(1)
    assert replay.end is None
    replay.close()


class Wish(BaseException):
    """Not an Exception: what code wants to end with."""


def test_what_is_no_exception_is_no_result_of_a_gather(desk: Desk) -> None:
    async def wishes() -> None:
        await ask("a")
        raise Wish

    async def code() -> None:
        await Gather([wishes(), ask("b")], return_exceptions=True)

    replay = desk.run(code())
    replay.answer(1, Answer())
    assert replay.dropped == [2]
    with pytest.raises(Wish):
        value(replay)


async def test_asyncio_finds_the_task_again_that_runs_the_code(desk: Desk) -> None:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    async def code() -> None:
        assert asyncio.current_task() is None
        await ask("a")

    desk.run(code()).close()
    assert asyncio.current_task() is task
    assert asyncio.get_running_loop() is loop


async def test_a_generator_that_code_leaves_in_the_middle_is_ended_there_and_then(desk: Desk) -> None:
    ended: list[object] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append(in_code.get())
            await ask("never")
            ended.append("asked")

    async def code() -> None:
        async for _ in items():
            await ask("a")
            break
        await ask("b")

    replay = desk.run(code())
    replay.answer(1, Answer())
    assert (ended, desk.asked) == ([True], ["a", "b"])
    replay.close()
    left = desk_with_a_loop_left_open(items)
    left.close()
    assert ended == [True, True]
    await asyncio.sleep(0)


def desk_with_a_loop_left_open(items: Callable[[], AsyncIterator[int]]) -> Replay:
    async def code() -> None:
        async for _ in items():
            await ask("a")

    return Desk().run(code())
