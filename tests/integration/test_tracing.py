"""OpenTelemetry: spans of caller, handler and job are linked across processes by what is stored with the message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from revenant import telemetry
from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.durability import Interval
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import HandlerError
from revenant.tracing import trace
from revenant.worker.worker import Worker
from tests.entities import ENTITIES, Account, Ledger, jobs, note_job
from tests.tools import eventually, value

Connection = psycopg.AsyncConnection[Any]


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    async def one(self, name: str) -> ReadableSpan:
        await eventually(lambda: self.all(name), what=f"the span {name!r}")
        (span,) = self.all(name)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    end = trace(made.provider)
    yield made
    end()
    assert telemetry.handlers == ()
    assert telemetry.carrier is None


def linked(span: ReadableSpan, to: ReadableSpan) -> bool:
    """Whether a span begins a trace of its own, and points to the other."""
    assert span.context is not None
    assert to.context is not None
    apart = span.parent is None and span.context.trace_id != to.context.trace_id
    return apart and [link.context.span_id for link in span.links] == [to.context.span_id]


async def test_a_handler_is_linked_to_its_caller_and_what_it_casts_to_it(
    spans: Spans, app: Revenant, worker: Worker, connection: Connection
) -> None:
    with spans.provider.get_tracer("test").start_as_current_span("request") as request:
        await app.ref(Account, "a").transfer("b", 5)
    call, handle = await spans.one("call Account.transfer"), await spans.one("handle Account.transfer")
    assert call.parent is not None
    assert call.parent.span_id == request.get_span_context().span_id, "a call belongs to what it was made in"
    assert (call.kind, handle.kind) == (SpanKind.CLIENT, SpanKind.CONSUMER)
    assert linked(handle, to=call)
    assert linked(await spans.one("handle Account.deposit"), to=handle)
    assert handle.attributes is not None
    assert (handle.attributes["revenant.kind"], handle.attributes["revenant.attempt"]) == ("Account", 1)
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.traces"), what="the traces' end")


async def test_every_way_of_sending_takes_the_trace_along(
    spans: Spans, app: Revenant, worker: Worker, database: str
) -> None:
    account = app.ref(Account, "a")
    await app.cast(account.note("plain"))
    cast = await spans.one("cast Account.note")
    await eventually(lambda: spans.all("handle Account.note"), what="the handler's span")
    assert linked(spans.all("handle Account.note")[0], to=cast)
    await app.cast(account.read(), after=timedelta(milliseconds=10))
    assert linked(await spans.one("handle Account.read"), to=await spans.one("cast Account.read"))
    await account.transfer("b", 1, 0.01)
    assert linked(await spans.one("handle Account.deposit"), to=await spans.one("handle Account.transfer"))
    async with await psycopg.AsyncConnection.connect(database) as own:
        await app.cast(account.who(), connection=own)
    assert linked(await spans.one("handle Account.who"), to=await spans.one("cast Account.who"))


async def test_a_failing_handler_is_an_error_without_its_words_and_every_attempt_is_linked(
    spans: Spans, app: Revenant, worker: Worker
) -> None:
    with pytest.raises(HandlerError):
        await app.ref(Account, "a").fail(1, "4711 is my number")
    handle, call = await spans.one("handle Account.fail"), await spans.one("call Account.fail")
    assert (handle.status.status_code, handle.status.description) == (StatusCode.ERROR, "Broken")
    assert call.status.status_code is StatusCode.ERROR
    assert "4711" not in handle.to_json() + call.to_json()
    await app.cast(app.ref(Account, "b").fail_times(2))
    cast = await spans.one("cast Account.fail_times")
    await eventually(lambda: len(spans.all("handle Account.fail_times")) == 3, what="three attempts")
    assert all(linked(span, to=cast) for span in spans.all("handle Account.fail_times"))


async def test_each_handler_begins_a_trace_of_its_own_wherever_its_worker_was_started(
    spans: Spans, app: Revenant
) -> None:
    """Two lanes run handlers at the same moment, and were started inside somebody's span."""
    worker = app.worker()
    with spans.provider.get_tracer("test").start_as_current_span("start"):
        await worker.start()
    await asyncio.gather(*(app.ref(Account, f"a{number}").pause(0.05) for number in range(8)))
    await worker.stop(drain_timeout=5)
    handled = spans.all("handle Account.pause")
    assert len({span.context.trace_id for span in handled if span.context}) == 8
    assert all(span.parent is None for span in handled)


@pytest_asyncio.fixture
async def working(database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Revenant]:
    monkeypatch.setenv("DATABASE_URL", database)
    async with Revenant(entities=ENTITIES, database_url=database, settings=settings, jobs=jobs) as application:
        yield application


async def test_a_job_is_linked_to_the_handler_that_deferred_it(
    spans: Spans, working: Revenant, connection: Connection
) -> None:
    await connection.execute("create table own_words (word text)")
    worker = working.worker()
    await worker.start()
    try:
        await working.call(working.ref(Ledger, "l").defer_note("x"), timeout=20)
        run = await spans.one("run note_job")
        assert linked(run, to=await spans.one("handle Ledger.defer_note"))
        assert await value(connection, "select count(*) from own_words") == 1
    finally:
        await worker.stop(drain_timeout=5)


class Lantern(Entity, durability=Interval(seconds=60)):
    """Lives in a worker's memory, and defers jobs."""

    shines: int = 0

    @handler
    async def shine(self) -> int:
        self.shines += 1
        return self.shines

    @handler
    async def note(self, word: str) -> None:
        self.turn.defer(note_job, word=word)

    @handler
    async def tell(self, other: str) -> None:
        self.turn.cast(self.turn.ref(Lantern, other).shine())


@pytest_asyncio.fixture
async def relaxed(database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Revenant]:
    monkeypatch.setenv("DATABASE_URL", database)
    async with Revenant(entities=[Lantern], database_url=database, settings=settings, jobs=jobs) as application:
        worker = application.worker()
        await worker.start()
        yield application
        await worker.stop(drain_timeout=5)


async def test_what_relaxed_handlers_leave_is_linked_to_each_of_them_though_it_leaves_together(
    spans: Spans, relaxed: Revenant, connection: Connection
) -> None:
    await connection.execute("create table own_words (word text)")
    lamps = [relaxed.ref(Lantern, key) for key in "ab"]
    for number, lamp in enumerate(lamps):
        await relaxed.call(lamp.note(f"word {number}"), timeout=20)
    await relaxed.call(lamps[0].tell("c"), timeout=20)
    for lamp in lamps:
        await relaxed.passivate(lamp)
    await eventually(lambda: len(spans.all("run note_job")) == 2, seconds=20, what="both jobs' spans")
    notes = spans.all("handle Lantern.note")
    for run in spans.all("run note_job"):
        assert [linked(run, to=note) for note in notes].count(True) == 1
    assert {run.links[0].context.span_id for run in spans.all("run note_job")} == {
        note.context.span_id for note in notes if note.context
    }
    assert linked(await spans.one("handle Lantern.shine"), to=await spans.one("handle Lantern.tell"))


async def test_a_relaxed_message_keeps_its_trace_until_the_flush_in_case_it_is_handled_again(
    spans: Spans, relaxed: Revenant, connection: Connection
) -> None:
    lamp = relaxed.ref(Lantern, "a")
    assert await relaxed.call(lamp.shine(), timeout=20) == 1
    assert await value(connection, "select count(*) from revenant.messages") == 1, "it is not flushed yet"
    assert await value(connection, "select count(*) from revenant.traces") == 1
    await relaxed.passivate(lamp)
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.traces"), what="the traces' end")


async def test_nothing_is_stored_where_nobody_traces(app: Revenant, worker: Worker, connection: Connection) -> None:
    await app.ref(Account, "a").transfer("b", 1)
    await app.cast(app.ref(Account, "a").read())
    await app.cast(app.ref(Account, "a").read(), after=timedelta(hours=1))
    assert await value(connection, "select count(*) from revenant.traces") == 0
