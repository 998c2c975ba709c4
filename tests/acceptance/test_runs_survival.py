"""Runs in real worker processes that are killed, stopped and cut off at the worst moments: nothing is lost or twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.client.run import Run
from revenant.config import Settings
from revenant.errors import CallTimeout, DatabaseUnavailable, RunEnded, RunFailed
from revenant.sql import migrate
from revenant.workflows.standing import Standing
from revenant.workflows.workflow import Workflow
from tests.entities import ENTITIES, Account
from tests.errands import WORKFLOWS, answers, has_child, hops, kills, naps, pays, waits, walks
from tests.flows import types
from tests.nemesis import Cable, Crew, Hand, Proxy, after, before, cut_answer, cut_before, private_server, terminate
from tests.nemesis import Gate as Bars
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
SOON = 5.0
"""Seconds to the next worker, on a busy machine: less than the 8 s that it takes to see that a heartbeat is missing, so
that it was the end of the connection that told."""
KILLED, HUNG, KILLS = 1.0, 10.0, 3
"""Seconds until another worker goes on, at most, and how often that is tried with a kill."""
LASTS = "('run.completed', 'run.failed', 'run.cancelled')"


class Effects:
    """What steps did outside, by word: a process each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, word: str) -> list[int]:
        """The processes in which that was done, once for each time."""
        return [int(path.name.split(".")[-2]) for path in self.folder.glob(f"{word}.*")]

    @property
    def words(self) -> set[str]:
        """What was done at all."""
        return {path.name.rsplit(".", 2)[0] for path in self.folder.iterdir()}


class Team(Crew):
    """A crew whose steps leave their effects in a folder."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder, app="tests.errands:app")
        self.effects = Effects(folder / "effects")
        self.effects.folder.mkdir()

    def spawn(
        self,
        *options: str,
        url: str | None = None,
        app: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Hand:
        told = {**(environment or {}), "REVENANT_TEST_EFFECTS": str(self.effects.folder)}
        return super().spawn(*options, url=url, app=app, environment=told)


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bars:
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv("REVENANT_TEST_GATE", str(folder))
    return Bars(folder)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    application = Revenant(entities=ENTITIES, workflows=WORKFLOWS, database_url=database, settings=settings)
    async with application:
        yield application


@pytest_asyncio.fixture
async def crew(database: str, tmp_path: Path) -> AsyncIterator[Team]:
    async with Team(database, tmp_path) as hired:
        yield hired


async def pair(crew: Team) -> list[Hand]:
    hands = [crew.spawn(), crew.spawn()]
    await asyncio.gather(*map(crew.serving, hands))
    return hands


def split(hands: list[Hand], pid: int) -> tuple[Hand, Hand]:
    """Return the one of two workers that this process belongs to, and the other."""
    (found,) = (hand for hand in hands if hand.owns(pid))
    (other,) = (hand for hand in hands if hand is not found)
    return found, other


async def check_whole(connection: Connection) -> None:
    """Every history is numbered from 1 without gaps, says each thing once, and has one end, which is its last event."""
    found = await rows(
        connection,
        f"select h.key, h.seq, count(*), max(e.seq), count(*) filter (where e.type in {LASTS}), "
        f"max(e.seq) filter (where e.type in {LASTS}), h.owner is null "
        "from revenant.run_heads h join revenant.run_events e on e.run = h.run group by h.key, h.seq, h.owner",
    )
    for key, seq, count, highest, ends, end, free in found:
        assert (seq, count, highest, ends, end, free) == (seq, seq, seq, 1, seq, True), key
    twice = await rows(
        connection,
        "select run, op, type, data->>'attempt' from revenant.run_events where op is not null "
        "group by 1, 2, 3, 4 having count(*) > 1",
    )
    assert twice == []
    assert await value(connection, "select count(*) from revenant.messages where starts_with(kind, 'run:')") == 0


Spring = Callable[[Cable, bytes], Awaitable[None]]


class Moment(NamedTuple):
    """When a worker is killed: before or after the append that holds these words is carried out."""

    name: str
    code: Workflow[Any, Any]
    words: bytes
    when: Callable[[Callable[[], None]], Spring]


MOMENTS = [
    Moment("before it is begun", hops, b"run.started", before),
    Moment("after its first attempt is recorded, before that begins", hops, b"attempt.started", after),
    Moment("after the effect of a step, before its record", hops, b"step.succeeded", before),
    Moment("after the record of a step", hops, b"step.succeeded", after),
    Moment("before its end is recorded", hops, b"run.completed", before),
    Moment("after its end is recorded", hops, b"run.completed", after),
    Moment("while it waits", naps, b"timer.scheduled", after),
    Moment("as its timer fires", naps, b"timer.fired", before),
    Moment("when its timer has fired", naps, b"timer.fired", after),
    Moment("before it asks for a child", has_child, b"child.started", before),
    Moment("between it and its child", has_child, b"child.started", after),
    Moment("between its child's end and its own record of that", has_child, b"child.finished", before),
    Moment("between a call's commit and the answer", pays, b"call.answered", before),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=[moment.name for moment in MOMENTS])
async def test_a_worker_killed_at_any_boundary_costs_a_run_neither_a_step_nor_the_time(
    app: Revenant, connection: Connection, crew: Team, moment: Moment
) -> None:
    code = moment.code
    killed_at = 0.0

    def kill() -> None:
        nonlocal killed_at
        killed_at = time.monotonic()
        victim.kill()
        survivor.signal(signal.SIGCONT)

    async with Proxy(crew.url) as proxy:
        survivor, victim = crew.spawn(), crew.spawn(url=proxy.url)
        await asyncio.gather(crew.serving(survivor), crew.serving(victim))
        survivor.signal(signal.SIGSTOP)
        trap = proxy.trap("runner", moment.words, moment.when(kill))
        given: Any = {hops: 2, naps: 0.3, has_child: 2, pays: "acc"}[code]
        run: Run[Any] = await app.start(code, given, id="r", timeout=30)
        found = await run.result(timeout=30)
        took = time.monotonic() - killed_at if killed_at else 0.0
        # Whoever waits is told of the end before the answer of the commit can be lost.
        await eventually(lambda: trap.sprung.is_set() and not victim.running, what=f"the death {moment.name}")
    assert took < SOON
    assert found == 2 if code in {hops, has_child} else found
    await check_whole(connection)
    attempts = "select max((data->>'attempt')::int), count(*) from revenant.run_events where type = 'attempt.started'"
    expected = {hops: 2, naps: 1, has_child: 3, pays: None}[code]
    if expected is not None:
        assert await rows(connection, attempts) == [(1, expected)], "a crash is no attempt"
        assert len(crew.effects.words) == expected
        assert all(1 <= len(crew.effects.of(word)) <= 2 for word in crew.effects.words)
    else:
        assert await app.ref(Account, "acc").read() == 11


async def test_what_a_killed_worker_was_doing_another_does_again_as_the_same_attempt(
    app: Revenant, connection: Connection, crew: Team, bars: Bars
) -> None:
    hands = await pair(crew)
    run = await app.start(walks, "w", id="r")
    inside = await bars.reached()
    victim, survivor = split(hands, inside)
    began = time.monotonic()
    victim.kill()
    successor = await bars.reached(besides=[inside])
    assert time.monotonic() - began < SOON
    assert survivor.owns(successor)
    bars.open()
    assert await run.result(timeout=30) == successor
    happened = await types(connection, "r")
    assert happened.count("run.recovered") == 1
    assert happened.count("attempt.started") == 2
    assert sorted(crew.effects.of("w")) == sorted([inside, successor])
    assert crew.effects.of("w-done") == [successor]
    await check_whole(connection)


async def test_another_worker_goes_on_with_a_run_within_a_second_of_a_kill(
    app: Revenant, connection: Connection, crew: Team, bars: Bars
) -> None:
    hands = await pair(crew)
    took: list[float] = []
    runs: list[Run[int]] = []
    for number in range(KILLS):
        word = f"w{number}"
        runs.append(await app.start(walks, word, id=word, timeout=30))
        (inside,) = await eventually(lambda word=word: crew.effects.of(word), what="an attempt")
        victim, survivor = split(hands, inside)
        victim.kill()
        killed = time.monotonic()
        await eventually(lambda word=word: len(crew.effects.of(word)) == 2, what="the same attempt elsewhere")
        took.append(time.monotonic() - killed)
        hands = [survivor, await crew.hire()]
    bars.open()
    for run in runs:
        await run.result(timeout=30)
    await check_whole(connection)
    # Others on a busy machine may hold up most of them; without the look for the dead it would be eight seconds.
    assert min(took) < KILLED, took
    assert max(took) < SOON, took


async def test_a_hung_worker_is_passed_over_and_as_a_zombie_can_record_nothing(
    app: Revenant, connection: Connection, crew: Team, bars: Bars
) -> None:
    hands = await pair(crew)
    run = await app.start(walks, "w", id="r")
    inside = await bars.reached()
    zombie, other = split(hands, inside)
    zombie.signal(signal.SIGSTOP)
    # It takes 8 seconds without a heartbeat; nothing helps it along.
    began = time.monotonic()
    successor = await bars.reached(besides=[inside])
    assert time.monotonic() - began < HUNG
    assert other.owns(successor)
    # Open before it wakes: it may hear at once that the run is lost, and its attempt is cancelled then.
    bars.open()
    zombie.signal(signal.SIGCONT)
    assert await run.result(timeout=30) == successor
    # Both did it; only one of them could say so.
    await eventually(
        lambda: sorted(crew.effects.of("w-done")) == sorted([inside, successor]), what="the zombie's own effect"
    )
    await eventually(lambda: "gone on with elsewhere" in zombie.log.read_text(), what="the zombie's report")
    assert zombie.running
    zombie.signal(signal.SIGTERM)
    assert await asyncio.to_thread(zombie.process.wait, 30) == 0
    await check_whole(connection)


async def test_a_step_that_kills_its_worker_fails_its_run_after_three_deaths_the_last_in_a_cell_and_the_fleet_goes_on(
    app: Revenant, connection: Connection, crew: Team
) -> None:
    hands = [crew.spawn() for _ in range(3)]
    await asyncio.gather(*map(crew.serving, hands))
    run = await app.start(kills, "deadly", id="r")
    with pytest.raises(RunFailed, match="recovery_budget_exceeded"):
        await run.result(timeout=60)
    assert sum(not hand.running for hand in hands) == 2
    assert len(crew.effects.of("deadly")) == 3
    assert await (await app.start(hops, 1, id="fine")).result(timeout=30) == 1
    assert sum(not hand.running for hand in hands) == 2
    await check_whole(connection)


async def test_a_draining_worker_hands_its_runs_over_and_that_is_no_death(
    app: Revenant, connection: Connection, crew: Team, bars: Bars
) -> None:
    first = crew.spawn("--drain-timeout", "1")
    await crew.serving(first)
    runs = [await app.start(walks, f"w{number}", id=f"r{number}") for number in range(8)]
    inside = await bars.reached()
    await eventually(lambda: all(crew.effects.of(f"w{number}") for number in range(8)), what="all runs at the gate")
    second = crew.spawn()
    await crew.serving(second)
    first.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.process.wait, 30) == 0
    successor = await bars.reached(besides=[inside])
    assert second.owns(successor)
    bars.open()
    assert await asyncio.gather(*(run.result(timeout=30) for run in runs)) == [successor] * 8
    assert await value(connection, "select sum(recoveries) from revenant.run_heads") == 0
    assert await value(connection, "select count(*) from revenant.run_events where type = 'run.released'") == 8
    await check_whole(connection)


async def test_a_fleet_that_is_replaced_under_load_loses_no_run_and_does_no_step_twice(
    app: Revenant, connection: Connection, crew: Team
) -> None:
    hands = await pair(crew)
    runs: list[Run[int]] = []
    over = asyncio.Event()

    async def begin_runs() -> None:
        while not over.is_set():
            runs.append(await app.start(hops, 6, id=f"r{len(runs)}", timeout=30))

    starting = asyncio.create_task(begin_runs())
    for leaver in hands:
        fresh = crew.spawn()
        await crew.serving(fresh)
        leaver.signal(signal.SIGTERM)
        assert await asyncio.to_thread(leaver.process.wait, 30) == 0
        seen = len(runs)
        await eventually(lambda seen=seen: len(runs) > seen + 5, what="more runs")
    over.set()
    await starting
    assert await asyncio.gather(*(run.result(timeout=60) for run in runs)) == [6] * len(runs)
    assert await value(connection, "select sum(recoveries) from revenant.run_heads") == 0
    assert len(crew.effects.words) == 6 * len(runs)
    assert all(len(crew.effects.of(word)) == 1 for word in crew.effects.words), "a drain is no crash: nothing is redone"
    await check_whole(connection)


async def test_two_workers_of_whom_one_is_killed_under_load_record_each_thing_once(
    app: Revenant, connection: Connection, crew: Team
) -> None:
    hands = await pair(crew)
    runs = await asyncio.gather(*(app.start(hops, 12, id=f"r{number}") for number in range(80)))
    ended = "select count(*) from revenant.run_heads where ended_at is not null"
    await eventually(lambda: len(crew.effects.words) > 100, what="some steps")
    assert await value(connection, ended) < 80, "all was over before the kill"
    hands[0].kill()
    cancelled = runs[::4]
    outcomes = await asyncio.gather(*(run.cancel("race") for run in cancelled), return_exceptions=True)
    assert all(isinstance(one, Standing | RunEnded) for one in outcomes)
    ends = await asyncio.gather(*(run.result(timeout=60) for run in runs), return_exceptions=True)
    assert [end for number, end in enumerate(ends) if number % 4] == [12] * 60
    await check_whole(connection)


async def test_every_connection_terminated_again_and_again_costs_no_run(
    app: Revenant, connection: Connection, crew: Team
) -> None:
    await pair(crew)
    runs = await asyncio.gather(*(app.start(hops, 15, id=f"r{number}", timeout=60) for number in range(40)))
    ended = "select count(*) from revenant.run_heads where ended_at is not null"
    cut = 0
    for _ in range(5):
        done = len(crew.effects.words)
        cut += len(await terminate(connection, ""))
        await eventually(
            lambda done=done: len(crew.effects.words) > done or len(crew.effects.words) == 600, what="more steps"
        )
    assert cut >= 5
    assert await asyncio.gather(*(run.result(timeout=60) for run in runs)) == [15] * 40
    assert await value(connection, ended) == 40
    assert len(crew.effects.words) == 600
    await check_whole(connection)


@pytest.mark.parametrize("cut", [cut_before, cut_answer])
@pytest.mark.parametrize("words", [b"run.started", b"step.succeeded", b"run.completed"])
async def test_an_append_whose_answer_is_lost_is_looked_up_and_neither_lost_nor_written_twice(
    app: Revenant, connection: Connection, crew: Team, cut: Spring, words: bytes
) -> None:
    async with Proxy(crew.url) as proxy:
        hand = crew.spawn(url=proxy.url)
        await crew.serving(hand)
        trap = proxy.trap("runner", words, cut)
        run = await app.start(hops, 2, id="r", timeout=30)
        assert await run.result(timeout=30) == 2
        assert trap.sprung.is_set()
        await eventually(lambda: "turn out to be written" in hand.log.read_text(), what="the look-up")
        assert hand.running
    assert all(len(crew.effects.of(word)) == 1 for word in crew.effects.words)
    assert await value(connection, "select recoveries from revenant.run_heads") == 0
    await check_whole(connection)


async def test_an_append_that_was_lost_is_not_taken_for_another_workers_of_the_same_length(
    app: Revenant, connection: Connection, crew: Team, bars: Bars
) -> None:
    async with Proxy(crew.url) as proxy:
        other, cut_off = crew.spawn(), crew.spawn(url=proxy.url)
        await asyncio.gather(crew.serving(other), crew.serving(cut_off))
        other.signal(signal.SIGSTOP)
        run = await app.start(answers, 3600.0, id="r", timeout=30)
        await eventually(lambda: value(connection, "select true from revenant.run_events where type = 'wait.started'"))

        async def cut_off_for_a_while(cable: Cable, _frame: bytes) -> None:
            proxy.refused |= {"runner-1", "runner-2"}
            cable.cut()
            other.signal(signal.SIGCONT)

        trap = proxy.trap("runner", b"signal.received", cut_off_for_a_while)
        await run.signal("word", 1, timeout=60)
        assert trap.sprung.is_set()
        inside = await bars.reached()
        assert other.owns(inside)
        proxy.refused.clear()
        await eventually(lambda: "turn out to be written" in cut_off.log.read_text(), what="the look-up", seconds=30)
        # It goes on for another run, so whatever it had begun for this one would have been begun.
        bars.open()
        assert await run.result(timeout=30) == inside
        assert crew.effects.of("answer-r") == [inside]
        assert cut_off.running
    await check_whole(connection)


async def test_a_crash_of_postgres_in_the_middle_of_traffic_costs_no_run(tmp_path: Path, settings: Settings) -> None:
    with private_server() as server:
        await migrate(server.url)
        patient = settings.model_copy(update={"call_timeout": 2.0})
        application = Revenant(entities=ENTITIES, workflows=WORKFLOWS, database_url=server.url, settings=patient)
        async with Team(server.url, tmp_path) as crew, application as app:
            hands = await pair(crew)
            starts = [asyncio.create_task(_start_surely(app, number)) for number in range(60)]
            await eventually(lambda: len(crew.effects.words) > 60, what="traffic")
            await asyncio.to_thread(server.stop, "immediate")
            assert len(crew.effects.words) < 60 * 12, "the traffic was over before the crash"
            await asyncio.to_thread(server.start)
            runs = await asyncio.gather(*starts)
            assert await asyncio.gather(*(_result_surely(run) for run in runs)) == [12] * 60
            assert all(hand.running for hand in hands)
            assert len(crew.effects.words) == 60 * 12
            async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
                await check_whole(connection)


async def _start_surely(app: Revenant, number: int) -> Run[int]:
    while True:
        try:
            return await app.start(hops, 12, id=f"r{number}")
        except (CallTimeout, DatabaseUnavailable):
            continue


async def _result_surely(run: Run[int]) -> int:
    while True:
        try:
            return await run.result(timeout=60)
        except DatabaseUnavailable:
            continue


async def test_a_run_that_waits_is_nobodys_and_goes_on_wherever_somebody_lives(
    app: Revenant, connection: Connection, crew: Team
) -> None:
    first = crew.spawn()
    await crew.serving(first)
    run = await app.start(waits, 3600.0, id="r")
    await eventually(lambda: value(connection, "select true from revenant.run_heads where status = 'waiting'"))
    assert await value(connection, "select owner is null from revenant.run_heads")
    first.kill()
    send = asyncio.create_task(run.signal("word", 5, timeout=60))
    second = crew.spawn()
    await crew.serving(second)
    assert await send
    assert await run.result(timeout=30) == 5
    assert await value(connection, "select recoveries from revenant.run_heads") == 0
    await check_whole(connection)
