"""Why a migration could not run, in words: what happened, why, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revenant.sql import load
from revenant.sql.access import APPLICATION, address

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.errors import InsufficientPrivilege
    from psycopg.rows import TupleRow


async def blocked(connection: AsyncConnection[TupleRow], lock_timeout: float, attempts: int) -> str:
    """Explain a lock that was not given, and name who holds locks on our tables now."""
    cursor = await connection.execute(load.statement("list_lock_holders"))
    holders = [
        f"process {pid} ({name or 'unnamed'}, {state}, since {since:%H:%M:%S})"
        for pid, name, state, since in await cursor.fetchall()
    ]
    who = f" Locks are held by {'; '.join(holders)}." if holders else ""
    return (
        f"The migration could not lock a table within {lock_timeout:g} s, {attempts} times over: somebody"
        f" uses it in a long transaction.{who} Nothing was changed. Let that transaction end"
        " (or pg_terminate_backend it), or give a longer lock timeout, and run it again."
    )


async def forbidden(connection: AsyncConnection[TupleRow], error: InsufficientPrivilege) -> str:
    """Explain a missing right, and name the grants that give it."""
    cursor = await connection.execute(load.statement("list_missing_grants"))
    grants = [grant for (grant,) in await cursor.fetchall()]
    cure = f"As an owner or superuser run: {'; '.join(grants)};" if grants else "Use the role that owns it"
    return (
        f"The role {connection.info.user!r} lacks a right that migrating {address(connection.info.dsn)} needs"
        f" ({error.diag.message_primary}). Nothing was changed. {cure} and migrate again."
    )


def homeless(conninfo: str) -> str:
    """Explain a search_path that leads nowhere, so that procrastinate's tables have no schema to go to."""
    return (
        f"The search_path at {address(conninfo)} names no schema that exists, so procrastinate's tables"
        " have nowhere to go. Nothing was changed. Create the first schema it names (often public), and"
        " migrate again."
    )


def crowded(turn_timeout: float) -> str:
    """Explain a turn that did not come."""
    return (
        f"Another migration of this database has been running for over {turn_timeout:.0f} s, and migrations"
        f" take turns. Look in pg_stat_activity for the application {APPLICATION!r}, and run it again after."
    )


def read_only(conninfo: str) -> str:
    """Explain a server that takes no writes."""
    return (
        f"Postgres at {address(conninfo)} takes no writes (it is a standby, or read-only), and the schema"
        " needs some. Point DATABASE_URL at the primary (target_session_attrs=read-write), and run it again."
    )
