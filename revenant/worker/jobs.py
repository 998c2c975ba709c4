"""Jobs: procrastinate tasks, deferred in the commit of a turn and run by the worker after it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import JobDeferrer
from procrastinate.manager import JobManager

from revenant import telemetry
from revenant.entities.context import Job
from revenant.eventloop import end
from revenant.queue.connection import server_settings
from revenant.queue.link import brief
from revenant.worker.job_traces import keep_job_traces, observed
from revenant.worker.known_jobs import KnownJobs
from revenant.worker.rescue import Rescue

log = logging.getLogger("revenant.jobs")


async def defer_jobs(connection: psycopg.AsyncConnection[Any], jobs: Sequence[Job]) -> None:
    """Defer the jobs inside the turn's transaction, in order: they exist if and only if it commits.

    One whose queueing lock a waiting job has already is left out, as procrastinate leaves out its periodic ones.
    """
    deferrers = [(_deferrer(job.task), job) for job in jobs]
    made = [(one.job_manager, one.make_new_job(**job.kwargs), job.message_id) for one, job in deferrers]
    try:
        for alone, group in groupby(made, key=lambda one: one[1].queueing_lock is not None):
            if alone:
                for manager, job, message_id in group:
                    await _defer_locked(connection, manager, job, message_id)
            else:
                managers, batch, message_ids = zip(*group, strict=True)
                deferred = await _writer(managers[0]).batch_defer_jobs_async(list(batch), connection=connection)
                await keep_job_traces(connection, deferred, message_ids)
    except ConnectorException as error:
        # What Postgres says is what the message's sender should hear.
        raise (error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error) from None


def _deferrer(task: Any) -> JobDeferrer:
    return task if isinstance(task, JobDeferrer) else task.configure()


async def _defer_locked(
    connection: psycopg.AsyncConnection[Any], manager: JobManager, job: procrastinate.jobs.Job, message_id: str
) -> None:
    try:
        async with connection.transaction():
            deferred = await _writer(manager).batch_defer_jobs_async([job], connection=connection)
        await keep_job_traces(connection, deferred, [message_id])
    except AlreadyEnqueued:
        log.info("Task %s was not deferred: a job with its queueing lock waits already.", job.task_name)


def _writer(manager: JobManager) -> JobManager:
    """Return what writes jobs on a connection of psycopg's, whatever the application's own connector is."""
    known = isinstance(manager.connector, procrastinate.PsycopgConnector)
    return manager if known else JobManager(procrastinate.PsycopgConnector())


class JobRunner:
    """Runs procrastinate's worker inside ours, and retries jobs whose worker died."""

    def __init__(self, *, app: procrastinate.App, url: str, concurrency: int) -> None:
        self.concurrency = concurrency
        self._app = app.with_connector(
            procrastinate.PsycopgConnector(
                conninfo=url, kwargs=server_settings(url), min_size=1, max_size=concurrency + 3
            )
        )
        self._app.job_manager = KnownJobs(self._app)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to run jobs; returns at once, and keeps trying while Postgres is away."""
        if self._task is None and self.concurrency:
            self._task = asyncio.create_task(self._forever(), name="revenant-jobs")

    async def stop(self, *, timeout: float = 0.0) -> None:
        """Let running jobs finish within `timeout` seconds; safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            # procrastinate finishes running jobs when it is cancelled, and aborts them when cancelled again.
            task.cancel()
            await asyncio.wait({task}, timeout=timeout)
            await end(task)

    async def _forever(self) -> None:
        while True:
            try:
                await self.run_once()
            except (procrastinate.exceptions.ConnectorException, psycopg.Error, OSError) as error:
                log.warning("The job runner lost Postgres (%s); starting it anew.", brief(error))
            except Exception:
                log.exception("The job runner failed in a way that it should not; starting it anew.")
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311 # jitter, not a secret

    async def run_once(self) -> None:
        """Run jobs until the connection fails or the worker stops."""
        async with self._app.open_async():
            rescuer = asyncio.create_task(Rescue(app=self._app).run_forever(), name="revenant-jobs-rescue")
            try:
                tracing: dict[str, Any] = {} if telemetry.carrier is None else {"worker_middleware": [observed]}
                await self._app.run_worker_async(
                    concurrency=self.concurrency,
                    install_signal_handlers=False,
                    listen_notify=True,
                    name="revenant",
                    **tracing,
                )
            finally:
                await end(rescuer)
