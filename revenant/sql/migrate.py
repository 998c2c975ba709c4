"""Brings a database's schema up to this code: all of it or nothing, one migrator at a time.

Migrations are numbered and immutable; functions are applied again whenever they differ, never by older code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from procrastinate.schema import SchemaManager
from psycopg.errors import (
    DeadlockDetected,
    InsufficientPrivilege,
    InvalidSchemaName,
    LockNotAvailable,
    ReadOnlySqlTransaction,
)
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from revenant.errors import ConfigurationError, DatabaseUnavailable
from revenant.sql import explain, load
from revenant.sql.access import connected
from revenant.sql.schema_status import (
    Diverged,
    NewerCompatible,
    NewerIncompatible,
    judge,
    look,
    require_schema,
)

if TYPE_CHECKING:
    from typing import LiteralString

    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    from revenant.sql.load import Migration, Release
    from revenant.sql.schema_status import Found

TURN_TIMEOUT = 600.0
"""Seconds that a migrator waits for others to finish before it gives up."""

ATTEMPTS = 4
"""How often a migration that could not get a lock is tried, with a jittered pause between."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a call of `migrate` did; `number` is the schema's highest migration now."""

    number: int
    applied: tuple[str, ...] = ()
    functions_refreshed: bool = False
    procrastinate_installed: bool = False

    @property
    def nothing_to_do(self) -> bool:
        """Whether the database was up to date, so that nothing was touched."""
        return not (self.applied or self.functions_refreshed or self.procrastinate_installed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to do for one database."""

    pending: tuple[Migration, ...]
    functions: bool
    procrastinate: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to do."""
        return not (self.pending or self.functions or self.procrastinate)


async def migrate(conninfo: str, *, lock_timeout: float = 5.0, release: Release | None = None) -> Migrated:
    """Bring the database at `conninfo` (a libpq URL) up to this code, in one transaction.

    `lock_timeout` (seconds) bounds each wait for a table's lock, since everybody else queues behind it; a
    migration that cannot get one rolls back, pauses and tries again, four times in all. `release` is the code
    to migrate to, by default the one that is running.

    Raises `DatabaseUnavailable` (unreachable, read-only, or locks not given in time), `SchemaMismatch` (the
    database suits only newer code, or an applied migration was edited) and `ConfigurationError` (a right is
    missing; the text names the grant). After any of them nothing has changed.

    Example: `migrated = await migrate("postgresql://localhost/app")`.
    """
    brought = release or load.release()
    async with connected(conninfo) as connection:
        try:
            found = await look(connection)
            if plan(found, brought).empty:
                return Migrated(number=found.number)
            if found.standby:
                raise DatabaseUnavailable(explain.read_only(conninfo))
            return await _retrying()(_take_turn, connection, brought, lock_timeout)
        except LockNotAvailable as error:
            raise DatabaseUnavailable(await explain.blocked(connection, lock_timeout, ATTEMPTS)) from error
        except InsufficientPrivilege as error:
            raise ConfigurationError(await explain.forbidden(connection, error)) from error
        except InvalidSchemaName as error:
            raise ConfigurationError(explain.homeless(conninfo)) from error
        except ReadOnlySqlTransaction as error:
            raise DatabaseUnavailable(explain.read_only(conninfo)) from error


def plan(found: Found, release: Release) -> Plan:
    """Say what is left to do; pure. Raises `SchemaMismatch` where this code must keep its hands off."""
    status = judge(found, release)
    if isinstance(status, Diverged | NewerIncompatible):
        require_schema(status)
    ahead = isinstance(status, NewerCompatible)
    return Plan(
        pending=tuple(m for m in release.migrations if not ahead and m.number > found.number),
        functions=not ahead and found.digest != release.digest,
        procrastinate=not found.procrastinate,
    )


def _retrying() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type((LockNotAvailable, DeadlockDetected)),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )


async def _take_turn(connection: AsyncConnection[TupleRow], release: Release, lock_timeout: float) -> Migrated:
    async with connection.transaction():
        await _prepare(connection, TURN_TIMEOUT)
        try:
            await connection.execute(load.statement("lock_migrations"))
        except LockNotAvailable as error:
            raise DatabaseUnavailable(explain.crowded(TURN_TIMEOUT)) from error
        await _prepare(connection, lock_timeout)
        found = await look(connection)
        todo = plan(found, release)
        await _carry_out(connection, todo, release)
    return Migrated(
        number=max(found.number, release.number),
        applied=tuple(migration.label for migration in todo.pending),
        functions_refreshed=todo.functions,
        procrastinate_installed=todo.procrastinate,
    )


async def _prepare(connection: AsyncConnection[TupleRow], lock_timeout: float) -> None:
    milliseconds = max(1, round(lock_timeout * 1000))  # 0 would mean: wait for ever
    await connection.execute(load.statement("prepare_transaction"), {"lock_timeout": f"{milliseconds}ms"})


async def _carry_out(connection: AsyncConnection[TupleRow], todo: Plan, release: Release) -> None:
    if todo.procrastinate:
        await _run(connection, "procrastinate's schema", SchemaManager.get_schema())
    if todo.pending:
        await _run(connection, "create_migrations", load.statement("create_migrations"))
    for migration in todo.pending:
        await _run(connection, f"migration {migration.label}", migration.text)
        await connection.execute(
            load.statement("record_migration"),
            {
                "number": migration.number,
                "name": migration.name,
                "checksum": migration.checksum,
                "compatible_from": migration.compatible_from,
            },
        )
    if todo.functions:
        for function in release.functions:
            await _run(connection, f"function {function.name}", function.text)
        await connection.execute(load.statement("record_functions"), {"digest": release.digest})


async def _run(connection: AsyncConnection[TupleRow], what: str, text: LiteralString) -> None:
    try:
        await connection.execute(text)
    except Exception as error:
        error.add_note(f"while applying {what}")
        raise
