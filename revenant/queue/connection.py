"""One way to connect: named, with dead peers found in seconds, and errors that say where but never the password."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import conninfo
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, stop_never, wait_random_exponential

from revenant.errors import DatabaseUnavailable

# A lost host frees its locks when these have passed, on both ends: about 10 seconds, where the OS says 2 hours.
_CLIENT_KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "connect_timeout": 5,
}
_SERVER_OPTIONS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "client_connection_check_interval": "5000",
    # Generic SQL text is parsed per statement; the planner never wins by JIT on point look-ups.
    "jit": "off",
}

Opened = type[psycopg.AsyncConnection[Any]]


def address(url: str) -> str:
    """Return `user@host:port/database` for messages; never a password.

    Example:
        >>> address("postgresql://app:secret@db.example:5432/shop")
        'app@db.example:5432/shop'
    """
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return "(an address that cannot be read)"
    host = parts.get("host") or parts.get("hostaddr") or "(local socket)"
    port = f":{parts['port']}" if parts.get("port") else ""
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"{user}{host}{port}/{parts.get('dbname') or parts.get('user') or ''}"


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
    settings = dict(_SERVER_OPTIONS)
    if idle_in_transaction is not None:
        settings["idle_in_transaction_session_timeout"] = str(int(idle_in_transaction * 1000))
    parts = conninfo.conninfo_to_dict(url)
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return await opened.connect(
        url,
        autocommit=True,
        **{**_CLIENT_KEEPALIVE, **_given(parts)},
        application_name=f"revenant/{role}",
        options=f"{parts.get('options') or ''} {options}".strip(),
    )


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
    why = re.sub(r"(?i)(password=)\S+", r"\1***", " ".join(str(error).split()))
    return DatabaseUnavailable(
        f"Postgres at {address(url)} cannot be used: {why or type(error).__name__}. "
        "Check that it runs and that DATABASE_URL is right; `revenant check` tells more."
    )


def script(connection: psycopg.AsyncConnection[Any]) -> psycopg.AsyncClientCursor[Any]:
    """Return a cursor that sends several statements in one round trip, quoting parameters by libpq."""
    return psycopg.AsyncClientCursor(connection)
