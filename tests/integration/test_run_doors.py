"""The doors to runs from the turns of entities and from plain SQL: what they send exists if and only if that commits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerError, RevenantError, RunCancelled, RunEnded, RunFailed
from revenant.testing import memory_app
from revenant.worker.worker import Worker
from revenant.workflows.commands import Command, Complete
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import ENTITIES
from tests.errands import WORKFLOWS, Order, Shop, checkout, hops, waits
from tests.flows import types
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
EMPTY = "select count(*) = 0 from revenant.messages"


class Doubles(Decider[int, int]):
    """Decides at once."""

    def decide(self, view: DecisionView[int]) -> Command:
        return Complete(view.input * 2)


class Careless(Entity):
    """Gives the doors what they do not take."""

    @handler
    async def start(self, how: str) -> None:
        wrong: dict[str, Any] = {
            "a number": 7, "an entity": Careless, "no name": "", "a name that is too long": "x" * 125, "junk": checkout,
        }  # fmt: skip
        self.turn.start(wrong.get(how, "hops"), float("nan") if how == "nan" else 5, id="" if how == "no id" else "x")

    @handler
    async def signal(self, how: str) -> None:
        wrong: dict[str, Any] = {"name": 7, "payload": {"deep": [object()]}, "signal_id": 7}
        self.turn.signal(waits, "x", **{"name": "word", how: wrong[how]})

    @handler
    async def cancel(self, how: Any) -> None:
        self.turn.cancel_run(waits, "x", how)

    @handler
    async def double(self, number: int) -> None:
        self.turn.start(Doubles, number, id="d")


class Lamp(Entity, durability=Interval(seconds=3600)):
    """Lives in a worker's memory, and is written once an hour."""

    shines: int = 0

    @handler
    async def shine(self) -> int:
        self.shines += 1
        return self.shines


@workflow
async def shines(flow: Flow, times: int) -> list[int]:
    return [await flow.call(Revenant().ref(Lamp, "l").shine()) for _ in range(times)]


@workflow(timeout=0.3)
async def is_short(flow: Flow) -> None:
    await flow.signal("never")


MADE: list[type[Entity]] = [*ENTITIES, Shop, Careless, Lamp]


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(
        entities=MADE, workflows=[*WORKFLOWS, shines, is_short, Doubles], database_url=database, settings=settings
    ) as application:
        yield application


# From a turn.


async def test_a_turn_starts_a_run_in_its_own_commit(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert await app.ref(Shop, "s").order("o1", 2) == 1
    assert await app.run(hops, "o1").result(timeout=20) == 2
    assert (await types(connection, "o1")).count("run.started") == 1


async def test_what_a_turn_sends_to_runs_is_stored_with_its_state(app: Revenant, connection: Connection) -> None:
    """Nobody serves the workflows: the messages are there as soon as the reply is."""
    worker = app.worker(kinds=["Shop"])
    await worker.start()
    shop = app.ref(Shop, "s")
    await shop.order("o1", 2)
    await shop.tell("o1", 7)
    await shop.end_run("o1", "sold out")
    found = await rows(connection, "select kind, key, handler, args from revenant.messages order by seq")
    assert found == [
        ("run:hops", "o1", "start", {"input": 2}),
        ("run:waits", "o1", "signal", {"name": "word", "payload": 7, "id": "o1-7"}),
        ("run:waits", "o1", "cancel", {"reason": "sold out"}),
    ]
    await worker.stop(drain_timeout=5)


async def test_a_turn_that_fails_starts_signals_and_ends_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    for key in ("earlier", "other"):
        await app.start(waits, 3600.0, id=key)
    with pytest.raises(HandlerError, match="out of stock"):
        await app.ref(Shop, "s").order_in_vain("o1")
    # A turn of the same entity that commits comes after it.
    assert await app.ref(Shop, "s").order("o2") == 1
    await app.run(hops, "o2").result(timeout=20)
    await eventually(lambda: value(connection, EMPTY), what="an empty mailbox")
    assert await value(connection, "select count(*) from revenant.run_heads where key = 'o1'") == 0
    for key in ("earlier", "other"):
        assert (await types(connection, key))[-1] == "wait.started"


async def test_turns_that_start_the_same_run_start_it_once(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await asyncio.gather(*(app.ref(Shop, f"s{number}").order("o1", 1) for number in range(10)))
    assert await app.run(hops, "o1").result(timeout=20) == 1
    await eventually(lambda: value(connection, EMPTY), what="an empty mailbox")
    assert (await types(connection, "o1")).count("run.started") == 1


async def test_another_start_of_a_turn_leaves_the_run_as_it_is_and_is_told_in_the_log(
    app: Revenant, worker: Worker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await app.start(waits, 5.0, id="w")
    await app.ref(Shop, "s").wait_for("w")
    await eventually(lambda: value(connection, EMPTY), what="an empty mailbox")
    assert await types(connection, "w") == ["run.started", "wait.started"]
    assert "'w' of waits was started before" in caplog.text


async def test_a_turn_signals_a_run_and_a_signal_of_one_id_counts_once(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    shop = app.ref(Shop, "s")
    await shop.wait_for("w")
    await shop.tell("w", 7, times=3)
    assert await app.run(waits, "w").result(timeout=20) == 7
    assert (await types(connection, "w")).count("signal.received") == 1


async def test_a_turn_ends_a_run_with_its_reason(app: Revenant, worker: Worker, connection: Connection) -> None:
    shop = app.ref(Shop, "s")
    await shop.wait_for("w")
    await shop.end_run("w", "sold out")
    with pytest.raises(RunCancelled, match="sold out"):
        await app.run(waits, "w").result(timeout=20)
    assert (await types(connection, "w"))[-1] == "run.cancelled"


async def test_a_turn_starts_a_decider_by_its_class(app: Revenant, worker: Worker) -> None:
    await app.ref(Careless, "c").double(21)
    assert await app.run(Doubles, "d").result(timeout=20) == 42


@pytest.mark.parametrize(
    ("door", "how", "words"),
    [
        ("start", "junk", "cannot take what it was given"),
        ("start", "a number", "takes a workflow, or the name of one, and got 7"),
        ("start", "an entity", "takes a workflow, or the name of one"),
        ("start", "no name", "takes a workflow, or the name of one"),
        ("start", "a name that is too long", "must be text of 1 to"),
        ("start", "no id", "is empty"),
        ("start", "nan", r"input of hops cannot be stored: input is nan"),
        ("signal", "payload", r"payload\.deep\.0 is an object"),
        ("signal", "name", "takes a signal's name as text that is not empty, not 7"),
        ("signal", "signal_id", "takes a signal's id as text that is not empty, not 7"),
        ("cancel", 7, "takes its reason as text, and got 7"),
    ],
)
async def test_what_the_doors_of_a_turn_do_not_take_fails_its_message_in_words(door: str, how: Any, words: str) -> None:
    app = memory_app(MADE, workflows=WORKFLOWS)
    with pytest.raises(RevenantError, match=words):
        await getattr(app.ref(Careless, "c"), door)(how)
    await app.run_until_idle()


async def test_in_memory_turns_reach_runs_in_the_same_way() -> None:
    app = memory_app(MADE, workflows=WORKFLOWS)
    shop = app.ref(Shop, "s")
    assert await shop.order("o1", 2) == 1
    assert await app.run(hops, "o1").result() == 2
    await shop.wait_for("earlier")
    await shop.wait_for("other")
    with pytest.raises(HandlerError, match="out of stock"):
        await shop.order_in_vain("o2")
    await app.run_until_idle()
    assert [event.type for event in await app.run(waits, "earlier").history()] == ["run.started", "wait.started"]
    await shop.tell("earlier", 7, times=2)
    assert await app.run(waits, "earlier").result() == 7
    await shop.end_run("other", "sold out")
    with pytest.raises(RunCancelled, match="sold out"):
        await app.run(waits, "other").result()


# From plain SQL.


async def test_sql_starts_signals_and_ends_runs(app: Revenant, worker: Worker, connection: Connection) -> None:
    await connection.execute("select revenant.start('waits', 'a', '60.0')")
    await connection.execute("select revenant.start('waits', 'b', '60')")
    for _ in range(2):
        await connection.execute("""select revenant.signal('waits', 'a', 'word', '{"n": 7}', 'once')""")
    await connection.execute("select revenant.cancel_run('waits', 'b', 'sold out')")
    assert await app.run(waits, "a").result(timeout=20) == {"n": 7}
    with pytest.raises(RunCancelled, match="sold out"):
        await app.run(waits, "b").result(timeout=20)
    assert (await types(connection, "a")).count("signal.received") == 1
    # The same start from Python is the same run.
    await app.start(waits, 60.0, id="a")


async def test_sql_leaves_out_what_it_may(app: Revenant, worker: Worker, connection: Connection) -> None:
    await connection.execute("select revenant.start('waits', 'none')")
    await connection.execute("select revenant.start('waits', 'a', '60')")
    await connection.execute("select revenant.signal('waits', 'a', 'word')")
    await connection.execute("select revenant.start('waits', 'b', '60')")
    await connection.execute("select revenant.cancel_run('waits', 'b')")
    assert await app.run(waits, "a").result(timeout=20) is None
    with pytest.raises(RunCancelled):
        await app.run(waits, "b").result(timeout=20)
    await eventually(lambda: value(connection, EMPTY), what="an empty mailbox")
    assert await value(connection, "select count(*) from revenant.run_heads where key = 'none'") == 0, "no input"


async def test_a_transaction_that_rolls_back_starts_signals_and_ends_nothing(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await app.start(waits, 3600.0, id="w")
    async with connection.transaction(force_rollback=True):
        await connection.execute("select revenant.start('hops', 'h', '1')")
        await connection.execute("select revenant.signal('waits', 'w', 'word')")
        await connection.execute("select revenant.cancel_run('waits', 'w')")
    async with connection.transaction():
        await connection.execute("select revenant.start('hops', 'after', '1')")
    assert await app.run(hops, "after").result(timeout=20) == 1
    assert await value(connection, "select count(*) from revenant.run_heads where key = 'h'") == 0
    assert await types(connection, "w") == ["run.started", "wait.started"]


async def test_a_models_input_from_sql_is_read_by_the_workflows_type(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute("""select revenant.start('checkout', 'c', '{"id": "c", "amount": 3}')""")
    await connection.execute("""select revenant.signal('checkout', 'c', 'approved', '{"by": "ada"}')""")
    assert (await app.run(checkout, "c").result(timeout=20)).payment == "paid 3"
    await app.start(checkout, Order(id="c", amount=3), id="c")


# What connects both.


async def test_a_relaxed_entity_is_written_before_a_run_that_calls_it_has_its_reply(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    assert await app.ref(Lamp, "l").shine() == 1
    assert await value(connection, "select count(*) from revenant.entities where kind = 'Lamp'") == 0
    run = await app.start(shines, 3, id="r")
    assert await run.result(timeout=20) == [2, 3, 4]
    assert await value(connection, "select state->>'shines' from revenant.entities where kind = 'Lamp'") == "4"
    assert (await types(connection, "r")).count("call.answered") == 3


async def test_a_run_whose_wake_ups_are_lost_goes_on_all_the_same(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    lost = (
        "insert into revenant.messages (bucket, kind, key, id, handler, args) "
        "select b, 'run:waits', 'w', revenant.new_id_v1(b), %s, %s from revenant.bucket_v1('run:waits', 'w') b"
    )
    await connection.execute(lost, ("start", '{"input": 3600.0}'))
    await eventually(lambda: value(connection, "select true from revenant.run_heads"), what="a start nobody told of")
    await connection.execute(lost, ("signal", '{"name": "word", "payload": 7}'))
    ended = "select status = 'completed' from revenant.run_heads"
    await eventually(lambda: value(connection, ended), what="a signal nobody told of")
    assert await app.run(waits, "w").result(timeout=20) == 7


@pytest.mark.parametrize("round", range(3))
async def test_a_run_that_is_cancelled_as_its_time_runs_out_ends_once(
    app: Revenant, worker: Worker, connection: Connection, round: int
) -> None:
    second = app.worker()
    await second.start()
    runs = await asyncio.gather(*(app.start(is_short, id=f"r{number}") for number in range(30)))

    async def cancel(number: int) -> str:
        try:
            await runs[number].cancel(f"round {round}")
        except RunEnded:
            return "RunTimeout"
        return "RunCancelled"

    first = "select true from revenant.run_events where type = 'run.failed'"
    await eventually(lambda: value(connection, first), what="the first time-out")
    told = await asyncio.gather(*(cancel(number) for number in range(30)))
    ends = await asyncio.gather(*(run.result(timeout=20) for run in runs), return_exceptions=True)
    for said, end in zip(told, ends, strict=True):
        assert isinstance(end, RunCancelled if said == "RunCancelled" else RunFailed)
    last = "('run.completed', 'run.failed', 'run.cancelled')"
    counts = await rows(
        connection,
        f"select count(*) filter (where e.type in {last}), max(e.seq) = max(e.seq) filter (where e.type in {last}) "
        "from revenant.run_heads h join revenant.run_events e on e.run = h.run group by h.key",
    )
    assert counts == [(1, True)] * 30
    assert await value(connection, "select count(*) from revenant.scheduled") == 0
    await second.stop(drain_timeout=5)


async def test_a_workers_workflows_are_listed_with_its_kinds(app: Revenant, worker: Worker, database: str) -> None:
    command = [sys.executable, "-m", "revenant", "workers", "-o", "json"]
    environment = {**os.environ, "DATABASE_URL": database}
    listed = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, check=True, env=environment, timeout=60
    )
    (found,) = json.loads(listed.stdout)
    assert {"Shop", "Lamp", "run:hops", "run:Doubles"} <= set(found["kinds"])
