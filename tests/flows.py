"""What tests of workflows share: an application with a worker around them, and looks at histories."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.config import Settings
from revenant.entities.entity import Entity
from revenant.workflows.workflow import Workflow
from tests.tools import rows

Connection = psycopg.AsyncConnection[Any]


@asynccontextmanager
async def served(
    database: str, settings: Settings, *workflows: Workflow[Any, Any], entities: Iterable[type[Entity]] = ()
) -> AsyncIterator[Revenant]:
    """A started application with these workflows, and a worker for them in this process."""
    async with Revenant(
        workflows=workflows, entities=entities, database_url=database, settings=settings
    ) as application:
        worker = application.worker()
        await worker.start()
        await worker.ready()
        try:
            yield application
        finally:
            await worker.stop(drain_timeout=5)


async def history(connection: Connection, key: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a run: (type, data) each."""
    found = await rows(
        connection,
        "select e.type, e.data from revenant.run_events e join revenant.run_heads h on h.run = e.run "
        "where h.key = %s order by e.seq",
        key,
    )
    return [(str(type), data) for type, data in found]


async def types(connection: Connection, key: str) -> list[str]:
    """The types of a run's events, in order."""
    return [type for type, _ in await history(connection, key)]
