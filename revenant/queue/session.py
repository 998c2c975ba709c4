"""A connection for people who look: tried once, and with errors that say what to do next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.errors import (
    InsufficientPrivilege,
    InvalidSchemaName,
    ReadOnlySqlTransaction,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)

from revenant.errors import SchemaMismatch
from revenant.queue.connection import connect, lacks_right, unavailable


@asynccontextmanager
async def session(url: str, *, role: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a connection in autocommit mode.

    Raises:
        DatabaseUnavailable: it cannot be reached, or was lost meanwhile.
        SchemaMismatch: the schema is missing, or older than this code.
    """
    try:
        connection = await connect(url, role=role)
    except (psycopg.OperationalError, OSError) as error:
        raise unavailable(url, error) from error
    try:
        async with connection:
            yield connection
    except (psycopg.OperationalError, ReadOnlySqlTransaction) as error:
        raise unavailable(url, error) from error
    except (InvalidSchemaName, UndefinedTable, UndefinedFunction, UndefinedColumn) as error:
        raise SchemaMismatch(
            f"The `revenant` schema is missing or old: {error.diag.message_primary}. Run `revenant migrate`."
        ) from error
    except InsufficientPrivilege as error:
        raise lacks_right(error) from error
