"""What runs come to is told of once it is committed, counted without ids, and traced by links."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span

from revenant import telemetry
from revenant.config import Settings
from revenant.errors import RunFailed
from revenant.metrics import Metrics
from revenant.tracing import trace
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.flows import served
from tests.tools import eventually

Event = tuple[str, Mapping[str, Any], Mapping[str, Any]]
seen: list[int] = []


async def shaky(number: int) -> int:
    seen.append(get_current_span().get_span_context().span_id)
    if seen.count(seen[-1]) and len(seen) == 1:
        raise ConnectionError("once")
    return number


async def hopeless() -> None:
    raise ValueError("never")


@workflow
async def tries(flow: Flow, secret: str) -> int:
    number = await flow.step(shaky, 7, retry=Retry(backoff=0.01))
    await flow.signal("go")
    await flow.sleep(0.01)
    return number


@workflow
async def fails(flow: Flow) -> None:
    await flow.step(hopeless, retry=Retry(attempts=1))


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    seen.clear()
    events: list[Event] = []
    detach = telemetry.attach(lambda *event: events.append(event))
    yield events
    detach()


async def play(database: str, settings: Settings) -> None:
    async with served(database, settings, tries, fails) as app:
        run = await app.start(tries, "s3cret", id="an-id")
        await run.signal("go")
        assert await run.result(timeout=20) == 7
        with pytest.raises(RunFailed):
            await (await app.start(fails, None, id="bad")).result(timeout=20)


async def test_a_run_is_told_of_from_its_start_to_its_end(
    database: str, settings: Settings, heard: list[Event]
) -> None:
    await play(database, settings)
    await eventually(lambda: sum(name == "run.end" for name, _, _ in heard) == 2)
    told = [(name, sizes, more) for name, sizes, more in heard if more.get("run_id") == "an-id"]
    names = [name for name, _, _ in told]
    assert {name: names.count(name) for name in names} == {
        "run.start": 1, "step.start": 2, "step.handle": 2, "step.retry": 1, "signal.receive": 1, "timer.fire": 1,
        "run.end": 1,
    }  # fmt: skip
    by_name = {name: (sizes, more) for name, sizes, more in told}
    who = {"workflow": "tries", "run_id": "an-id"}
    assert by_name["run.start"][1] == {**who, "version": 1}
    assert by_name["step.retry"][1] == {**who, "step": "shaky", "attempt": 2}
    assert by_name["signal.receive"][1] == {**who, "signal": "go"}
    assert by_name["run.end"][1] == {**who, "outcome": "completed", "error": None}
    assert by_name["run.end"][0]["duration"] > 0
    bad = next(more for name, _, more in heard if name == "run.end" and more["run_id"] == "bad")
    assert bad["outcome"] == "failed"
    assert "s3cret" not in str(heard)


async def test_a_run_that_goes_on_after_a_worker_died_is_told_of(
    database: str, settings: Settings, heard: list[Event], connection: psycopg.AsyncConnection[Any]
) -> None:
    inside, go = asyncio.Event(), asyncio.Event()

    async def waits() -> int:
        inside.set()
        await go.wait()
        return 7

    @workflow
    async def outlives(flow: Flow) -> int:
        return await flow.step(waits)

    async with served(database, settings, outlives) as app:
        run = await app.start(outlives, id="r")
        await inside.wait()
        inside.clear()
        # Somebody else has taken it over since, and died.
        dead = "owner = '00000000-0000-0000-0000-00000000dead', fence = fence + 1"
        await connection.execute(f"update revenant.run_heads set {dead}")
        await inside.wait()
        go.set()
        assert await run.result(timeout=20) == 7
    told = [(sizes, more) for name, sizes, more in heard if name == "run.recover"]
    assert told == [({"attempts": 1}, {"workflow": "outlives", "run_id": "r"})]
    metrics = Metrics()
    for event in heard:
        metrics.hear(*event)
    assert 'revenant_run_recoveries_total{workflow="outlives"} 1.0' in metrics.page().decode().splitlines()


async def test_runs_and_steps_are_counted_without_ids(database: str, settings: Settings, heard: list[Event]) -> None:
    await play(database, settings)
    await eventually(lambda: sum(name == "run.end" for name, _, _ in heard) == 2)
    metrics = Metrics()
    for event in heard:
        metrics.hear(*event)
    page = metrics.page().decode()
    for line in (
        'revenant_runs_total{outcome="completed",workflow="tries"} 1.0',
        'revenant_runs_total{outcome="failed",workflow="fails"} 1.0',
        'revenant_step_attempts_total{outcome="error",step="shaky",workflow="tries"} 1.0',
        'revenant_step_attempts_total{outcome="ok",step="shaky",workflow="tries"} 1.0',
        'revenant_step_retries_total{workflow="tries"} 1.0',
        'revenant_run_signals_total{workflow="tries"} 1.0',
    ):
        assert line in page.splitlines()
    assert "an-id" not in page


async def test_attempts_and_runs_are_spans_with_links(database: str, settings: Settings) -> None:
    seen.clear()
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    end = trace(provider)
    try:
        await play(database, settings)
        await eventually(lambda: any(span.name == "run fails" for span in exporter.get_finished_spans()))
    finally:
        end()
    spans = exporter.get_finished_spans()
    first, second = (span for span in spans if span.name == "step tries.shaky")
    (whole,) = (span for span in spans if span.name == "run tries")
    ids = [_id(span) for span in (first, second)]
    assert [id for _, id in ids] == seen, "the step runs within its span"
    assert first.status.status_code is StatusCode.ERROR
    assert [(link.context.trace_id, link.context.span_id) for link in second.links] == ids[:1]
    assert [(link.context.trace_id, link.context.span_id) for link in whole.links] == ids[1:]
    assert len({trace for trace, _ in (*ids, _id(whole))}) == 3
    assert whole.attributes is not None
    assert whole.attributes["revenant.run.outcome"] == "completed"
    assert whole.start_time is not None
    assert first.start_time is not None
    assert whole.start_time < (second.start_time or 0)
    assert "s3cret" not in str([span.attributes for span in spans])


def _id(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id
