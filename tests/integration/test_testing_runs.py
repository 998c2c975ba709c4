"""`revenant.testing` runs workflows: in memory and on a database, by the same words and one clock that is moved."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from pytest_revenant import MakeApp
from revenant import Entity, Flow, Retry, Revenant, Settings, Workflow, current_step, handler, step, workflow
from revenant.errors import (
    AlreadyAnswered,
    CallTimeout,
    ConfigurationError,
    NotIdle,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunNotFound,
)
from revenant.testing import MemoryApp, ServedApp, memory_app
from tests.entities import note_job

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
PATIENT = Settings(call_timeout=30, validate_state=True)
Tested = MemoryApp | ServedApp
Make = Callable[..., Tested]


class Book(Entity):
    """Adds up what runs have it book."""

    total: int = 0
    notes: list[str] = []  # noqa: RUF012 # a field of a pydantic model, copied for each

    @handler
    async def add(self, amount: int) -> int:
        if amount < 0:
            raise ValueError("no debts")
        self.total += amount
        return self.total

    @handler
    async def note(self, text: str) -> None:
        self.notes.append(text)


attempts: list[int] = []
undone: list[str] = []


async def double(number: int) -> int:
    return number * 2


def in_a_thread(number: int) -> int:
    return number + 1


async def third_time() -> int:
    attempts.append(current_step().attempt)
    if len(attempts) < 3:
        raise ConnectionError("not yet")
    return len(attempts)


async def always_fails() -> None:
    raise ValueError("as always")


async def undo(what: str) -> None:
    undone.append(what)


async def takes_its_time() -> None:
    for _ in range(20_000):
        await asyncio.sleep(0)
    undone.append("worked")


@step(timeout=0.05, retry=Retry(attempts=1))
async def hangs() -> None:
    await asyncio.Event().wait()


@workflow
async def sleeps_a_year(flow: Flow, number: int) -> list[str]:
    begun = flow.now()
    await flow.sleep(timedelta(days=365))
    return [begun.isoformat(), flow.now().isoformat(), str(await flow.step(double, number))]


@workflow
async def retries_hourly(flow: Flow) -> int:
    return await flow.step(third_time, retry=Retry(attempts=3, backoff=3600.0, factor=1.0))


async def at_the_third_attempt() -> int:
    if current_step().attempt < 3:
        raise ConnectionError("not yet")
    return current_step().attempt


@workflow
async def retries_twice(flow: Flow) -> int:
    return await flow.step(at_the_third_attempt, retry=Retry(attempts=3, backoff=3600.0, factor=1.0))


@workflow
async def asks(flow: Flow) -> str:
    try:
        return await flow.signal("answer", str, timeout=timedelta(days=1))
    except TimeoutError:
        return "nobody answered"


@workflow
async def books(flow: Flow, amounts: list[int]) -> list[Any]:
    found: list[Any] = []
    book = Book.__name__
    for amount in amounts:
        try:
            found.append(await flow.call(_ref(book, flow.id).add(amount)))
        except Exception as error:  # noqa: BLE001 # what it is, is what is tested
            found.append(type(error).__name__)
    await flow.cast(_ref(book, flow.id).note("done"))
    await flow.cast(_ref(book, flow.id).note("later"), after=timedelta(days=1))
    return found


@workflow
async def has_children(flow: Flow) -> Any:
    return await flow.gather(
        flow.child(sleeps_a_year, 1), flow.child(asks, id=f"{flow.id}-asks"), flow.map(in_a_thread, [1, 2, 3], limit=2)
    )


@workflow
async def fails(flow: Flow) -> None:
    await flow.on_failure(undo, "first")
    await flow.on_failure(undo, "second")
    await flow.step(always_fails, retry=Retry(attempts=1))


@workflow
async def waits_with_undo(flow: Flow) -> None:
    await flow.on_failure(undo, "what was done")
    await flow.sleep(timedelta(days=1))


@workflow
async def defers(flow: Flow) -> None:
    await flow.defer(note_job, text="from a run")


@workflow
async def counts_down(flow: Flow, number: int) -> str:
    if number:
        flow.continue_as_new(number - 1)
    return "lift-off"


@workflow
async def runs_out(flow: Flow) -> None:
    await flow.step(hangs)


@workflow(timeout=timedelta(days=7))
async def is_bounded(flow: Flow) -> None:
    await flow.signal("never")


@workflow
async def works_a_while(flow: Flow) -> None:
    await flow.step(takes_its_time)


@workflow
async def shows(flow: Flow) -> None:
    flow.show({"sleeps": True})
    await flow.sleep(timedelta(days=1))


@workflow
async def wants_approval(flow: Flow) -> str:
    given = await flow.approval("manager", assignee="ann")
    await flow.sleep(timedelta(days=1))
    return given.by


@workflow
async def asks_twice(flow: Flow, first: bool) -> str:
    given = await flow.approval("manager")
    if first:
        flow.continue_as_new(False)
    return given.by


@workflow
async def sleeps(flow: Flow, seconds: list[float]) -> list[Any]:
    """Sleeps for all of these at once; returns them in the order in which they ended, and when the last one did."""
    ended: list[float] = []

    async def one(length: float) -> None:
        await flow.sleep(length)
        ended.append(length)

    await flow.gather(*(one(length) for length in seconds))
    return [ended, flow.now().isoformat()]


@workflow
async def sleeps_until(flow: Flow, moment: datetime) -> str:
    await flow.sleep_until(moment)
    return flow.now().isoformat()


@workflow
async def begins_for_ever(flow: Flow) -> None:
    flow.continue_as_new()


FLOWS: list[Workflow[Any, Any]] = [
    sleeps_a_year, retries_hourly, asks, books, has_children, fails, waits_with_undo, counts_down, runs_out, is_bounded,
    begins_for_ever, defers, works_a_while, shows, wants_approval, asks_twice, sleeps, sleeps_until, retries_twice,
]  # fmt: skip


def _ref(kind: str, key: str) -> Any:
    return Revenant().ref(kind, key)


@pytest.fixture(params=["in memory", "on a database"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = memory_app if request.param == "in memory" else request.getfixturevalue("revenant_app")
    return made


@pytest_asyncio.fixture
async def tested(make: Make) -> AsyncIterator[Tested]:
    attempts.clear()
    undone.clear()
    async with make([Book], workflows=FLOWS, settings=PATIENT, now=START) as app:
        yield app


async def test_a_years_sleep_ends_at_once(tested: Tested) -> None:
    run = await tested.start(sleeps_a_year, 21, id="r")
    await tested.clock.advance(timedelta(days=364))
    with pytest.raises(CallTimeout):
        await run.result(timeout=0.01)
    await tested.clock.advance(timedelta(days=1))
    begun, ended, doubled = await run.result(timeout=30)
    assert [begun, ended, doubled] == [START.isoformat(), (START + timedelta(days=365)).isoformat(), "42"]


async def test_retries_wait_for_the_clock(tested: Tested) -> None:
    run = await tested.start(retries_hourly, id="r")
    await tested.run_until_idle()
    assert attempts == [1]
    # A quarter of an hour more or less.
    await tested.clock.advance(timedelta(minutes=76))
    assert attempts == [1, 2]
    await tested.clock.advance(timedelta(minutes=76))
    assert attempts == [1, 2, 3]
    assert await run.result(timeout=30) == 3


async def test_a_signal_is_waited_for_until_its_time_is_over(tested: Tested) -> None:
    in_time, late = await tested.start(asks, id="in time"), await tested.start(asks, id="late")
    assert await in_time.signal("answer", "yes", id="s1")
    assert await late.signal("other", 1, id="s2")
    assert not await late.signal("other", 1, id="s2")
    await tested.clock.advance(timedelta(days=2))
    assert await in_time.result(timeout=30) == "yes"
    assert await late.result(timeout=30) == "nobody answered"


async def test_runs_call_and_cast_to_entities(tested: Tested) -> None:
    run = await tested.start(books, [5, -1, 7], id="b")
    assert await run.result(timeout=30) == [5, "HandlerError", 12]
    await tested.run_until_idle()
    state = await tested.state(Book, "b")
    assert state is not None
    assert (state.total, state.notes) == (12, ["done"])
    await tested.clock.advance(timedelta(days=1))
    state = await tested.state(Book, "b")
    assert state is not None
    assert state.notes == ["done", "later"]


async def test_children_and_maps_run_side_by_side(tested: Tested) -> None:
    run = await tested.start(has_children, id="p")
    await tested.run_until_idle()
    await tested.run(asks, "p-asks").signal("answer", "from outside")
    await tested.clock.advance(timedelta(days=366))
    slept, answer, mapped = await run.result(timeout=30)
    assert slept[2] == "2"
    assert (answer, mapped) == ("from outside", [2, 3, 4])


async def test_a_signal_that_counted_is_known_by_its_id_after_the_end(tested: Tested) -> None:
    run = await tested.start(asks, id="a")
    assert await run.signal("answer", "yes", id="s") is True
    assert await run.result(timeout=30) == "yes"
    assert await run.signal("answer", "yes", id="s") is False
    with pytest.raises(RunEnded):
        await run.signal("answer", "yes", id="other")


async def test_a_failed_run_undoes_what_it_did(tested: Tested) -> None:
    run = await tested.start(fails, id="f")
    with pytest.raises(RunFailed, match="as always"):
        await run.result(timeout=30)
    assert undone == ["second", "first"]


async def test_a_cancelled_run_undoes_what_it_did(tested: Tested) -> None:
    run = await tested.start(waits_with_undo, id="c")
    await run.cancel("not wanted")
    with pytest.raises(RunCancelled, match="not wanted"):
        await run.result(timeout=30)
    assert undone == ["what was done"]
    with pytest.raises(RunEnded):
        await run.cancel()


async def test_a_parked_run_begins_nothing_until_it_is_resumed(tested: Tested) -> None:
    run = await tested.start(sleeps_a_year, 1, id="r")
    await run.park("for the audit")
    await tested.clock.advance(timedelta(days=366))
    with pytest.raises(CallTimeout):
        await run.result(timeout=0.01)
    await run.resume()
    assert (await run.result(timeout=30))[2] == "2"


async def test_a_run_goes_on_as_new(tested: Tested) -> None:
    assert await (await tested.start(counts_down, 3, id="n")).result(timeout=30) == "lift-off"


async def test_attempts_and_runs_have_their_time_outs(tested: Tested) -> None:
    attempt, run = await tested.start(runs_out, id="a"), await tested.start(is_bounded, id="b")
    with pytest.raises(RunFailed, match="longer than"):
        await attempt.result(timeout=30)
    await tested.clock.advance(timedelta(days=8))
    with pytest.raises(RunFailed, match="longer than"):
        await run.result(timeout=30)


async def test_rest_waits_for_steps_under_way(tested: Tested) -> None:
    await tested.start(works_a_while, id="r")
    await tested.run_until_idle()
    assert undone == ["worked"]


async def test_what_a_run_shows_is_seen_without_it(tested: Tested) -> None:
    run = await tested.start(shows, id="r")
    await tested.run_until_idle()
    await run.signal("anything")
    assert await run.state() == {"sleeps": True}
    with pytest.raises(RunNotFound):
        await tested.run(shows, "nobody").state()


async def test_approvals_wait_for_a_person(tested: Tested) -> None:
    run = await tested.start(wants_approval, id="r")
    await tested.run_until_idle()
    (asked,) = await tested.approvals(assignee="ann")
    assert (asked.name, asked.run_id, asked.workflow) == ("manager", "r", "wants_approval")
    assert await tested.approvals(assignee="bob") == []
    await asked.approve(by="ann")
    assert await tested.approvals() == []
    await tested.clock.advance(timedelta(days=1))
    assert await run.result(timeout=30) == "ann"
    with pytest.raises(AlreadyAnswered):
        await asked.approve(by="bob")


async def test_a_decision_of_an_earlier_history_is_known_to_whoever_comes_later(tested: Tested) -> None:
    run = await tested.start(asks_twice, True, id="w")
    await tested.run_until_idle()
    (first,) = await tested.approvals()
    await first.approve(by="ann")
    await tested.run_until_idle()
    (second,) = await tested.approvals()
    with pytest.raises(AlreadyAnswered) as told:
        await first.reject(by="bob")
    assert told.value.by == "ann"
    await first.approve(by="ann")
    assert len(await tested.approvals()) == 1, "the question of the second history is not answered by that"
    assert len((await run.describe()).earlier) == 1
    await second.approve(by="zoe")
    assert await run.result(timeout=30) == "zoe"


BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
"""Clocks go forward the night after; a day later it is 13 o'clock there."""
AUTUMN = datetime(2026, 10, 25, 0, 30, tzinfo=BERLIN)
"""Clocks go back that night, so that half past two comes twice."""


async def test_a_day_is_24_hours_when_the_clocks_go_forward(make: Make) -> None:
    async with make(workflows=FLOWS, settings=PATIENT, now=SPRING) as app:
        run = await app.start(sleeps, [24 * 3600.0], id="day")
        noon = await app.start(sleeps_until, SPRING + timedelta(days=1), id="noon")
        await app.clock.advance(timedelta(hours=22, minutes=59))
        assert (await noon.describe()).status == "waiting"
        await app.clock.advance(timedelta(minutes=1))
        assert datetime.fromisoformat(await noon.result(timeout=30)) == datetime(2026, 3, 29, 10, tzinfo=UTC)
        assert (await run.describe()).status == "waiting"
        await app.clock.advance(timedelta(hours=1))
        ended = await run.result(timeout=30)
        assert datetime.fromisoformat(ended[1]) == datetime(2026, 3, 29, 11, tzinfo=UTC)


async def test_an_hour_that_comes_twice_is_two_hours(make: Make) -> None:
    async with make(workflows=FLOWS, settings=PATIENT, now=AUTUMN) as app:
        twice = [datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=BERLIN) for fold in (1, 0)]
        late, early = [await app.start(sleeps_until, moment, id=f"r{moment.fold}") for moment in twice]
        await app.clock.advance(timedelta(hours=2))
        assert [(await run.describe()).status for run in (early, late)] == ["completed", "waiting"]
        await app.clock.advance(timedelta(hours=1))
        for run, hour in ((early, 0), (late, 1)):
            ended = datetime.fromisoformat(await run.result(timeout=30))
            assert ended == datetime(2026, 10, 25, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize("jump", [False, True])
async def test_many_timers_end_in_the_order_of_their_times(make: Make, jump: bool) -> None:
    lengths = [float(n) for n in random.Random(5).sample(range(1, 100_000), 120)]
    async with make(workflows=FLOWS, settings=PATIENT, now=START) as app:
        run = await app.start(sleeps, lengths, id="many")
        await app.run_until_idle()
        move = app.clock.jump if jump else app.clock.advance
        await move(timedelta(days=2))
        ended, at = await run.result(timeout=30)
    assert ended == sorted(lengths)
    assert datetime.fromisoformat(at) == START + (timedelta(days=2) if jump else timedelta(seconds=max(lengths)))


SENT: list[Callable[[Revenant], Any]] = [
    lambda app: app.start(asks, id="a"),
    lambda app: app.start(asks, id="a"),
    lambda app: app.start(asks, "no input", id="a"),  # type: ignore[misc]  # a careless sender
    lambda app: app.start("asks", "another", id="a"),
    lambda app: app.start(sleeps_a_year, "no number", id="s"),  # type: ignore[misc]  # as above
    lambda app: app.start("sleeps_a_year", "no number", id="s"),
    lambda app: app.start(asks, id=""),
    lambda app: app.start(asks),  # type: ignore[call-overload]  # as above
    lambda app: app.run(asks, "a").signal("answer", 5),
    lambda app: app.run(asks, "a").signal("other", 5, id="x"),
    lambda app: app.run(asks, "a").signal("other", 5, id="x"),
    lambda app: app.run(asks, "a").resume(),
    lambda app: app.run(asks, "a").park("why not"),
    lambda app: app.run(asks, "a").park(),
    lambda app: app.run(asks, "a").resume(),
    lambda app: app.run(asks, "a").requeue(),
    lambda app: app.run(asks, "a").migrate(),
    lambda app: app.run(asks, "a").migrate(9),
    lambda app: app.run(asks, "a").approve("boss", by="ann"),
    lambda app: app.run(asks, "a").approve("boss", by=""),
    lambda app: app.call(app.ref("run:asks", "a").answer(op=1, id="x", status="error", body=[1])),
    lambda app: app.call(app.ref("run:asks", "a").finished(op=True, id="x", status="ok", run="x")),
    lambda app: app.call(app.ref("run:asks", "a").decide(name="boss", approved="yes", by="x")),
    lambda app: app.call(app.ref("run:asks", "a").frobnicate()),
    lambda app: app.call(app.ref("run:asks", "b").start(events=[1], version=0)),
    lambda app: app.call(app.ref("run:asks", "b").start(parent=["x"])),
    lambda app: app.call(app.ref("run:asks", "b").signal(name="answer")),
    lambda app: app.run(asks, "nobody").signal("answer", "yes"),
    lambda app: app.run(asks, "a").signal("answer", "yes"),
    lambda app: app.run(asks, "a").result(timeout=30),
    lambda app: app.run(asks, "a").signal("answer", "yes"),
    lambda app: app.run(asks, "a").cancel(),
    lambda app: app.start(asks, id="a"),
    lambda app: app.start(fails, id="f"),
    lambda app: app.run(fails, "f").result(timeout=30),
    lambda app: app.run("fails", "f").result(timeout=30),
]


async def said(app: Revenant, send: Callable[[Revenant], Any]) -> tuple[str, str]:
    """Return what was answered, with ids left out."""
    try:
        answer: object = await send(app)
        kind = "reply"
    except Exception as error:  # noqa: BLE001 # whatever it is, both are to say it
        answer, kind = error, type(error).__name__
    return kind, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+", "…", str(answer))


async def test_memory_and_a_database_answer_in_the_same_words(revenant_app: MakeApp) -> None:
    memory = memory_app([Book], workflows=FLOWS, settings=PATIENT, now=START)
    async with revenant_app([Book], workflows=FLOWS, settings=PATIENT, now=START) as served:
        for number, send in enumerate(SENT):
            assert await said(memory, send) == await said(served, send), number


DOORS: list[Any] = [
    lambda app, id: app.start(asks, id=id),
    lambda app, id: app.start(wants_approval, id=id),
    lambda app, id: app.start(waits_with_undo, id=id),
    lambda app, id: app.start(has_children, id=id),
    lambda app, id: app.start(retries_twice, id=id),
    lambda app, id: app.start(asks_twice, True, id=id),
    *(
        lambda app, id, code=code: app.run(code, id).signal("answer", "yes", id="once")
        for code in (asks, waits_with_undo)
    ),
    *(
        lambda app, id, code=code: app.run(code, id).cancel("enough")
        for code in (asks, wants_approval, waits_with_undo)
    ),
    *(lambda app, id, code=code: app.run(code, id).park("a while") for code in (wants_approval, retries_twice)),
    *(lambda app, id, code=code: app.run(code, id).resume() for code in (wants_approval, retries_twice)),
    lambda app, id: app.run(retries_twice, id).requeue(),
    lambda app, id: app.run(wants_approval, id).approve("manager", by="ann"),
    lambda app, id: app.run(asks_twice, id).reject("manager", by="bob"),
    lambda app, id: app.run(waits_with_undo, id).migrate(),
    lambda app, id: app.clock.advance(timedelta(hours=7)),
    lambda app, id: app.clock.jump(timedelta(hours=7)),
]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_memory_and_a_database_come_to_the_same(revenant_app: MakeApp, seed: int) -> None:
    chance = random.Random(seed)
    memory = memory_app([Book], workflows=FLOWS, settings=PATIENT, now=START)
    async with revenant_app([Book], workflows=FLOWS, settings=PATIENT, now=START) as served:
        for number in range(60):
            door, id = chance.choice(DOORS), chance.choice("ab")
            send = partial(door, id=id)
            one = await said(memory, send)
            await memory.run_until_idle()
            other = await said(served, send)
            await served.run_until_idle()
            assert one == other, number
            asked = [[(one.run_id, one.name) for one in await app.approvals()] for app in (memory, served)]
            assert asked[0] == asked[1], number
            for code in (asks, wants_approval, waits_with_undo, has_children, retries_twice, asks_twice):
                seen = [await told_of(app, code, id) for app in (memory, served)]
                assert seen[0] == seen[1], (number, code, one)


async def told_of(app: Revenant, code: Workflow[Any, Any], id: str) -> Any:
    """Return what is seen of a run, but for what chance has a part in."""
    try:
        found = await app.run(code, id).describe()
    except RunNotFound:
        return None
    operations = [
        (one.type, one.name, one.state, one.running, len(one.attempts), one.result) for one in found.operations
    ]
    ends = (found.result, found.error and found.error["type"], found.problem, len(found.earlier))
    return found.status, found.version, found.events, operations, ends, [one.name for one in found.waits]


async def test_in_memory_the_present_stands_still_and_jobs_are_noted() -> None:
    app = memory_app(workflows=FLOWS, now=START)
    run = await app.start(sleeps_a_year, 1, id="r")
    await app.clock.advance(timedelta(days=400))
    assert (await run.result())[:2] == [START.isoformat(), (START + timedelta(days=365)).isoformat()]
    await (await app.start(defers, id="d")).result()
    assert [job.kwargs for job in app.deferred] == [{"text": "from a run"}]


async def test_in_memory_a_result_that_nothing_leads_to_says_what_is_waited_for() -> None:
    app = memory_app(workflows=FLOWS, now=START)
    run = await app.start(asks, id="r")
    with pytest.raises(CallTimeout, match=r'"name":"answer".*move the clock'):
        await run.result()
    with pytest.raises(CallTimeout, match="there is no such run"):
        await app.run(asks, "nobody").result()


async def test_in_memory_runs_that_begin_for_ever_are_given_up() -> None:
    app = memory_app(workflows=FLOWS, now=START)
    await app.start(begins_for_ever, id="r")
    with pytest.raises(NotIdle, match="go on as new"):
        await app.run_until_idle()


def test_workflows_are_given_with_entities_or_with_the_application() -> None:
    with pytest.raises(ConfigurationError, match="has its own"):
        memory_app(Revenant(workflows=FLOWS), workflows=FLOWS)
    assert len(memory_app(Revenant(workflows=FLOWS)).workflows.all()) == len(FLOWS)


async def books_by_itself(amount: int) -> int:
    return await bookshop.call(bookshop.ref(Book, "of steps").add(amount))


@workflow
async def sells(flow: Flow, amount: int) -> int:
    return await flow.step(books_by_itself, amount, retry=Retry(attempts=1))


bookshop = Revenant(entities=[Book], workflows=[sells], database_url="postgresql://nobody@127.0.0.1:1/none")


async def test_what_a_step_sends_through_your_application_is_for_the_test_s_database(revenant_app: MakeApp) -> None:
    async with revenant_app(bookshop, settings=PATIENT) as app:
        assert await (await app.start(sells, 7, id="s")).result(timeout=30) == 7
        found = await app.state(Book, "of steps")
        assert found is not None
        assert found.total == 7
