"""Rescue: jobs whose workers died are run again, and set aside as failed when they have taken three with them.

Invariant: those that have taken two run one at a time, so that none is blamed for what ran beside it.
"""

from __future__ import annotations

import asyncio
import logging

import procrastinate
import psycopg
from procrastinate.jobs import Job, Status

from revenant import telemetry
from revenant.queue.link import brief
from revenant.sql import statement
from revenant.worker.suspects import DEADLY

log = logging.getLogger("revenant.jobs")
RESCUE_SECONDS = 10.0
"""How often jobs of dead workers are looked for: those without a heartbeat for 30 s, by procrastinate's rule."""


class Rescue:
    """Looks after jobs that have stalled: procrastinate leaves them to its users."""

    def __init__(self, *, app: procrastinate.App) -> None:
        self._app = app

    async def run_forever(self) -> None:
        """Look every few seconds, until it is cancelled."""
        while True:
            try:
                await self.run_once()
            except (procrastinate.exceptions.ProcrastinateException, psycopg.Error, OSError) as error:
                log.warning("Looking for stalled jobs failed (%s); looking again soon.", brief(error))
            await asyncio.sleep(RESCUE_SECONDS)

    async def run_once(self) -> None:
        """Look at all jobs that have stalled."""
        stalled = sorted(await self._app.job_manager.get_stalled_jobs(), key=lambda job: job.id or 0)
        suspects: list[Job] = []
        for job in stalled:
            deaths = await self._note(job)
            if deaths >= DEADLY:
                await self._set_aside(job, deaths)
            elif deaths > 1:
                suspects.append(job)
            elif deaths:
                await self._retry(job)
        if suspects and not await self._one_runs(stalled):
            await self._retry(suspects[0])

    async def _note(self, job: Job) -> int:
        """Return how many workers died while they ran it; 0 where it has moved on meanwhile."""
        rows = await self._app.connector.execute_query_all_async(
            statement("note_job_death"), id=telemetry.job_name(job.id or 0), job=job.id, attempts=job.attempts
        )
        return next((int(row["deaths"]) for row in rows), 0)

    async def _one_runs(self, stalled: list[Job]) -> bool:
        row = await self._app.connector.execute_query_one_async(
            statement("find_suspect_job"), stalled=[job.id for job in stalled]
        )
        return bool(row["found"])

    async def _retry(self, job: Job) -> None:
        log.warning("Job %s (%s) lost its worker; it is retried.", job.id, job.task_name)
        await self._app.job_manager.retry_job(job)

    async def _set_aside(self, job: Job, deaths: int) -> None:
        log.error(
            "Job %s (%s) is set aside as failed: %d workers died while they ran it (a crash, os._exit, out of memory). "
            "Mend the task, then have it run again: `retry %s` in `procrastinate shell`.",
            *(job.id, job.task_name, deaths, job.id),
        )
        await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
        await self._app.connector.execute_query_async(statement("drop_job_note"), id=telemetry.job_name(job.id or 0))
        telemetry.emit("job.condemn", {"deaths": deaths}, {"task": job.task_name, "job": job.id})
