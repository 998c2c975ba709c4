"""Runs of workflows on a real Postgres, with a worker in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.errors import (
    CallTimeout,
    HandlerError,
    InvalidArguments,
    RunCancelled,
    RunEnded,
    RunExists,
    RunFailed,
    RunNotFound,
    WaitTimeout,
)
from revenant.queue.claim import MESSAGE_LIMIT
from revenant.queue.records import Hint
from revenant.queue.runs import UNKNOWN, find_dead_runs, visit_runs
from revenant.worker.worker import Worker
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.standing import Standing
from revenant.workflows.workflow import Workflow, workflow
from tests.entities import ENTITIES, Account
from tests.errands import WORKFLOWS, Approval, Order, Receipt, checkout, hears_in_rounds, hops, naps, pays, waits
from tests.flows import types
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
BLOCKED = "select problem from revenant.run_heads where key = %s and status = 'blocked'"


async def work(number: int) -> int:
    return number * 10


async def gives(what: str) -> Any:
    return {"rows": [1, {"NUL": "a\0b", "NaN": float("nan"), "object": object()}[what]]}


async def breaks(text: str) -> None:
    raise LookupError(f"{text}: \0 \ud800")


@workflow
async def returns_junk(flow: Flow, what: str) -> Any:
    return await flow.step(gives, what)


@workflow
async def ends_in_junk(flow: Flow, what: str) -> Any:
    return await gives(what)


@workflow
async def fans_out(flow: Flow, count: int) -> Any:
    both = await flow.gather(flow.step(work, 1), flow.step(work, 2))
    all_ = await flow.map(work, range(count), limit=3)
    first = await flow.race(flow.sleep(60), flow.step(work, 7))
    return [both, all_, first]


@workflow
async def decides_by_chance(flow: Flow) -> Any:
    before = [flow.random(), str(flow.uuid()), flow.now().isoformat()]
    await flow.signal("go")
    return {"before": before, "after": [flow.random(), str(flow.uuid()), flow.now().isoformat()]}


@workflow
async def gives_up(flow: Flow) -> None:
    try:
        await flow.signal("never", timeout=0.05)
    except WaitTimeout:
        await flow.step(breaks, "in vain", retry=Retry(attempts=2, backoff=0.01))


@workflow
async def asks_in_vain(flow: Flow) -> str:
    try:
        await flow.call(_ref("x").fail(1))
    except HandlerError as error:
        return str(error.type)
    return "no error"


def _ref(key: str) -> Account:
    return pairs.ref(Account, key)


@workflow(timeout=0.2)
async def takes_too_long(flow: Flow) -> None:
    await flow.sleep(60)


OWN: list[Workflow[Any, Any]] = [
    returns_junk, ends_in_junk, fans_out, decides_by_chance, gives_up, asks_in_vain, takes_too_long,
]  # fmt: skip
pairs = Revenant(entities=ENTITIES, workflows=OWN)


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    application = Revenant(entities=ENTITIES, workflows=[*WORKFLOWS, *OWN], database_url=database, settings=settings)
    async with application:
        yield application


async def blocked(connection: Connection, key: str) -> str:
    """Wait until a run is blocked, and return why."""
    return str(await eventually(lambda: value(connection, BLOCKED, key), what="the run to be blocked"))


# A whole run.


async def test_the_designs_example_runs_from_its_start_to_its_typed_result(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(checkout, Order(id="o1"), id="order-1")
    assert await run.signal("approved", Approval(by="ada"))
    assert await run.result(timeout=20) == Receipt(payment="paid 5", by="ada", parcel="parcel of o1", total=5)
    happened = await types(connection, "order-1")
    assert happened[0] == "run.started"
    assert happened[-1] == "run.completed"
    assert happened.count("attempt.started") == 3
    assert await value(connection, "select count(*) from revenant.messages") == 0
    seqs = await rows(connection, "select seq from revenant.run_events order by seq")
    assert [seq for (seq,) in seqs] == list(range(1, len(happened) + 1))
    assert await app.run(checkout, "order-1").result(timeout=20) == await run.result(timeout=20)


async def test_side_by_side_mapped_and_raced(app: Revenant, worker: Worker) -> None:
    run = await app.start(fans_out, 7, id="f")
    assert await run.result(timeout=20) == [[10, 20], [0, 10, 20, 30, 40, 50, 60], [1, 70]]


async def test_chance_and_the_clock_are_the_same_when_the_code_runs_again(
    app: Revenant, connection: Connection, settings: Settings
) -> None:
    first = app.worker()
    await first.start()
    run = await app.start(decides_by_chance, id="c")
    await eventually(lambda: value(connection, "select count(*) from revenant.run_events where type = 'wait.started'"))
    before = await value(connection, "select at from revenant.run_events where seq = 1")
    await first.stop(drain_timeout=5)
    second = app.worker()
    await second.start()
    await run.signal("go")
    found = await run.result(timeout=20)
    await second.stop(drain_timeout=5)
    assert found["before"][2] == before.isoformat()
    numbers = [*found["before"], *found["after"]]
    assert len(set(map(str, numbers))) == 6


async def test_a_failed_run_says_what_failed(app: Revenant, worker: Worker, connection: Connection) -> None:
    run = await app.start(gives_up, id="g")
    with pytest.raises(RunFailed, match="LookupError"):
        await run.result(timeout=20)
    assert (await types(connection, "g")).count("attempt.failed") == 2


async def test_an_entitys_error_is_raised_where_it_was_awaited(app: Revenant, worker: Worker) -> None:
    run = await app.start(asks_in_vain, id="v")
    assert "Broken" in await run.result(timeout=20)


async def test_a_run_that_takes_too_long_fails(app: Revenant, worker: Worker, connection: Connection) -> None:
    run = await app.start(takes_too_long, id="t")
    with pytest.raises(RunFailed, match="RunTimeout"):
        await run.result(timeout=20)
    assert await value(connection, "select count(*) from revenant.scheduled") == 0


# Starts.


async def test_the_same_start_is_the_same_run_and_another_input_is_refused(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    order = Order(id="o", amount=1)
    await app.start(checkout, order, id="one")
    await app.start(checkout, order, id="one")
    with pytest.raises(RunExists, match="'one'"):
        await app.start(checkout, Order(id="o", amount=2), id="one")
    await app.run(checkout, "one").cancel()
    await eventually(lambda: value(connection, "select ended_at is not null from revenant.run_heads"))
    await app.start(checkout, order, id="one")
    with pytest.raises(RunExists, match="'one'"):
        await app.start(checkout, Order(id="o", amount=2), id="one")
    assert await value(connection, "select count(*) from revenant.run_heads") == 1
    assert (await types(connection, "one")).count("run.started") == 1


async def test_starts_of_one_id_at_once_are_one_run(app: Revenant, worker: Worker, connection: Connection) -> None:
    many = await asyncio.gather(*(app.start(hops, number % 2, id="x") for number in range(20)), return_exceptions=True)
    refused = [one for one in many if isinstance(one, RunExists)]
    assert len(refused) == 10
    assert await value(connection, "select count(*) from revenant.run_heads") == 1


async def test_an_input_that_does_not_fit_is_refused_at_the_sender_and_at_the_worker(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    with pytest.raises(InvalidArguments):
        await app.start(checkout, "no order", id="a")  # type: ignore[misc]  # the very mistake
    with pytest.raises(InvalidArguments):
        await app.start("checkout", "no order", id="a")
    assert await value(connection, "select count(*) from revenant.run_heads") == 0


# Signals.


async def test_early_signals_wait_and_those_of_one_id_are_one(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await app.start(naps, 0.3, id="n")
    run = app.run(naps, "n")
    assert await run.signal("word", 1, id="once")
    assert not await run.signal("word", 2, id="once")
    assert (await types(connection, "n")).count("signal.received") == 1


async def test_a_start_and_a_signal_from_sql_before_there_is_a_worker_are_not_lost(
    app: Revenant, connection: Connection
) -> None:
    await connection.execute("""select revenant.cast('run:waits', 'w', 'start', '{"input": 60}')""")
    await connection.execute("""select revenant.cast('run:waits', 'w', 'signal', '{"name": "word", "payload": 7}')""")
    worker = app.worker()
    await worker.start()
    assert await app.run(waits, "w").result(timeout=20) == 7
    await worker.stop(drain_timeout=5)


async def test_a_signal_after_the_end_and_to_nobody_is_refused(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(hops, 0, id="h")
    assert await run.result(timeout=20) == 0
    with pytest.raises(RunEnded):
        await run.signal("word")
    with pytest.raises(RunNotFound):
        await app.run(hops, "nobody").signal("word")
    assert (await types(connection, "h"))[-1] == "run.completed"


async def test_a_signal_that_counted_is_known_by_its_id_after_the_end_also_of_an_earlier_history(
    app: Revenant, worker: Worker
) -> None:
    run = await app.start(waits, 60, id="w")
    assert await run.signal("word", 7, id="s") is True
    assert await run.result(timeout=20) == 7
    # Whoever has not heard that it was taken sends it again, and it was.
    assert await run.signal("word", 7, id="s") is False
    assert await app.run("waits", "w").signal("word", 7, id="s") is False
    for late in ("other", None):
        with pytest.raises(RunEnded):
            await run.signal("word", 7, id=late)
    around = await app.start(hears_in_rounds, 2, id="r")
    for number in range(2):
        assert await around.signal("word", number, id=f"s{number}") is True
    assert await around.result(timeout=20) == "done"
    assert [await around.signal("word", number, id=f"s{number}") for number in range(2)] == [False, False]


async def test_a_signal_of_the_wrong_shape_is_refused_and_recorded_and_the_run_goes_on(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(checkout, Order(id="s"), id="s")
    await eventually(lambda: value(connection, "select true from revenant.run_events where type = 'wait.started'"))
    with pytest.raises(InvalidArguments):
        await run.signal("approved", {"by": ["nobody"]})
    assert "signal.refused" in await types(connection, "s")
    await run.signal("approved", Approval(by="ada"))
    assert (await run.result(timeout=20)).by == "ada"


async def test_what_a_signal_was_waited_for_with_a_time_is_not_fired_afterwards(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(waits, 3600.0, id="w")
    await eventually(lambda: value(connection, "select count(*) from revenant.scheduled"))
    await run.signal("word", 1)
    assert await run.result(timeout=20) == 1
    assert await value(connection, "select count(*) from revenant.scheduled") == 0


# Effects on others.


async def test_calls_casts_and_jobs_of_a_run_happen_once(app: Revenant, worker: Worker, connection: Connection) -> None:
    runs = await asyncio.gather(*(app.start(pays, "acc", id=f"p{number}") for number in range(10)))
    totals = await asyncio.gather(*(run.result(timeout=20) for run in runs))
    assert len(set(totals)) == 10
    assert await app.ref(Account, "acc").read() == 110
    jobs = await rows(connection, "select args->>'word' from procrastinate_jobs where task_name = 'note_job'")
    assert jobs == [("paid-acc",)] * 10


# Bad input.


@pytest.mark.parametrize("what", ["NUL", "NaN", "object"])
@pytest.mark.parametrize("code", [returns_junk, ends_in_junk])
async def test_what_cannot_be_stored_fails_the_run_and_names_the_path(
    app: Revenant, worker: Worker, connection: Connection, code: Workflow[str, Any], what: str
) -> None:
    run = await app.start(code, what, id="j")
    with pytest.raises(RunFailed, match=r"rows\.1"):
        await run.result(timeout=20)
    assert (await types(connection, "j")).count("attempt.failed") == (1 if code is returns_junk else 0)


@pytest.mark.parametrize(
    ("handler", "args"),
    [
        ("start", "[]"),
        ("start", '{"input": 1e999}'),
        ("start", f'{{"input": {"1" * 400}.5}}'),
        ("start", '{"input": "a\\u0000b"}'),
        ("start", '{"input": 1, "parent": 5}'),
        ("start", '{"input": 1, "parent": ["run:hops", "x", "y", true]}'),
        ("signal", '{"name": "word", "payload": "\\u0000"}'),
        ("signal", f'{{"name": "word", "payload": {"9" * 301}e9}}'),
        ("signal", '{"name": "word", "id": [1]}'),
        ("fire", "{}"),
        ("fire", '{"run": "x", "op": {}, "what": 3}'),
        ("answer", '{"op": 1}'),
        ("finished", '{"op": "x", "status": 3}'),
        ("frobnicate", "7"),
    ],
)
async def test_a_message_that_no_run_can_use_costs_only_itself(
    app: Revenant, worker: Worker, connection: Connection, handler: str, args: str
) -> None:
    await app.start(waits, 3600.0, id="w")
    for key in ("w", "nobody"):
        await connection.execute("select revenant.cast('run:waits', %s, %s, %s)", (key, handler, args))
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="an empty mailbox")
    assert await rows(connection, "select key, status from revenant.run_heads") == [("w", "waiting")]
    await app.run(waits, "w").signal("word", 1)
    assert await app.run(waits, "w").result(timeout=20) == 1


async def test_a_run_with_more_messages_than_a_visit_takes_is_visited_again_at_once(connection: Connection) -> None:
    bucket = bucket_of("run:waits", "hot")
    send = "select revenant.cast('run:waits', 'hot', 'signal', '{\"name\": \"word\"}') from generate_series(1, %s)"
    hint = Hint(bucket, "run:waits", "hot", 0)
    for sent, more in ((MESSAGE_LIMIT, False), (1, True)):
        await connection.execute(send, (sent,))
        _, (visited,) = await visit_runs(connection, new_id(0), [hint], [UNKNOWN], forced=[False], formats=[None])
        assert len(visited.deliveries) == MESSAGE_LIMIT
        assert visited.more == more


async def test_what_a_dead_worker_leaves_of_kinds_that_nobody_has_hides_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    for name in ("first", "second"):
        await app.start(waits, 3600.0, id=name)
        await eventually(lambda: value(connection, "select bool_and(status = 'waiting') from revenant.run_heads"))
    await worker.stop()
    await connection.execute("update revenant.run_heads set kind = 'run:other' where key = 'first'")
    await connection.execute("update revenant.run_heads set owner = '00000000-0000-0000-0000-000000000001'")
    for kind, key in (("run:other", "first"), ("run:waits", "second")):
        found = await find_dead_runs(connection, new_id(0), newest={kind: 1}, page=1)
        assert [hint.key for hint in found] == [key]
    # Nor do those of newer versions: whoever has them may be gone, too.
    await connection.execute("update revenant.run_heads set kind = 'run:waits', version = 9 where key = 'first'")
    found = await find_dead_runs(connection, new_id(0), newest={"run:other": 9, "run:waits": 1}, page=1)
    assert [hint.key for hint in found] == ["second"]


async def test_what_waits_for_runs_of_versions_that_nobody_has_keeps_no_lost_wake_up_of_others_for_long(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    """More of them than a page of the net, and than one visit, and whoever waits with them was told of nowhere."""
    last = next(key for key in map(str, count()) if bucket_of("run:waits", key) == 255)
    run = await app.start(waits, 3600.0, id=last)
    await eventually(lambda: value(connection, "select status = 'waiting' from revenant.run_heads"))
    made = "encode(set_byte(uuid_send(gen_random_uuid()), 15, b), 'hex')::uuid"
    many = f"select b, k, {made} as id from (select revenant.bucket_v1('run:waits', k) as b, k from ({{}}) s (k)) n"
    await connection.execute(
        "insert into revenant.run_heads (bucket, kind, key, run, version, status, seq, fence, digest) "
        f"select b, 'run:waits', k, id, 9, 'waiting', 1, 0, '' from "
        f"({many.format('select $$n$$ || g from generate_series(1, 1500) g')}) f".encode()
    )
    send = (
        "insert into revenant.messages (bucket, kind, key, id, handler, args) select b, 'run:waits', k, id, 'signal', "
    )
    word = """'{"name": "word", "payload": 5}' from """
    await connection.execute(f"{send}{word}({many.format('select key from revenant.run_heads')}) f".encode())
    assert await run.result(timeout=30) == 5
    left = "select count(*) from revenant.messages"
    assert await value(connection, left) == 1500, "they wait for whoever has their version"


async def test_a_dead_workers_run_of_a_newer_version_is_not_read_again_and_again(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    run = await app.start(waits, 3600.0, id="newer")
    await eventually(lambda: value(connection, "select status = 'waiting' from revenant.run_heads"))
    taken = "version = 9, fence = fence + 1, owner = '00000000-0000-0000-0000-000000000001'"
    await connection.execute(f"update revenant.run_heads set {taken}")

    async def passed_by() -> bool:
        return any(runner.docket.passes_by(("run:waits", "newer")) for runner in worker._runners)

    with pytest.raises(CallTimeout):
        await run.signal("word", 1, timeout=0.2)
    await eventually(passed_by, what="that the net passes it by")
    assert await value(connection, "select status from revenant.run_heads") == "waiting"


@pytest.mark.parametrize("key", ["there", "nobody"])
async def test_an_id_that_came_twice_costs_nobody_anything(
    app: Revenant, worker: Worker, connection: Connection, key: str
) -> None:
    send = (
        "select pg_notify('revenant_wake', hint) from revenant.send_v1(array[revenant.bucket_v1('run:waits', %s)], "
        "'{run:waits}', array[%s], array[%s]::uuid[], '{signal}', array['{\"name\": \"other\"}'], '{revenant_x}', "
        "'{null}') as sent (hint)"
    )
    run = await app.start(waits, 3600.0, id="there")
    twice = new_id(bucket_of("run:waits", key))
    for _ in range(2):
        async with connection.transaction():
            for _ in range(2):
                await connection.execute(send, (key, key, twice))
        await eventually(
            lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="an empty mailbox"
        )
    await run.signal("word", 1)
    assert await run.result(timeout=20) == 1


async def test_a_history_that_cannot_be_read_blocks_its_run_and_nothing_else_suffers(
    app: Revenant, connection: Connection
) -> None:
    first = app.worker()
    await first.start()
    broken = await app.start(waits, 3600.0, id="broken")
    gap = await app.start(waits, 3600.0, id="gap")
    whole = await app.start(waits, 3600.0, id="whole")
    await eventually(
        lambda: value(connection, "select count(*) = 3 from revenant.run_events where type = 'wait.started'")
    )
    await first.stop(drain_timeout=5)
    of = "run = (select run from revenant.run_heads where key = %s) and seq = 2 and bucket = bucket"
    kept = await value(connection, f"select data from revenant.run_events where {of}", "broken")
    await connection.execute(f"update revenant.run_events set data = '{{}}' where {of}", ("broken",))
    await connection.execute(f"delete from revenant.run_events where {of}", ("gap",))
    second = app.worker()
    await second.start()
    for run in (broken, gap):
        with pytest.raises(CallTimeout):
            await run.signal("word", 1, timeout=0.5)
    assert "The history of run 'broken'" in await blocked(connection, "broken")
    assert "The history of run 'gap'" in await blocked(connection, "gap")
    await whole.signal("word", 2)
    assert await whole.result(timeout=20) == 2
    # What it had asked for, outside too, is in the part that is not there.
    asked = "insert into revenant.run_tasks (bucket, run, op, kind, key, type, name, input) "
    await connection.execute(
        f"{asked} select bucket, run, 2, kind, key, 'approval', 'boss', '{{}}' from revenant.run_heads where key = 'gap'"
    )
    await gap.cancel("it is hopeless", timeout=30)
    with pytest.raises(RunCancelled, match="it is hopeless"):
        await gap.result(timeout=20)
    assert await value(connection, "select count(*) from revenant.run_tasks") == 0
    assert "could not be read" in await value(
        connection, "select data ->> 'note' from revenant.run_events where type = 'run.cancelled'"
    )
    await connection.execute(f"update revenant.run_events set data = %s where {of}", (json.dumps(kept), "broken"))
    await broken.requeue(timeout=30)
    assert await broken.result(timeout=20) == 1
    await second.stop(drain_timeout=5)


async def test_events_that_postgres_refuses_block_their_run_and_nothing_else_suffers(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin "
        "raise exception 'not this one' using errcode = '22023'; end $$"
    )
    await connection.execute(
        "create trigger refuse before insert on revenant.run_events for each row "
        "when (new.data->>'result' = '666') execute function refuse()"
    )
    runs = await asyncio.gather(*(app.start(works_to, number, id=f"r{number}") for number in (665, 666, 667)))
    assert await runs[0].result(timeout=20) == 665
    assert await runs[2].result(timeout=20) == 667
    assert "not this one" in await blocked(connection, "r666")
    assert await value(connection, "select owner is null from revenant.run_heads where key = 'r666'")
    await connection.execute("drop function refuse cascade")
    await runs[1].requeue()
    assert await runs[1].result(timeout=20) == 666


@workflow
async def works_to(flow: Flow, number: int) -> int:
    return await flow.step(same, number)


async def same(number: int) -> int:
    return number


OWN.append(works_to)


# Code that changes.


def _code(steps: list[str], version: int = 1) -> Workflow[None, Any]:
    async def code(flow: Flow) -> Any:
        return [await (flow.signal(name) if name == "s" else flow.step(named[name], 1)) for name in steps]

    return Workflow(code, name="changes", version=version)


async def pick(number: int) -> int:
    return number


async def pack(number: int) -> int:
    return number


named = {"pick": pick, "pack": pack}


async def _serve(database: str, settings: Settings, *code: Workflow[Any, Any]) -> tuple[Revenant, Worker]:
    application = Revenant(entities=[], workflows=code, database_url=database, settings=settings)
    await application.start()
    running = application.worker()
    await running.start()
    return application, running


async def _leave(served: tuple[Revenant, Worker]) -> None:
    await served[1].stop(drain_timeout=5)
    await served[0].stop()


async def test_code_that_does_not_fit_blocks_the_run_until_the_old_code_is_back(
    database: str, settings: Settings, connection: Connection
) -> None:
    served = await _serve(database, settings, _code(["pick", "s", "pack"]))
    await served[0].start("changes", id="r")
    await eventually(lambda: value(connection, "select true from revenant.run_events where type = 'wait.started'"))
    await _leave(served)
    served = await _serve(database, settings, _code(["pack", "s", "pick"]))
    await served[0].run("changes", "r").signal("s", 5)
    why = await blocked(connection, "r")
    assert "step 'pick'" in why
    assert "step 'pack'" in why
    before = await types(connection, "r")
    await _leave(served)
    served = await _serve(database, settings, _code(["pick", "s", "pack"]))
    run = served[0].run("changes", "r")
    with pytest.raises(CallTimeout):
        await run.result(timeout=0.3)
    await run.requeue()
    assert await run.result(timeout=20) == [1, 5, 1]
    assert (await types(connection, "r"))[: len(before)] == before
    await _leave(served)


async def test_a_workflow_that_nobody_knows_waits_and_is_listed(
    app: Revenant, worker: Worker, database: str, settings: Settings, connection: Connection
) -> None:
    with pytest.raises(CallTimeout):
        await app.start("changes", id="r", timeout=0.3)
    waiting = await rows(connection, "select kind, key from revenant.messages")
    assert waiting == [("run:changes", "r")]
    served = await _serve(database, settings, _code(["pick"]))
    assert await app.run("changes", "r").result(timeout=20) == [1]
    await _leave(served)


async def test_a_version_that_nobody_has_blocks_its_run_and_one_that_is_registered_beside_goes_on(
    database: str, settings: Settings, connection: Connection
) -> None:
    served = await _serve(database, settings, _code(["pick", "s"]))
    run = await served[0].start("changes", id="r")
    await eventually(lambda: value(connection, "select true from revenant.run_events where type = 'wait.started'"))
    await _leave(served)
    served = await _serve(database, settings, _code(["pack"], version=2))
    await served[0].run("changes", "r").signal("s", 5)
    assert "No live worker has version 1" in await blocked(connection, "r")
    await _leave(served)
    served = await _serve(database, settings, _code(["pick", "s"]), _code(["pack"], version=2))
    await served[0].run("changes", "r").requeue()
    assert await served[0].run("changes", "r").result(timeout=20) == [1, 5]
    assert await (await served[0].start("changes", id="new")).result(timeout=20) == [1]
    assert await value(connection, "select version from revenant.run_heads where key = 'new'") == 2
    await _leave(served)
    del run


async def test_a_result_that_is_no_longer_of_the_codes_type_blocks_the_run(
    database: str, settings: Settings, connection: Connection
) -> None:
    async def count(number: int) -> Any:
        return number

    async def old(flow: Flow) -> Any:
        return [await flow.step(count, 1), await flow.signal("s")]

    served = await _serve(database, settings, Workflow(old, name="changes"))
    await served[0].start("changes", id="r")
    await eventually(lambda: value(connection, "select true from revenant.run_events where type = 'wait.started'"))
    await _leave(served)

    async def retyped(number: int) -> list[str]:
        return [str(number)]

    retyped.__name__ = "count"

    async def new(flow: Flow) -> Any:
        return [await flow.step(retyped, 1), await flow.signal("s")]

    served = await _serve(database, settings, Workflow(new, name="changes"))
    await served[0].run("changes", "r").signal("s", 5)
    assert "step.succeeded" in await blocked(connection, "r")
    await _leave(served)
    served = await _serve(database, settings, Workflow(old, name="changes"))
    await served[0].run("changes", "r").requeue()
    assert await served[0].run("changes", "r").result(timeout=20) == [1, 5]
    await _leave(served)


# One end.


@pytest.mark.parametrize("round", range(3))
async def test_whatever_races_there_is_one_last_event(
    app: Revenant, worker: Worker, connection: Connection, round: int
) -> None:
    second = app.worker()
    await second.start()
    runs = [await app.start(naps, 0.02 * (number % 5), id=f"n{number}") for number in range(30)]
    ends = await asyncio.gather(
        *(run.cancel(f"round {round}") for run in runs),
        *(run.result(timeout=20) for run in runs),
        return_exceptions=True,
    )
    assert all(one is None or isinstance(one, str | Standing | RunEnded | RunCancelled) for one in ends)
    last = "('run.completed', 'run.failed', 'run.cancelled')"
    counts = await rows(
        connection,
        f"select h.key, count(*) filter (where e.type in {last}), max(e.seq) = max(e.seq) filter (where e.type in {last}) "
        "from revenant.run_heads h join revenant.run_events e on e.run = h.run group by h.key",
    )
    assert {(count, at_end) for _, count, at_end in counts} == {(1, True)}
    assert len(counts) == 30
    await second.stop(drain_timeout=5)


async def test_two_workers_that_race_for_the_same_runs_record_each_thing_once(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    second = app.worker()
    await second.start()
    runs = await asyncio.gather(*(app.start(hops, 4, id=f"h{number}") for number in range(60)))
    assert await asyncio.gather(*(run.result(timeout=60) for run in runs)) == [4] * 60
    twice = await rows(
        connection,
        "select run, op, type from revenant.run_events where op is not null group by run, op, type having count(*) > 1",
    )
    assert twice == []
    await second.stop(drain_timeout=5)
