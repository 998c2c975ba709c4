"""The agenda and the watch: hints in memory; one lane per entity, and nothing hinted is forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from revenant.queue.link import Link
from revenant.queue.records import Hint
from revenant.worker import agenda as agenda_module
from revenant.worker import sweeper, watch
from revenant.worker.agenda import Agenda, Key, Portion
from revenant.worker.watch import Watch
from tests.tools import eventually


def hint(key: str, seq: int = 1) -> Hint:
    return Hint(7, "Account", key, seq)


@pytest.mark.parametrize("seed", range(5))
async def test_an_entity_is_with_one_lane_at_a_time_and_every_hint_is_looked_at_after_it_came(seed: int) -> None:
    chance, agenda = random.Random(seed), Agenda()
    busy: set[Key] = set()
    hinted, looked = dict[Key, int](), dict[Key, int]()
    clock = 0

    async def lane() -> None:
        nonlocal clock
        while True:
            portion = await agenda.take(8)
            keys = [(found.kind, found.key) for found in portion.hints]
            assert not busy & set(keys), "two lanes have one entity"
            busy.update(keys)
            clock += 1
            looked.update(dict.fromkeys(keys, clock))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            busy.difference_update(keys)
            agenda.finish(portion, portion.hints[:1] if chance.random() < 0.1 else ())

    lanes = [asyncio.create_task(lane()) for _ in range(4)]
    for number in range(600):
        clock += 1
        key = str(chance.randrange(30))
        hinted["Account", key] = clock
        agenda.add([hint(key, number)])
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if number % 100 == 50:
            victim = lanes.pop()
            if not busy:
                victim.cancel()  # a waiting lane that goes must pass its wake-up on
                await asyncio.gather(victim, return_exceptions=True)
                lanes.append(asyncio.create_task(lane()))
            else:
                lanes.append(victim)
    await eventually(lambda: not len(agenda) and not agenda.running)
    assert {key for key in hinted if looked[key] < hinted[key]} == set()
    for task in lanes:
        assert not task.done()
        task.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)


async def test_of_several_hints_the_lowest_number_counts() -> None:
    agenda = Agenda()
    agenda.add([hint("a", 9), hint("a", 3), hint("a", 5)])
    portion = await agenda.take(8)
    assert portion.hints == [hint("a", 3)]
    agenda.add([hint("a", 8), hint("a", 0)])
    agenda.finish(portion)
    assert (await agenda.take(8)).hints == [hint("a", 0)]


async def test_what_is_blocked_is_passed_by_until_it_is_named_or_its_time_is_over() -> None:
    agenda = Agenda()
    agenda.block(("Account", "a"), 60)
    agenda.block(("Account", "b"), -1)
    agenda.add([hint("a", 0), hint("b", 0)], backlog=True)
    assert len(agenda) == 1
    agenda.add([hint("a", 4)])
    assert len(agenda) == 2


async def test_a_block_keeps_back_nothing_that_was_taken_in_before_it() -> None:
    """Merged with the net's hint, that of a call cannot be told from it."""
    agenda = Agenda()
    agenda.add([hint("a", 1), hint("b", 1)])
    agenda.postpone(hint("c", 1), 0)
    portion = await agenda.take(8)
    assert agenda.borrow([("Account", "d")])
    for key in "abcd":
        agenda.add([hint(key, 0)], backlog=True)
        agenda.add([hint(key, 4)])
        agenda.block(("Account", key), 60)
    agenda.block(("Account", "e"), 60)
    agenda.finish(portion, [hint("e", 0)])
    agenda.give_back([("Account", "d")])
    await eventually(lambda: len(agenda) == 5, what="all that was taken in")
    assert {found.seq for found in (await agenda.take(8)).hints} == {0}


async def test_a_watched_key_is_looked_at_from_the_lowest_number_that_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message may be numbered early and committed late, while its entity is being watched for a later one."""
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.0)
    seen: list[Hint] = []

    async def peek(_connection: Any, hints: Sequence[Hint]) -> list[int]:
        seen.extend(hints)
        return list(range(len(hints)))

    monkeypatch.setattr(watch, "peek", peek)
    agenda = Agenda()
    watching = Watch(desk=Link(url="", role="desk"), agenda=agenda, on_miss=AsyncMock())
    watching.add([hint("a", 5)])
    watching.add([hint("a", 3)])
    watching.add([hint("a", 4)])
    connection: Any = None
    await watching.run_once(connection)
    assert seen == [hint("a", 3)]
    assert (await agenda.take(8)).hints == [hint("a", 3)]


async def test_what_somebody_waits_for_goes_before_a_backlog_and_takes_it_along() -> None:
    agenda = Agenda()
    agenda.add([hint(f"old{number}", 0) for number in range(500)], backlog=True)
    agenda.add([hint("live")])
    portion = await agenda.take(64)
    assert portion.hints[0] == hint("live")
    assert 1 < len(portion.hints) < 16, "a caller is not to wait for a whole portion of backlog"
    agenda.finish(portion)
    assert len((await agenda.take(64)).hints) == agenda_module.SMALL_PORTION, "the caller may call again any moment"
    agenda._live_until = 0.0
    assert len((await agenda.take(64)).hints) == 64
    assert len((await agenda.take(64)).hints) == 64, "with nobody about, a backlog has all lanes"


async def test_beside_live_messages_a_backlog_has_one_lane_and_others_are_free_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 1000.0)
    monkeypatch.setattr(agenda_module, "STUCK_SECONDS", 1000.0)
    monkeypatch.setattr(agenda_module, "LIVE_SECONDS", 1000.0)
    agenda = Agenda()
    agenda.add([hint(f"old{number}", 0) for number in range(500)], backlog=True)
    agenda.add([hint("live")])
    agenda.finish(await agenda.take(64))
    small = await agenda.take(64)
    assert not small.live
    lane = asyncio.create_task(agenda.take(64))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not lane.done(), "a second lane was taken from the live messages"
    agenda.add([hint("called")])
    async with asyncio.timeout(5):
        portion = await lane
    assert portion.hints[0] == hint("called")
    agenda.finish(small)
    async with asyncio.timeout(5):
        assert len((await agenda.take(64)).hints) == agenda_module.SMALL_PORTION


async def test_a_backlog_portion_that_is_stuck_does_not_hold_up_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 0.001)
    monkeypatch.setattr(agenda_module, "STUCK_SECONDS", 0.001)
    monkeypatch.setattr(agenda_module, "LIVE_SECONDS", 1000.0)
    agenda = Agenda()
    agenda.add([hint("live")])
    agenda.finish(await agenda.take(8))
    agenda.add([hint(f"old{number}", 0) for number in range(100)], backlog=True)
    async with asyncio.timeout(5):
        portions = [await agenda.take(8) for _ in range(3)]
    assert [portion.live for portion in portions] == [0, 0, 0]


async def test_what_is_left_of_a_backlog_is_not_taken_for_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "LIVE_SECONDS", 1000.0)
    agenda = Agenda()
    agenda.add([hint(f"old{number}", 0) for number in range(200)], backlog=True)
    portion = await agenda.take(64)
    agenda.finish(portion, portion.hints)
    portion = await agenda.take(64)
    assert (portion.live, len(portion.hints)) == (0, 64), "a backlog that is not done in one turn slows itself down"
    agenda.add([hint("old0", 0), portion.hints[0]], backlog=True)
    agenda.add([portion.hints[1]])
    agenda.finish(portion, portion.hints)
    portion = await agenda.take(64)
    assert portion.hints[0].key == "old65", "what was named while it ran is live"
    assert portion.live == 1


async def test_a_backlog_moves_on_under_any_traffic() -> None:
    agenda = Agenda()
    agenda.add([hint("old", 0)], backlog=True)
    agenda.add([hint(f"live{number}") for number in range(500)])
    first, second = await agenda.take(64), await agenda.take(64)
    assert hint("old", 0) in [*first.hints, *second.hints]


async def test_what_is_watched_as_a_backlog_is_handed_on_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "peek", AsyncMock(return_value=[0, 1, 2, 3]))
    agenda = AsyncMock()
    agenda.add = MagicMock()
    watching = Watch(desk=Link(url="", role="desk"), agenda=agenda, on_miss=AsyncMock())
    watching.add([hint("cast"), hint("both")], backlog=True)
    watching.add([hint("call"), hint("both"), hint("net", 0)])
    connection: Any = None
    await watching.run_once(connection)
    told = {call.kwargs["backlog"]: {found.key for found in call.args[0]} for call in agenda.add.call_args_list}
    assert told == {False: {"both", "call"}, True: {"cast", "net"}}


async def test_a_run_is_left_to_a_live_worker_for_a_while_and_to_a_dead_one_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(watch, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(watch, "peek", AsyncMock(side_effect=lambda _connection, hints: list(range(len(hints)))))
    agenda, left = Agenda(), {"a", "b"}
    watching = Watch(
        desk=Link(url="", role="desk"), agenda=agenda, on_miss=AsyncMock(), leaves=lambda hint: hint.key in left
    )
    connection: Any = None
    watching.add([hint("a", 5), hint("b"), hint("c")])
    await watching.run_once(connection)
    assert (await agenda.take(8)).hints == [hint("c")], "an entity is taken when the grace is over"
    watching.add([hint("a", 3)])
    await watching.run_once(connection)
    assert not len(agenda)
    left.remove("a")
    await watching.run_once(connection)
    assert (await agenda.take(8)).hints == [hint("a", 3)], "whoever went first for it is dead"
    monkeypatch.setattr(watch, "PATIENCE_SECONDS", 0.0)
    left.add("d")
    watching.add([hint("d")])
    await watching.run_once(connection)
    assert (await agenda.take(8)).hints == [hint("d")], "a live one that is late is not waited for without end"


async def test_the_net_leaves_runs_to_whoever_goes_first_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "waiting", AsyncMock(return_value=[hint("a", 0), hint("b", 0)]))
    agenda, watched = Agenda(), list[Hint]()
    net = sweeper.Sweeper(
        desk=Link(url="", role="desk"),
        agenda=agenda,
        kinds=["Account"],
        leaves=lambda hint: hint.key == "b",
        watch=watched.extend,
    )
    connection: Any = None
    await net.run_once(connection)
    assert (await agenda.take(8)).hints == [hint("a", 0)]
    assert watched == [hint("b", 0)]


async def test_a_hint_lifts_its_entity_out_of_the_backlog() -> None:
    agenda = Agenda()
    agenda.add([hint("a", 0), hint("b", 0)], backlog=True)
    agenda.add([hint("b", 9)])
    portion = await agenda.take(1)
    assert portion.hints == [hint("b", 0)]


async def test_entities_that_are_no_longer_blocked_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "MANY_BLOCKED", 100)
    agenda = Agenda()
    for number in range(1000):
        agenda.block(("Account", f"old{number}"), -1)
    agenda.block(("Account", "a"), 60)
    assert len(agenda._blocked) <= 101
    for number in range(1000):
        agenda.block(("Account", f"new{number}"), -1)
    agenda.add([hint("a", 0)], backlog=True)
    assert not len(agenda), "what is still blocked was forgotten too"


async def test_an_entity_set_apart_is_taken_alone_once() -> None:
    agenda = Agenda()
    agenda.set_apart(("Account", "b"))
    agenda.add(hint(key) for key in "abc")
    portions = [[found.key for found in (await take_and_finish(agenda)).hints] for _ in range(3)]
    assert portions == [["a"], ["b"], ["c"]]
    agenda.add(hint(key) for key in "abc")
    assert len((await agenda.take(10)).hints) > 1


async def test_a_few_beside_many_wait_for_company_instead_of_a_commit_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 1000.0)
    monkeypatch.setattr(agenda_module, "COMEBACK_SECONDS", 0.0)
    agenda = Agenda()
    agenda.add(hint(f"first{number}") for number in range(64))
    first, second = await agenda.take(128), await agenda.take(128)
    assert (len(first.hints), len(second.hints)) == (32, 32)
    agenda.add([first.hints[0]])
    agenda.finish(first)
    lane = asyncio.create_task(agenda.take(128))
    await passes()
    assert not lane.done(), "one entity that was called twice had a commit of its own"
    monkeypatch.setattr(agenda_module, "COMEBACK_SECONDS", 1000.0)
    agenda.finish(second)
    await passes()
    assert not lane.done(), "the callers of the second portion were not waited for"
    agenda.add(hint(f"next{number}") for number in range(63))
    async with asyncio.timeout(5):
        assert first.hints[0] in (await lane).hints
    assert len((await agenda.take(128)).hints) == 32


@pytest.mark.parametrize(("under_way", "waits"), [(agenda_module.COMPANY, False), (agenda_module.COMPANY + 1, True)])
async def test_one_in_eight_of_what_is_under_way_is_no_few(
    monkeypatch: pytest.MonkeyPatch, under_way: int, waits: bool
) -> None:
    """So eight callers never wait for each other."""
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 1000.0)
    monkeypatch.setattr(agenda_module, "SMALLEST_SHARE", 100)
    assert agenda_module.COMPANY == 8
    agenda = Agenda()
    agenda.add(hint(f"first{number}") for number in range(under_way))
    assert len((await agenda.take(128)).hints) == under_way
    agenda.add([hint("beside")])
    lane = asyncio.create_task(agenda.take(128))
    await passes()
    assert lane.done() is not waits
    lane.cancel()


async def test_few_that_get_no_company_are_handled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 0.02)
    agenda = Agenda()
    agenda.add(hint(f"slow{number}") for number in range(32))
    slow = [await agenda.take(16), await agenda.take(16)]
    agenda.finish(slow[0])
    agenda.add([hint("beside")])
    async with asyncio.timeout(5):
        assert (await take_and_finish(agenda)).hints == [hint("beside")], "a slow portion was waited for"
    agenda.finish(slow[1])
    agenda.add([hint("after")])
    async with asyncio.timeout(5):
        assert (await take_and_finish(agenda)).hints == [hint("after")], "callers who do not call again were waited for"


async def test_two_portions_are_of_about_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "SLOW_SECONDS", 1000.0)
    agenda = Agenda()
    agenda.add([hint("early")])
    assert len((await agenda.take(128)).hints) == 1
    agenda.add(hint(f"late{number}") for number in range(63))
    assert len((await agenda.take(128)).hints) == 32, "what comes next would wait for one that holds nearly all"
    agenda = Agenda()
    agenda.add(hint(f"early{number}") for number in range(60))
    assert len((await agenda.take(128)).hints) == 30
    agenda.add(hint(f"late{number}") for number in range(3))
    assert len((await agenda.take(128)).hints) == 33, "a few were left behind"


async def passes() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def take_and_finish(agenda: Agenda) -> Portion:
    portion = await agenda.take(10)
    agenda.finish(portion)
    return portion


async def test_a_postponed_entity_is_not_taken_before_its_time_whatever_is_hinted() -> None:
    agenda = Agenda()
    agenda.postpone(hint("a", 7), 0.02)
    agenda.add([hint("a", 3), hint("b", 1)])
    assert [found.key for found in (await take_and_finish(agenda)).hints] == ["b"]
    assert not len(agenda)
    async with asyncio.timeout(15):
        portion = await agenda.take(10)
    assert [(found.key, found.seq) for found in portion.hints] == [("a", 3)]


async def test_borrowed_entities_are_with_nobody_else_until_they_are_given_back() -> None:
    agenda = Agenda()
    agenda.add([hint("a", 1), hint("b", 1)])
    assert agenda.borrow([("Account", "b")])
    portion = await agenda.take(10)
    assert [found.key for found in portion.hints] == ["a"]
    assert not agenda.borrow([("Account", "a")]), "a lane has it"
    agenda.give_back([("Account", "b")])
    assert [found.key for found in (await agenda.take(10)).hints] == ["b"]
