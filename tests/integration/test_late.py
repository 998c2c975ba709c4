"""Messages for runs that have ended or are not there: each is answered, whatever becomes of the others beside it."""

from __future__ import annotations

from typing import Any

import psycopg

from revenant.codec import new_id
from revenant.queue.link import Link
from revenant.queue.records import Reply, Settlement, Taken
from revenant.worker.runs.late import Late
from tests.tools import rows, value

Connection = psycopg.AsyncConnection[Any]
CALL = "select revenant.call('run:gone', %s, 'signal', '{\"name\": \"x\"}')::text"
REPLIES = "select id::text from revenant.replies order by id"
NONE = Reply("", "error", 0, '{"error": "RunNotFound", "type": "RunNotFound", "message": "no"}')


async def late(connection: Connection, key: str) -> Settlement:
    """A message that somebody waits for, and its answer."""
    asked = await value(connection, CALL, key)
    ((tid, seq),) = await rows(connection, "select ctid::text, seq from revenant.messages where id = %s", asked)
    return Settlement(taken=[Taken(tid, seq, asked)], replies=[(NONE._replace(id=asked), 60.0)])


def ids(*settlements: Settlement) -> list[tuple[str]]:
    return sorted((one.replies[0][0].id,) for one in settlements)


async def test_one_that_somebody_else_has_answered_costs_the_others_nothing(
    database: str, connection: Connection
) -> None:
    answers = Late(link=Link(url=database, role="late"), worker=new_id(0))
    first, second, third = [await late(connection, key) for key in "abc"]
    await connection.execute("delete from revenant.messages where key = 'b'")
    await answers.settle([first, second, third])
    assert await rows(connection, REPLIES) == ids(first, third)
    assert await value(connection, "select count(*) from revenant.messages") == 0
    await answers._link.reset()


async def test_one_whose_reply_is_there_already_costs_the_others_nothing(database: str, connection: Connection) -> None:
    answers = Late(link=Link(url=database, role="late"), worker=new_id(0))
    first, second = [await late(connection, key) for key in "ab"]
    given = "insert into revenant.replies (bucket, id, status, version, body, expires_at) values (%s, %s, 'ok', 1, '1', 'infinity')"
    named = second.replies[0][0].id
    await connection.execute(given.encode(), (int(named[-2:], 16), named))
    wanted = ids(first, second)
    await answers.settle([first, second])
    assert await rows(connection, REPLIES) == wanted
    assert await value(connection, "select count(*) from revenant.messages") == 0
    await answers._link.reset()


async def test_a_lost_connection_leaves_them_for_the_next_look(database: str, connection: Connection) -> None:
    answers = Late(link=Link(url=database, role="late"), worker=new_id(0))
    found = await late(connection, "a")
    mine = await answers._link.connection()
    await connection.execute("select pg_terminate_backend(%s)", (mine.info.backend_pid,))
    await answers.settle([found])
    assert await value(connection, "select count(*) from revenant.messages") == 1
    await answers.settle([found])
    assert await rows(connection, REPLIES) == ids(found)
    await answers._link.reset()
