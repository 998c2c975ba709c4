"""One way to connect: named, with dead peers found in seconds, and errors that say where but never the password."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, stop_never, wait_random_exponential

from revenant.errors import ConfigurationError, DatabaseUnavailable
from revenant.offspring import keep_from_offspring
from revenant.sql import address, reason

# A lost host frees its locks when these have passed, on both ends: 9 seconds, where the OS says 2 hours.
_CLIENT_KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 1,
    "keepalives_count": 5,
    "tcp_user_timeout": 9_000,
    "connect_timeout": 5,
}
_SERVER_OPTIONS = {
    "tcp_keepalives_idle": "4",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "5",
    "tcp_user_timeout": "9000",
    "client_connection_check_interval": "5000",
    # A claim reads messages in a later snapshot than the one it locks by, whatever the database's default is.
    "default_transaction_isolation": "read\\ committed",
    # No default may stop a worker: psycopg reads ISO dates only, and an idle lane is no fault.
    "DateStyle": "ISO,MDY",
    "idle_session_timeout": "0",
    # Generic SQL text is parsed per statement; the planner never wins by JIT on point look-ups.
    "jit": "off",
}

Opened = type[psycopg.AsyncConnection[Any]]


async def connect(
    url: str,
    *,
    role: str,
    opened: Opened = psycopg.AsyncConnection,
    idle_in_transaction: float | None = None,
) -> psycopg.AsyncConnection[Any]:
    """Connect once, in autocommit mode, as application `revenant/<role>`; `opened` is the connection's class.

    `idle_in_transaction` (seconds) bounds how long a transaction may sit still; a lost worker's locks go then.
    """
    settings = {}
    if idle_in_transaction is not None:
        settings["idle_in_transaction_session_timeout"] = str(int(idle_in_transaction * 1000))
    parts = conninfo.conninfo_to_dict(url)
    try:
        made = await opened.connect(
            url,
            autocommit=True,
            **{**_CLIENT_KEEPALIVE, **_given(parts)},
            application_name=f"revenant/{role}",
            **server_settings(url, **settings),
        )
    except asyncio.CancelledError as error:
        # What was being made is only in these frames: kept by them, it stays open until the garbage is collected.
        traceback.clear_frames(error.__traceback__)
        raise
    keep_from_offspring(made)
    return made


def server_settings(url: str, **more: str) -> dict[str, Any]:
    """Return the arguments by which a connection to `url` has our settings, whatever the role's defaults are."""
    given = conninfo.conninfo_to_dict(url).get("options") or ""
    options = " ".join(f"-c {name}={value}" for name, value in {**_SERVER_OPTIONS, **more}.items())
    # The encoding is libpq's own parameter: psycopg encodes by what libpq was told.
    return {"client_encoding": "utf8", "options": f"{given} {options}".strip()}


def _given(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if name in _CLIENT_KEEPALIVE}


def retrying(*, seconds: float | None = None) -> AsyncRetrying:
    """Return tenacity's retries for a lost database: jittered, from 50 ms to 5 s; for ever without `seconds`."""
    return AsyncRetrying(
        retry=retry_if_exception_type((psycopg.OperationalError, OSError)),
        wait=wait_random_exponential(multiplier=0.05, max=5),
        stop=stop_never if seconds is None else stop_after_delay(seconds),
        reraise=True,
    )


def unavailable(url: str, error: BaseException) -> DatabaseUnavailable:
    """Return the error that a person should see: where, why, and what to do next."""
    if isinstance(error, ReadOnlySqlTransaction):
        return DatabaseUnavailable(
            f"Postgres at {address(url)} takes no writes: it is read-only, as a standby or by "
            "default_transaction_read_only. Point DATABASE_URL at the primary, or add "
            "?target_session_attrs=read-write."
        )
    return DatabaseUnavailable(
        f"Postgres at {address(url)} cannot be used: {reason(error, url)} "
        "Check that it runs and that DATABASE_URL is right; `revenant check` tells more."
    )


def lacks_right(error: InsufficientPrivilege) -> ConfigurationError:
    """Return the error of a role that may not do this."""
    return ConfigurationError(
        f"The database's role lacks a right: {error.diag.message_primary}. Grant it, or use another role; "
        "`revenant check` says what this one may do."
    )


def refuses_data(error: BaseException) -> bool:
    """Whether what a statement carries was refused, here or by Postgres (SQLSTATE classes 22 and 54), for good."""
    too_much = isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] == "54"
    return too_much or isinstance(error, psycopg.DataError)
