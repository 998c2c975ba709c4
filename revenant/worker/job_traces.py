"""Traces of jobs: a job belongs to what handled the message that deferred it; nothing is done where nobody traces."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import psycopg
from procrastinate import JobContext
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job

from revenant import telemetry
from revenant.queue.traces import keep_traces
from revenant.sql import statement


async def keep_job_traces(
    connection: psycopg.AsyncConnection[Any], jobs: Iterable[Job], message_ids: Iterable[str]
) -> None:
    """Store, in their transaction, what the jobs that were just deferred belong to: each to its message's handling."""
    if telemetry.carrier is None:
        return
    traces = [(job.id, telemetry.carrier.within(name)) for job, name in zip(jobs, message_ids, strict=True)]
    await keep_traces(connection, [(telemetry.job_name(job_id), trace) for job_id, trace in traces if trace and job_id])


async def observed(call_next: Callable[[], Awaitable[Any]], context: JobContext, _worker: object) -> Any:
    """Run a job between the events that it begins and that it has ended; procrastinate's middleware."""
    job_id = context.job.id or 0
    told = {"task": context.job.task_name, "job": job_id, "attempt": context.job.attempts + 1}
    if telemetry.carrier is not None:
        telemetry.carrier.arrive(await _stored(context, telemetry.job_name(job_id)))
    began = time.perf_counter()
    telemetry.emit("job.start", {}, told)
    error: str | None = None
    try:
        return await call_next()
    except BaseException as raised:
        error = type(raised).__qualname__
        raise
    finally:
        ended = {**told, "outcome": "error" if error else "ok", "error": error}
        telemetry.emit("job.handle", {"duration": time.perf_counter() - began}, ended)


async def _stored(context: JobContext, name: str) -> list[telemetry.Trace]:
    try:
        rows = await context.app.connector.execute_query_all_async(statement("find_trace"), id=name)
    except ConnectorException:
        return []  # a job does not fail for the want of its trace
    return [(name, row["traceparent"]) for row in rows]
