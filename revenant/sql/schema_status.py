"""Which schema a database has, and whether this code can run on it: a value, judged from what is recorded.

Code is named by its highest migration number; each applied migration names the oldest code it still suits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from psycopg.errors import InsufficientPrivilege
from psycopg.rows import class_row

from revenant.errors import ConfigurationError, SchemaMismatch
from revenant.sql import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from revenant.sql.load import Release


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no schema of ours in this database."""


@dataclass(frozen=True, slots=True)
class Old:
    """The schema is behind this code: below `wanted`, or without functions that this code calls."""

    number: int
    wanted: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """The schema is the one that this code was written for."""

    number: int


@dataclass(frozen=True, slots=True)
class NewerCompatible:
    """The schema is ahead of this code, and still suits it: the usual sight during a rolling deploy."""

    number: int


@dataclass(frozen=True, slots=True)
class NewerIncompatible:
    """The schema is ahead of this code, and suits only code from migration `needs` on."""

    number: int
    needs: int


@dataclass(frozen=True, slots=True)
class Diverged:
    """The schema was not made by these migrations: one was edited, or one below the newest is absent."""

    number: int
    why: str


SchemaStatus: TypeAlias = Missing | Old | Current | NewerCompatible | NewerIncompatible | Diverged


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `revenant.migrations`; number 0 holds the digest of the functions."""

    number: int
    name: str
    checksum: str
    compatible_from: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the database found; `records` is None where the schema is missing."""

    standby: bool
    procrastinate: bool
    functions: frozenset[str]
    records: tuple[Record, ...] | None

    @property
    def number(self) -> int:
        """The highest migration number applied; 0 before the first."""
        return max((record.number for record in self.records or ()), default=0)

    @property
    def digest(self) -> str | None:
        """The digest of the functions in the database, or None before they were installed."""
        return next((record.checksum for record in self.records or () if record.number == 0), None)


@dataclass(frozen=True, slots=True)
class _Signs:
    standby: bool
    recorded: bool
    procrastinate: bool
    functions: list[str]


async def status(connection: AsyncConnection[Any], *, release: Release | None = None) -> SchemaStatus:
    """Say whether this code can run on the schema of `connection`: two reads, no lock that anybody feels.

    Raises `ConfigurationError` where the role may not look. `require_schema` turns the value into an error.

    Example: `require_schema(await status(connection))`.
    """
    try:
        return judge(await look(connection), release or load.release())
    except InsufficientPrivilege as error:
        raise ConfigurationError(
            f"The role {connection.info.user!r} may not read which migrations were applied"
            f" ({error.diag.message_primary}). Every role that runs Revenant needs USAGE on the schema"
            " revenant and SELECT on revenant.migrations: grant both, and start again."
        ) from error


async def look(connection: AsyncConnection[Any]) -> Found:
    """Read what is there; raises `psycopg.errors.InsufficientPrivilege` where the role may not."""
    async with connection.cursor(row_factory=class_row(_Signs)) as cursor:
        signs = await (await cursor.execute(load.statement("find_schema"))).fetchone()
    assert signs is not None
    records: tuple[Record, ...] | None = None
    if signs.recorded:
        async with connection.cursor(row_factory=class_row(Record)) as reader:
            records = tuple(await (await reader.execute(load.statement("list_migrations"))).fetchall())
    return Found(
        standby=signs.standby,
        procrastinate=signs.procrastinate,
        functions=frozenset(signs.functions),
        records=records,
    )


def judge(found: Found, release: Release) -> SchemaStatus:
    """Compare what was found with what `release` brings; pure."""
    if found.records is None:
        return Missing()
    if why := _divergence(found, release):
        return Diverged(found.number, why)
    if found.number > release.number:
        needs = max(record.compatible_from for record in found.records if record.number > release.number)
        if needs > release.number:
            return NewerIncompatible(found.number, needs)
        return NewerCompatible(found.number)
    missing = tuple(function.name for function in release.functions if function.name not in found.functions)
    if found.number < release.number or missing:
        return Old(found.number, release.number, missing)
    return Current(found.number)


def require_schema(status: SchemaStatus) -> None:
    """Return if this code can run on a schema of that status; raise `SchemaMismatch` if it cannot."""
    match status:
        case Current() | NewerCompatible():
            return
        case Missing():
            raise SchemaMismatch(
                "This database has no schema `revenant`: it was never migrated, or this is another database"
                " than you think. Run `revenant migrate` with the same DATABASE_URL, and start again."
            )
        case Old(number=number, wanted=wanted, missing=missing):
            lacks = f" and lacks {', '.join(missing)}" if missing else ""
            raise SchemaMismatch(
                f"The schema `revenant` is at migration {number}{lacks}, and this code needs"
                f" migration {wanted}: the code was deployed before its schema."
                " Run `revenant migrate`, and start again."
            )
        case NewerIncompatible(number=number, needs=needs):
            raise SchemaMismatch(
                f"The schema `revenant` is at migration {number}, which suits only code from migration"
                f" {needs} on; a newer release has migrated it, and this code is older. Deploy that release"
                " here; there is no way back for the schema."
            )
        case Diverged(number=number, why=why):
            raise SchemaMismatch(
                f"The schema `revenant` is at migration {number}, but was not made by these files: {why}."
                " Applied migrations never change. Restore the files of the release that migrated this"
                " database, and write what you wanted to change as a new migration."
            )
        case _:
            assert_never(status)


def _divergence(found: Found, release: Release) -> str | None:
    recorded = {record.number: record for record in found.records or ()}
    for migration in release.migrations:
        record = recorded.get(migration.number)
        if record is None:
            if migration.number < found.number:
                return f"migration {migration.label} is absent below it"
        elif record.checksum != migration.checksum:
            return f"migration {migration.label} was edited after it was applied"
    return None
