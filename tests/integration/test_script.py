"""Scripts go over the wire as they are: values unharmed, the first error raised, a broken exchange closed."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import psycopg
import pytest
from psycopg.pq.abc import PGconn

from revenant.eventloop import run
from revenant.queue import script
from revenant.queue.connection import connect
from revenant.queue.script import array, run_script

AWKWARD = ["it's", "back\\slash", "\\'; drop schema revenant cascade; --", "100% %s %(name)s", "🛫", "line\nbreak", ""]


@pytest.mark.parametrize("conforming", ["on", "off"])
async def test_values_arrive_as_they_are(database: str, conforming: str) -> None:
    async with await connect(database, role="test") as connection:
        await connection.execute(f"set standard_conforming_strings = {conforming}")
        for value in AWKWARD:
            assert await run_script(connection, "select %(value)s::text", {"value": value}) == [[(value,)]]
        given = {"texts": array(AWKWARD), "numbers": array([7, -(2**62), 0]), "none": array([])}
        rows = await run_script(
            connection, "select %(texts)s::text[], %(numbers)s::bigint[], %(none)s::text[], %(none)s::bigint[]", given
        )
        assert rows == [[(AWKWARD, [7, -(2**62), 0], [], [])]]
        mixed = {"flags": array([True, None, False]), "ops": array([None, 3]), "nulls": array([None, None])}
        rows = await run_script(connection, "select %(flags)s::boolean[], %(ops)s::integer[], %(nulls)s::text[]", mixed)
        assert rows == [[([True, None, False], [None, 3], [None, None])]]
        both = {"values": array([*AWKWARD, None]), "bytes": array([b"\0'\\\xff", None]), "flag": True, "none": None}
        rows = await run_script(
            connection,
            "select %(values)s::text[]; select %(bytes)s::bytea[], %(flag)s::boolean, %(none)s::text, %(minus)s::int",
            {**both, "minus": -5},
        )
        assert rows == [[([*AWKWARD, None],)], [([b"\0'\\\xff", None], True, None, -5)]]


async def test_numbers_are_what_psycopg_would_write(database: str) -> None:
    numbers = [0, -5, 2**40, 1.5, -2.5, 1e-9, 1e22, float("inf"), float("-inf")]
    async with await connect(database, role="test") as connection:
        for number in numbers:
            kind = "bigint" if isinstance(number, int) else "double precision"
            assert await run_script(connection, f"select %(number)s::{kind}", {"number": number}) == [[(number,)]]


async def test_what_returns_nothing_is_no_row(database: str) -> None:
    async with await connect(database, role="test") as connection:
        script = "begin; select pg_notify('here', ''); select null; select pg_sleep(0), 7; commit"
        assert await run_script(connection, script) == [[], [], [(None,)], [("", 7)], []]


async def test_a_nul_is_refused_before_it_cuts_the_statement_short(database: str) -> None:
    async with await connect(database, role="test") as connection:
        with pytest.raises(psycopg.DataError, match="NUL"):
            await run_script(connection, "select %(value)s::text", {"value": "a\0b"})
        for texts in (["a\0b"], ["a\0b", "c"], ["a", "\0"]):
            with pytest.raises(psycopg.DataError, match="NUL"):
                await run_script(connection, "select %(texts)s::text[]", {"texts": array(texts)})
        assert await run_script(connection, "select 1") == [[(1,)]]


async def test_the_first_error_is_raised_and_the_connection_lives(database: str) -> None:
    async with await connect(database, role="test") as connection:
        with pytest.raises(psycopg.errors.DivisionByZero) as caught:
            await run_script(connection, "select 1; select 1 / 0; select nonsense")
        assert caught.value.diag.message_primary == "division by zero"
        assert await run_script(connection, "select 1; select 2") == [[(1,)], [(2,)]]


async def test_a_script_longer_than_the_sockets_buffers_goes_out_while_its_answer_comes_in(database: str) -> None:
    async with await connect(database, role="test") as connection:
        long = "x'\\" * 3_000_000
        rows = await run_script(connection, "select %(long)s::text; select %(long)s::text", {"long": long})
        assert rows == [[(long,)], [(long,)]]


async def test_the_servers_last_words_are_the_error(database: str) -> None:
    async with await connect(database, role="test") as connection:
        with pytest.raises(psycopg.errors.AdminShutdown):
            await run_script(connection, "select 1; select pg_terminate_backend(pg_backend_pid())")
        assert connection.closed


async def test_one_that_is_cancelled_closes_its_connection(database: str) -> None:
    async with await connect(database, role="test") as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run_script(connection, "select pg_sleep(60)")
        assert connection.closed
        with pytest.raises(psycopg.OperationalError):
            await run_script(connection, "select 1")


async def test_scripts_of_several_tasks_take_turns(database: str) -> None:
    async with await connect(database, role="test") as connection:
        rows = await asyncio.gather(
            *(run_script(connection, "select %(n)s::int, pg_sleep(0.01)::text", {"n": n}) for n in range(10))
        )
        assert [row[0][0][0] for row in rows] == list(range(10))


def test_a_server_that_dies_with_something_unread_and_last_words_is_noticed_under_uvloop() -> None:
    """uvloop tells of a socket in error once only; what the server said before it died is not the end yet."""

    async def exchange() -> None:
        here, there = socket.socketpair()
        here.setblocking(False)

        class Conn:
            """As libpq is: a read takes what is there, and fails only when there is nothing more."""

            socket = here.fileno()
            flush = staticmethod(lambda: 0)
            is_busy = staticmethod(lambda: True)

            def send_query(self, query: bytes) -> None:
                here.send(query)
                there.send(b"FATAL")
                there.close()

            def consume_input(self) -> None:
                try:
                    here.recv(5)
                except OSError as error:
                    raise psycopg.OperationalError(str(error)) from None

        with pytest.raises(psycopg.OperationalError):
            async with asyncio.timeout(10):
                await script._exchange(cast(PGconn, Conn()), b"select 1")
        here.close()

    run(exchange())
