"""KnownJobs: those whose task this worker has; procrastinate itself takes any, and fails what it does not know."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import procrastinate
from procrastinate.jobs import Job
from procrastinate.manager import JobManager

from revenant.sql import statement

log = logging.getLogger("revenant.jobs")
LOOK_SECONDS = 60.0
"""How often jobs of other tasks are looked for, so that the log names them."""


class KnownJobs(JobManager):
    """procrastinate's jobs, of which only those are taken whose task the application has.

    In a rolling deploy, old and new workers take from one table: a task that only the new ones have waits for them.
    """

    def __init__(self, app: procrastinate.App) -> None:
        super().__init__(app.connector)
        self._app = app
        self._told: set[str] = set()
        self._look_at = 0.0

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """Take the next job that is due, and mark it as being done by this worker."""
        tasks = list(self._app.tasks)
        rows = await self.connector.execute_query_all_async(
            statement("fetch_job"), tasks=tasks, queues=None if queues is None else list(queues), worker=worker_id
        )
        if rows:
            return Job.from_row(rows[0])
        await self._look(tasks)
        return None

    async def _look(self, tasks: list[str]) -> None:
        """Name, once each, the tasks whose jobs are due and left to others."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        for row in await self.connector.execute_query_all_async(statement("list_foreign_jobs"), tasks=tasks):
            name = row["task_name"]
            if name not in self._told:
                self._told.add(name)
                log.warning(
                    "No task %r is known here: its jobs (%d now) are left to workers that have it. Where none has, "
                    "give it to Revenant(jobs=…), in a module that is imported with it.",
                    *(name, row["jobs"]),
                )
