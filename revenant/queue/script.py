"""Script: several statements in one round trip, with their parameters written out, straight over libpq.

A turn is a few round trips, and a cursor of psycopg's costs a worker 0.17 ms of its processor for each; this, 0.07 ms.
What reads and writes the wire, and what makes Python values of rows, is psycopg's all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from revenant.queue.readiness import is_readable

NET_SECONDS = 0.5
"""How long a socket is waited for before it is looked at whatever the event loop says."""
Rows = list[tuple[Any, ...]]
_VOID = 2278
"""The type of what returns nothing: there is a row, and nothing in it."""


async def run_script(
    connection: psycopg.AsyncConnection[Any], script: LiteralString, parameters: Mapping[str, object] | None = None
) -> list[Rows]:
    """Run the statements and return the rows of each, in order; of the last only, take `[-1]`. Void is no row.

    The connection is in autocommit mode: what is to be one transaction says `begin` and `commit`. One that is
    cancelled, or lost, in the middle is closed, since nobody knows what its server still does.

    Raises:
        psycopg.Error: the first error of the script; the statements after it were not run.
    """
    text = script if parameters is None else script % {name: _literal(value) for name, value in parameters.items()}
    if "\0" in text:
        raise psycopg.DataError("A text for Postgres holds the NUL character, which it cannot store. Remove it.")
    try:
        query = text.encode()
    except UnicodeEncodeError:
        raise psycopg.DataError("A text for Postgres holds a lone surrogate, which is no text. Remove it.") from None
    async with connection.lock:
        try:
            results = await _exchange(connection.pgconn, query)
        except BaseException:
            connection.pgconn.finish()
            raise
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    return [_rows(connection, result) for result in results]


async def _exchange(pgconn: PGconn, query: bytes) -> list[PGresult]:
    """Send the query, and wait for all of its results."""
    loop = asyncio.get_running_loop()
    socket = pgconn.socket
    ear = _Ear(loop)
    results: list[PGresult] = []
    pgconn.send_query(query)
    loop.add_reader(socket, ear.hear)
    try:
        while pgconn.flush():
            # The server may want to be listened to before it reads on.
            loop.add_writer(socket, ear.hear)
            try:
                await _ready(socket, ear)
            finally:
                loop.remove_writer(socket)
            pgconn.consume_input()
        while True:
            while pgconn.is_busy():
                await _ready(socket, ear)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return results
            results.append(result)
    except psycopg.OperationalError:
        # The server says why, and then hangs up: its words are worth more than that the line is dead.
        if results and results[-1].status == ExecStatus.FATAL_ERROR:
            return results
        raise
    finally:
        loop.remove_reader(socket)


async def _ready(socket: int, ear: _Ear) -> None:
    """Return when the socket has something, or has ended; asked first, since the loop may have said so already."""
    if not is_readable(socket):
        await ear.wait()


class _Ear:
    """Waits for a socket; what `asyncio.Event` is for, and half as dear."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None

    def hear(self) -> None:
        """Wake whoever waits; what comes while nobody does is still in the socket, and heard again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return when the socket has something, or takes something; or once in a while, to look for oneself."""
        self._waiter = self._loop.create_future()
        # The net: a socket whose number was somebody else's a moment ago may not be listened to any more.
        net = self._loop.call_later(NET_SECONDS, self.hear)
        try:
            await self._waiter
        finally:
            net.cancel()


def _rows(connection: psycopg.AsyncConnection[Any], result: PGresult) -> Rows:
    if result.status != ExecStatus.TUPLES_OK or (result.nfields == 1 and result.ftype(0) == _VOID):
        return []
    transformer = Transformer(connection)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if type(value) is int or (type(value) is float and isfinite(value)):
        # As psycopg writes it, which takes ten times as long.
        return f" {value!r}"
    if isinstance(value, str):
        quoted = value.replace("'", "''")
        # Written so, a backslash means itself whatever standard_conforming_strings says.
        return " E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
    return sql.Literal(value).as_string()


def columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, str]:
    """Turn rows into one array literal per column, as `unnest` wants them."""
    if not rows:
        return dict.fromkeys(names, "{}")
    return dict(zip(names, map(array, zip(*rows, strict=True)), strict=True))


def array(values: Iterable[object]) -> str:
    """Return a Postgres array literal, to be cast in the statement; numbers, text, bytes and None.

    psycopg's own dumper for lists takes a Python call per element, which was a quarter of a worker's time.

    Example:
        >>> array(["a", 'say "b"', None, 7])
        '{"a","say \\\\"b\\\\"",NULL,7}'
    """
    given = list(values)
    types = set(map(type, given))
    if types <= _PLAIN:
        # As Python writes a list; spaces do no harm.
        return "{" + repr(given)[1:-1].replace("None", "NULL") + "}"
    if types == _TEXTS:
        # All of the text at once, not a call for each element. NUL parts them: no text for Postgres holds it.
        text = "\0".join(given)  # type: ignore[arg-type]  # all of them are text, as the types say
        if text.count("\0") < len(given):
            return '{"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","') + '"}'
    return "{" + ",".join(map(_element, given)) + "}"


_PLAIN, _TEXTS = {int, bool, type(None)}, {str}


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    return str(value)
