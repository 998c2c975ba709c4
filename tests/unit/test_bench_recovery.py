"""What counts as a recovery: a reply of another worker, for an entity that the killed one served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from revenant.bench.witness import PROBES, Witness
from revenant.errors import CallTimeout
from revenant.trial.crew import Crew, Killed
from revenant.trial.killer import Killer

DEAD, LIVING = 11, 22


class Answers:
    """Who answers the next call of each entity, in order; the last one goes on for ever."""

    def __init__(self, **by_entity: list[int]) -> None:
        self._by_entity = {int(name.removeprefix("e")): pids for name, pids in by_entity.items()}
        self.asked: list[int] = []

    async def __call__(self, entity: int) -> int:
        self.asked.append(entity)
        pids = self._by_entity[entity]
        return pids.pop(0) if len(pids) > 1 else pids[0]


async def test_only_entities_that_the_killed_worker_served_last_are_asked_and_the_latest_first() -> None:
    answers = Answers(e0=[DEAD, LIVING], e1=[LIVING], e2=[DEAD, LIVING], e3=[DEAD, LIVING])
    witness = Witness(answers)
    for entity in (3, 1, 0, 2, 0):
        await witness.call(0, entity)
    answers.asked.clear()
    await asyncio.gather(*witness.probes(Killed(DEAD, time.perf_counter())))
    assert answers.asked == [2, 3]


async def test_no_more_entities_are_asked_than_the_table_says() -> None:
    answers = Answers(**{f"e{number}": [DEAD, LIVING] for number in range(PROBES + 3)})
    witness = Witness(answers)
    for entity in range(PROBES + 3):
        await witness.call(0, entity)
    probes = witness.probes(Killed(DEAD, time.perf_counter()))
    await asyncio.gather(*probes)
    assert len(probes) == PROBES


async def test_a_reply_that_the_dead_one_had_committed_is_no_recovery() -> None:
    answers = Answers(e0=[DEAD, DEAD, DEAD, LIVING])
    witness = Witness(answers)
    await witness.call(0, 0)
    await asyncio.gather(*witness.probes(Killed(DEAD, time.perf_counter() - 1.0)))
    assert answers.asked == [0, 0, 0, 0]
    assert len(witness.calls.latencies) == 3
    assert [round(seconds) for seconds in witness.anybody] == [1]


async def test_anybody_s_next_reply_is_not_the_dead_one_s() -> None:
    witness = Witness(Answers(e0=[DEAD], e1=[LIVING]))
    assert witness.probes(Killed(DEAD, time.perf_counter())) == []
    await witness.call(0, 0)
    assert witness.anybody == []
    for _ in range(2):
        await witness.call(0, 1)
    assert len(witness.anybody) == 1


async def test_a_call_without_an_answer_ends_its_probe_and_is_counted() -> None:
    async def ask(_: int) -> int:
        if not asked:
            asked.append(True)
            return DEAD
        raise CallTimeout("no reply", message_id="1")

    asked: list[bool] = []
    witness = Witness(ask)
    await witness.call(0, 0)
    await asyncio.gather(*witness.probes(Killed(DEAD, time.perf_counter())))
    assert (witness.calls.unknown, witness.anybody) == (1, [])


async def test_the_next_victim_is_alive_and_serves() -> None:
    witness = Witness(Answers(e0=[DEAD], e1=[LIVING]))
    assert witness.server([DEAD]) == DEAD
    for entity in (0, 1):
        await witness.call(0, entity)
    assert {witness.server([LIVING, 33]) for _ in range(20)} == {LIVING}


class SomeCrew:
    """A crew whose workers die at once, or as told."""

    def __init__(self) -> None:
        self.killed: list[int | None] = []
        self.buried: list[Killed] = []

    def kill(self, pid: int | None) -> Killed:
        self.killed.append(pid)
        return Killed(pid or DEAD, time.perf_counter())

    async def bury(self, killed: Killed) -> None:
        self.buried.append(killed)


async def test_a_recovery_is_the_first_and_the_last_reply_after_the_kill() -> None:
    crew, words = SomeCrew(), list[str]()
    killer = Killer(crew=cast(Crew, crew), say=words.append)
    doors = [asyncio.Event() for _ in range(3)]

    def calls(killed: Killed) -> list[Coroutine[Any, Any, bool]]:
        assert crew.killed == [killed.pid] == [LIVING]
        return [door.wait() for door in doors]

    began = time.perf_counter()
    killer.kill(calls, pid=LIVING)
    waits = []
    for door in reversed(doors):
        await asyncio.sleep(0.02)
        waits.append(time.perf_counter() - began)
        door.set()
        await asyncio.sleep(0)
    assert killer.recoveries == []
    await killer.finish()
    (recovery,) = killer.recoveries
    assert recovery.first == pytest.approx(waits[0], abs=0.015)
    assert recovery.last == pytest.approx(waits[-1], abs=0.015)
    assert [killed.pid for killed in crew.buried] == [LIVING]
    assert words[0].startswith(f"Killed worker {LIVING} with SIGKILL; the next reply came after ")
    await killer.stop()


async def test_a_killer_that_is_stopped_gives_its_calls_up() -> None:
    killer = Killer(crew=cast(Crew, SomeCrew()), say=lambda _: None)
    given_up = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.append(True)

    killer.kill(lambda _: [never(), never()])
    await asyncio.sleep(0.01)
    for _ in range(2):
        await killer.stop()
    await asyncio.sleep(0.01)
    assert (given_up, killer.recoveries) == ([True, True], [])
