"""Generations: a run that goes on with a fresh history is the same run, and nothing that waited for it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant import Flow, Revenant, RunFailed, Settings, workflow
from revenant.codec import bucket_of, new_id
from revenant.errors import RunCancelled
from revenant.worker.runs.appending import Append
from revenant.worker.runs.runner import Runner
from revenant.worker.worker import Worker
from revenant.workflows import signals
from tests.runs import history, types
from tests.tools import eventually, rows

Connection = psycopg.AsyncConnection[Any]


async def add(n: int) -> int:
    return n + 1


@workflow
async def counting(flow: Flow, n: int) -> int:
    n = await flow.step(add, n)
    if n < 40:
        flow.continue_as_new(n)
    return n


@workflow
async def collecting(flow: Flow, found: list[int]) -> list[int]:
    """Takes two signals in each of its histories."""
    found = [*found, await flow.signal("item", int), await flow.signal("item", int)]
    if len(found) < 6:
        flow.continue_as_new(found)
    return found


undone: list[str] = []


async def undo(what: str) -> None:
    undone.append(what)


@workflow
async def regretting(flow: Flow, done: list[str]) -> None:
    """Registers anew what is still to be undone of the histories before, where it is told to."""
    for what in done:
        await flow.on_failure(undo, what)
    await flow.on_failure(undo, f"own {len(done)}")
    flow.continue_as_new(["kept"]) if not done else await flow.signal("never")


@workflow
async def asleep(flow: Flow, first: bool) -> str:
    if first:
        await flow.race(flow.sleep(0.3), flow.signal("now"))
        flow.continue_as_new(False)
    place, _ = await flow.race(flow.sleep(3600), flow.signal("done"))
    return ["timer", "signal"][place]


@workflow
async def small(flow: Flow, n: int) -> int:
    return 10 * n


@workflow
async def family(flow: Flow, given: list[int]) -> list[int]:
    """Has a child of the same operation in each of its histories."""
    n = len(given)
    given = [*given, await flow.child(small, n)]
    if n < 3:
        flow.continue_as_new(given)
    return given


@workflow
async def wrong(flow: Flow, n: int) -> int:
    flow.continue_as_new("many")


@workflow
async def breeding(flow: Flow, left: int) -> int:
    """Starts a child in each of its histories, and waits for none of them."""
    if left:
        await flow.child(small, left, wait=False, on_close="cancel")
        await flow.sleep(0.3)
        flow.continue_as_new(left - 1)
    return left


@workflow
async def tying(flow: Flow, first: bool) -> str:
    if first:
        await flow.child(waiting, None, id="tied", wait=False, on_close="cancel")
        flow.continue_as_new(False)
    await flow.signal("end")
    return "ended"


@workflow
async def waiting(flow: Flow) -> None:
    await flow.signal("never")


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    flows: list[Any] = [counting, collecting, asleep, small, family, wrong, tying, waiting, regretting, breeding]
    async with Revenant(workflows=flows, database_url=database, settings=settings) as application:
        yield application


async def chain(connection: Connection, key: str) -> list[dict[str, Any]]:
    """Return how each history of a run began, the latest first."""
    (found,) = await rows(connection, "select bucket, run from revenant.run_heads where key = %s", key)
    bucket, stream = found
    begun: list[dict[str, Any]] = []
    while stream is not None:
        first = "select data from revenant.run_events where bucket = %s and run = %s and seq = 1"
        ((data,),) = await rows(connection, first, bucket, stream)
        begun.append(data)
        stream = data.get("continues")
    return begun


async def test_many_generations_are_one_run_with_one_result(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(counting, 0, id="many")
    assert await run.result(timeout=60) == 40
    found = await chain(connection, "many")
    assert [one["input"] for one in found] == list(range(39, -1, -1))
    assert [one.get("generation", 1) for one in found] == list(range(40, 0, -1))
    ends = "select e.type, count(*) from revenant.run_events e where e.type in ('run.continued', 'run.completed') group by 1"
    assert dict(await rows(connection, ends)) == {"run.continued": 39, "run.completed": 1}
    assert len(await history(connection, "many")) < 10


async def test_of_the_ids_that_signals_came_with_the_latest_are_known_afterwards(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "MOST_IDS", 2)
    run = await app.start(collecting, [], id="items")
    for n in (9, 1):
        assert await run.signal("item", n, id=f"i{n}")
    for n in (5, 3):
        assert await run.signal("item", n, id=f"i{n}")
    await eventually(lambda: _waits_in(connection, "items", 3))
    # They are known in the order in which they came, in whatever order Postgres keeps them.
    assert [one["signal_ids"] for one in (await chain(connection, "items"))[:2]] == [["i5", "i3"], ["i9", "i1"]]
    assert not await run.signal("item", 5, id="i5")
    assert await run.signal("item", 9, id="i9"), "as long ago as that, it is another one"
    await run.signal("item", 0)
    assert await run.result(timeout=60) == [9, 1, 5, 3, 9, 0]


async def test_signals_that_nobody_has_taken_are_carried_over_and_known_ids_too(
    app: Revenant, connection: Connection
) -> None:
    """All of them are there before its code first runs; one comes twice."""
    send = "select revenant.cast('run:collecting', 'items', %s, %s)"
    await rows(connection, send, "start", '{"input": []}')
    for n in (0, 1, 2, 3, 4, 0):
        await rows(connection, send, "signal", f'{{"name": "item", "payload": {n}, "id": "i{n}"}}')
    worker = app.worker()
    await worker.start()
    run = app.run(collecting, "items")

    async def waits() -> bool:
        return (await types(connection, "items"))[-2:] == ["signal.taken", "wait.started"]

    await eventually(waits, seconds=60)
    assert not await run.signal("item", 0, id="i0")
    await run.signal("item", 5)
    assert await run.result(timeout=60) == [0, 1, 2, 3, 4, 5]
    assert [one.get("generation", 1) for one in await chain(connection, "items")] == [3, 2, 1]
    await worker.stop()


async def test_timers_of_an_old_history_are_no_answer_in_the_new_one(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    """Both histories wait for a timer as their first operation."""
    run = await app.start(asleep, True, id="asleep")
    (old,) = (await rows(connection, "select run::text from revenant.run_heads"))[0]
    await run.signal("now")

    async def continued() -> bool:
        return len(await chain(connection, "asleep")) == 2

    await eventually(continued, seconds=60)
    stale = f'{{"run": "{old}", "op": 1, "what": "timer"}}'
    await rows(connection, "select revenant.cast('run:asleep', 'asleep', 'fire', %s)", stale)
    await run.signal("done")
    assert await run.result(timeout=60) == "signal"
    assert "timer.fired" not in await types(connection, "asleep")
    assert await rows(connection, "select count(*) from revenant.scheduled") == [(0,)]


async def test_each_history_has_children_of_its_own(app: Revenant, worker: Worker, connection: Connection) -> None:
    run = await app.start(family, [], id="family")
    assert await run.result(timeout=60) == [0, 10, 20, 30]
    keys = [key for (key,) in await rows(connection, "select key from revenant.run_heads order by key")]
    assert keys == ["family", "family/1", "family/2.1", "family/3.1", "family/4.1"]


async def test_children_that_nobody_waits_for_are_still_its_own_in_a_later_history(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(tying, True, id="tying")
    await eventually(lambda: types(connection, "tied"), seconds=60)
    await run.signal("end")
    assert await run.result(timeout=60) == "ended"

    async def cancelled() -> bool:
        return (await types(connection, "tied"))[-1] == "run.cancelled"

    await eventually(cancelled, seconds=60)


async def test_children_that_have_ended_do_not_go_along_from_history_to_history(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(breeding, 6, id="breeding")
    assert await run.result(timeout=60) == 0
    firsts = "select jsonb_array_length(data->'children') from revenant.run_events where type = 'run.started'"
    carried = [count or 0 for (count,) in await rows(connection, f"{firsts} and data->>'workflow' = 'breeding'")]
    assert len(carried) == 7
    assert max(carried) <= 1
    # Those that go along hear of the end of what they were, too.
    await eventually(lambda: nothing_waits(connection), seconds=60)


async def nothing_waits(connection: Connection) -> bool:
    return await rows(connection, "select 1 from revenant.messages") == []


async def test_an_input_that_does_not_fit_fails_the_run(app: Revenant, worker: Worker) -> None:
    run = await app.start(wrong, 1, id="wrong")
    with pytest.raises(RunFailed, match="cannot take what it was given"):
        await run.result(timeout=60)


async def test_between_two_histories_a_run_has_an_owner_by_whom_it_is_found(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = Runner._after

    def dies_between(runner: Runner, part: Append) -> None:
        if part.draft.events[-1].type != "run.continued":
            after(runner, part)

    monkeypatch.setattr(Runner, "_after", dies_between)
    worker = app.worker()
    await worker.start()
    await app.start(counting, 38, id="between")

    async def continued() -> bool:
        return (await types(connection, "between"))[-1:] == ["run.continued"]

    await eventually(continued, seconds=60)
    assert await rows(connection, "select owner::text from revenant.run_heads") == [(worker.id,)]
    monkeypatch.undo()
    await worker.stop()
    other = app.worker()
    await other.start()
    assert await app.run(counting, "between").result(timeout=60) == 40
    await other.stop()


async def test_a_history_that_ended_with_its_worker_before_the_next_one_began_is_gone_on_with(
    app: Revenant, connection: Connection
) -> None:
    """As a worker leaves it that is killed between the two commits."""
    bucket = bucket_of("run:counting", "cut")
    stream, dead = new_id(bucket), new_id(0)
    head = (
        "insert into revenant.run_heads (bucket, kind, key, run, version, status, seq, owner, fence, digest) "
        "values (%s, 'run:counting', 'cut', %s, 1, 'running', 2, %s, 1, '')"
    )
    await rows_of(connection, head, bucket, stream, dead)
    told = "insert into revenant.run_events (bucket, run, seq, type, at, data) values (%s, %s, %s, %s, now(), %s)"
    first = '{"workflow": "counting", "version": 1, "input": 1}'
    await rows_of(connection, told, bucket, stream, 1, "run.started", first)
    await rows_of(connection, told, bucket, stream, 2, "run.continued", '{"input": 39}')
    worker = app.worker()
    await worker.start()
    assert await app.run(counting, "cut").result(timeout=60) == 40
    assert [one["input"] for one in await chain(connection, "cut")] == [39, 1]
    await worker.stop()


async def rows_of(connection: Connection, query: str, *parameters: Any) -> None:
    await connection.execute(query, parameters)


async def test_what_a_history_registered_to_be_undone_ends_with_it_unless_it_is_registered_anew(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    undone.clear()
    run = await app.start(regretting, [], id="r")
    await eventually(lambda: _waits_in(connection, "r", 2))
    await run.cancel("enough")
    with pytest.raises(RunCancelled):
        await run.result(timeout=30)
    assert undone == ["own 1", "kept"]


async def _waits_in(connection: Connection, key: str, generation: int) -> bool:
    events = await history(connection, key)
    return bool(events) and events[0].data.get("generation") == generation and events[-1].type == "wait.started"
