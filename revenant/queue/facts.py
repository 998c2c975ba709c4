"""What there is to know about a database before one judges it: read once, changed by nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from psycopg.rows import class_row

from revenant.errors import ConfigurationError
from revenant.queue.listener import Listener
from revenant.queue.mailbox import notify
from revenant.queue.rights import Rights, rights
from revenant.queue.views import Row, workers
from revenant.sql import Current, NewerCompatible, SchemaStatus, statement, status

LISTEN_SECONDS = 2.0
"""How long a notification may take before LISTEN counts as silent."""
WAITING_SECONDS = 600.0
"""How long a job has been due that is told of: as long as what no external program claims."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server's settings, and how many sessions others hold; limits of -1 are none."""

    version: int
    read_only: bool
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    max_connections: int
    reserved: int
    superuser: bool
    role_limit: int
    database_limit: int
    in_all: int
    in_role: int
    in_database: int


class WaitingJobs(NamedTuple):
    """Jobs of one task that have been due for long; `seconds` is how long the first of them has."""

    task: str
    jobs: int
    seconds: float


class Newer(NamedTuple):
    """Entities of one kind that wait, as their state is newer than every live worker: `vsn` is the newest."""

    kind: str
    entities: int
    messages: int
    vsn: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the schema holds: workers' rows, waiting messages by kind, dead letters, and the database's clock."""

    workers: list[Row]
    waiting: dict[str, int]
    newer: list[Newer]
    dead: int
    """Of all kinds."""
    skew: float
    """Seconds that this machine's clock is ahead of the database's."""
    answered: int = 0
    """Dead letters whose callers were told that they failed."""
    stuck: dict[str, int] = field(default_factory=dict)
    """Runs that do not go on by themselves, by the reason."""
    jobs: list[WaitingJobs] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it; `traffic` is None where the schema is not fit to be asked."""

    server: Server
    shared_backends: bool
    """Whether two connections had the same server process: somebody shares it out by transactions."""
    listens: bool
    schema: SchemaStatus | None
    """None where the role may not look; `refusal` then says why."""
    refusal: str | None = None
    traffic: Traffic | None = None
    encoding: str = "UTF8"
    """The database's."""
    rights: Rights | None = None
    """What the role may do; None where there is no schema."""


async def gather(url: str) -> Facts:
    """Read the facts over plain connections, as any pooler lets them through."""
    async with (
        await _plain(url) as connection,
        await _plain(url) as other,
    ):
        async with connection.cursor(row_factory=class_row(Server)) as cursor:
            server = await (await cursor.execute(statement("read_server"))).fetchone()
        assert server is not None
        shared = await _share_backends(connection, other)
        listens = await _listens(url, connection)
        may = await rights(connection)
        encoding = connection.info.parameter_status("server_encoding") or "UTF8"  # a proxy may keep it to itself
        try:
            schema = await status(connection)
            fit = isinstance(schema, Current | NewerCompatible)
            readable = may is not None and may.usage and may.reads
            traffic = await _traffic(connection) if fit and readable else None
            return Facts(server, shared, listens, schema, traffic=traffic, encoding=encoding, rights=may)
        except ConfigurationError as error:
            return Facts(server, shared, listens, None, refusal=str(error), encoding=encoding, rights=may)
        except InsufficientPrivilege as error:
            refusal = f"{error.diag.message_primary}."
            return Facts(server, shared, listens, None, refusal=refusal, encoding=encoding, rights=may)


async def _plain(url: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        prepare_threshold=None,
        application_name="revenant/check",
        client_encoding="utf8",
        connect_timeout=int(os.environ.get("PGCONNECT_TIMEOUT", "5")),
    )


async def _share_backends(one: psycopg.AsyncConnection[Any], other: psycopg.AsyncConnection[Any]) -> bool:
    """Two connections that are open at once have two server processes, unless a pooler shares them out."""
    first, second = await _backend(one), await _backend(other)
    async with other.transaction():
        return len({first, await _backend(one)}) > 1 or len({second, await _backend(other)}) > 1 or first == second


async def _backend(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute(statement("read_backend"))).fetchone()
    assert row is not None
    return int(row[0])


async def _listens(url: str, sender: psycopg.AsyncConnection[Any]) -> bool:
    """Listen as workers do, notify from another connection, and see whether anything arrives."""
    channel = f"revenant_check_{os.urandom(8).hex()}"
    heard = asyncio.Event()

    async def ping(channel: str, payload: str) -> None:
        await notify(sender, [(channel, payload)])

    listener = Listener(
        url=url,
        role="check",
        channels=[channel],
        ping=ping,
        on_payload=lambda _channel, _payload: heard.set(),
        on_connect=lambda: None,
    )
    await listener.start()
    try:
        async with asyncio.timeout(LISTEN_SECONDS):
            await listener.ready()
            await ping(channel, "check")
            await heard.wait()
        return True
    except TimeoutError:
        return False
    finally:
        await listener.stop()


async def _traffic(connection: psycopg.AsyncConnection[Any]) -> Traffic:
    waiting = await (await connection.execute(statement("count_waiting"))).fetchall()
    stuck = await (await connection.execute(statement("count_stuck"))).fetchall()
    dead = await (await connection.execute(statement("count_dead"))).fetchone()
    assert dead is not None
    crew = await workers(connection)
    vsns = served(crew)
    live = {"kinds": list(vsns), "vsns": list(vsns.values())}
    newer = await (await connection.execute(statement("count_newer"), live)).fetchall()
    return Traffic(
        workers=crew,
        waiting=dict(waiting),
        newer=[Newer(*row) for row in newer],
        dead=dead[0],
        answered=dead[1],
        skew=(datetime.now(UTC) - dead[2]).total_seconds(),
        stuck=dict(stuck),
        jobs=await _waiting_jobs(connection),
    )


async def _waiting_jobs(connection: psycopg.AsyncConnection[Any]) -> list[WaitingJobs]:
    try:
        found = await connection.execute(statement("count_waiting_jobs"), {"seconds": WAITING_SECONDS})
    except (UndefinedTable, InsufficientPrivilege):
        return []  # jobs are not used here, or are nothing that this role may look at
    return [WaitingJobs(*row) for row in await found.fetchall()]


def served(crew: Iterable[Row]) -> dict[str, int]:
    """Return the kinds that live workers take messages of, each with the highest vsn that one of them has."""
    vsns: dict[str, int] = {}
    for worker in crew:
        if worker["alive"] and not worker["draining"]:
            for kind, described in worker["kinds"].items():
                vsns[kind] = max(vsns.get(kind, 0), described["vsn"])
    return vsns
