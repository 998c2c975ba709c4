"""The connection that migrates: its own, and with errors that name the address, never the password."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import AsyncConnection, IsolationLevel, OperationalError, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from revenant.errors import ConfigurationError, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg.abc import ConnDict
    from psycopg.rows import TupleRow

OLDEST_POSTGRES = 15
ENCODING = "UTF8"
APPLICATION = "revenant migrate"


@asynccontextmanager
async def connected(conninfo: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """Give a connection in autocommit whose transactions are read committed and may write, whoever the role.

    A migrator that has waited for its turn must see what the one before it has committed: hence the level.
    Raises `DatabaseUnavailable` when unreachable or lost, `ConfigurationError` for an unfit URL or server.
    """
    connection = await _connect(conninfo)
    try:
        if connection.info.server_version < OLDEST_POSTGRES * 10_000:
            raise ConfigurationError(
                f"{address(conninfo)} is PostgreSQL {connection.info.server_version // 10_000}; Revenant"
                f" needs {OLDEST_POSTGRES} or newer. Upgrade the server, or point DATABASE_URL at another."
            )
        if (encoding := connection.info.parameter_status("server_encoding")) != ENCODING:
            raise ConfigurationError(
                f"{address(conninfo)} is encoded in {encoding}, and Revenant stores any text, so it needs {ENCODING}."
                " Nothing was changed. Create a database with `encoding 'UTF8' template template0`, and point"
                " DATABASE_URL at it."
            )
        await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
        await connection.set_read_only(False)
        yield connection
    except OperationalError as error:
        raise DatabaseUnavailable(
            f"Postgres at {address(conninfo)} gave up on the work: {reason(error, conninfo)}"
            " Nothing of it was kept. Run it again once the cause is gone."
        ) from error
    finally:
        await connection.close()


def address(conninfo: str) -> str:
    """Return where a libpq URL or string leads, as `user@host:port/database`; the password is not in it."""
    try:
        parts = conninfo_to_dict(conninfo)
    except ProgrammingError:
        return "(an address that libpq cannot read)"
    user = parts.get("user") or os.environ.get("PGUSER")
    host = _host(parts) or os.environ.get("PGHOST") or "(local socket)"
    port = parts.get("port") or os.environ.get("PGPORT") or 5432
    database = parts.get("dbname") or os.environ.get("PGDATABASE") or user or ""
    return f"{user}@{host}:{port}/{database}" if user else f"{host}:{port}/{database}"


def readable(conninfo: str) -> str:
    """Return a libpq URL or string as it is; raises `ConfigurationError` for one that libpq cannot read."""
    try:
        port = str(conninfo_to_dict(conninfo).get("port") or "")
    except ProgrammingError:
        port = "unreadable"
    # An unescaped slash in a password makes its beginning the port.
    if not all(part.isdecimal() for part in port.split(",") if part):
        # The text of libpq's error quotes the whole string, with the password in it.
        raise ConfigurationError(
            "The database URL cannot be read. It should look like postgresql://user:password@host:5432/database;"
            " special characters in the password must be percent-encoded (@ is %40). Mend DATABASE_URL."
        )
    return conninfo


async def _connect(conninfo: str) -> AsyncConnection[TupleRow]:
    parts = conninfo_to_dict(readable(conninfo))
    defaults = {"connect_timeout": os.environ.get("PGCONNECT_TIMEOUT", "10"), "application_name": APPLICATION}
    # A role's default must not decide how our own text is sent.
    defaults["client_encoding"] = "utf8"
    dsn = make_conninfo(conninfo, **{name: value for name, value in defaults.items() if name not in parts})
    try:
        return await AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None)
    except OperationalError as error:
        raise DatabaseUnavailable(
            f"Postgres cannot be reached at {address(conninfo)}: {reason(error, conninfo)}"
            " Check that it runs, and that DATABASE_URL names its host, port, user and database."
        ) from None


def _host(parts: ConnDict) -> str:
    """Return the host; an unescaped @ in a password puts the password's end before it, so that is cut off."""
    return str(parts.get("host") or parts.get("hostaddr") or "").rpartition("@")[2]


def reason(error: BaseException, conninfo: str) -> str:
    """Return the driver's words, each line a sentence, without what a malformed URL may have put into the host."""
    parts = conninfo_to_dict(conninfo)
    # What Postgres adds to its words quotes our SQL.
    told = (error.diag.message_primary if isinstance(error, psycopg.Error) else None) or str(error)
    lines = [" ".join(line.split()) for line in told.splitlines() if line.strip()] or [type(error).__name__]
    words = " ".join(line if line.endswith((".", "?", "!", ":")) else f"{line}." for line in lines)
    if host := str(parts.get("host") or ""):
        words = words.replace(host, _host(parts))
    if len(password := str(parts.get("password") or "")) > 3:
        words = words.replace(password, "***")
    return words
