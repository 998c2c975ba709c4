"""What one message of one entity takes shorter ways through ends as it does with many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from revenant.codec import bucket_of, new_id
from revenant.queue.mailbox import notify
from tests.tools import Rows, rows, value

Connection = psycopg.AsyncConnection[Any]
KIND, KEY = "Account", "a"
BUCKET = bucket_of(KIND, KEY)
ENTITY = (
    "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied, recent, recent_at) "
    "values (%s, 'Account', 'a', 7, 2, '{\"balance\": 7}', %s, 5, now() - make_interval(secs => %s))"
)
MESSAGE = (
    "insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest, attempts) "
    "overriding system value values (%s, 'Account', 'a', %s, 'deposit', %s, %s, %s, 1)"
)
RECEIPT = (
    "insert into revenant.replies (bucket, id, status, version, body, digest, expires_at) "
    "values (%s, %s, 'ok', 3, '\"done\"', '\\x01', now() + make_interval(days => 1))"
)
MANY = (
    "select * from revenant.claim_v2(array[%s::smallint], array['Account'], array['a'], array[%s::bigint], "
    "array[2], array[%s::bigint], array[%s::bigint], %s, 512, %s)"
)
ONE = "select * from revenant.claim_one_v1(%s::smallint, 'Account', 'a', %s, 2, %s, %s, %s, %s)"
KNOWN = "select version, xmin::text::bigint from revenant.entities where key = 'a'"
LOCKED = "select 1 from revenant.entities where key = 'a' for no key update"
CREATING = "select pg_advisory_xact_lock(hashtextextended('Account/a', 7))"


@pytest_asyncio.fixture
async def other(database: str) -> AsyncIterator[Connection]:
    """Somebody else's transaction."""
    async with await psycopg.AsyncConnection.connect(database) as made:
        yield made


async def send(connection: Connection, *sizes: int, digest: bytes | None = None) -> list[str]:
    """Put messages into the mailbox, with arguments of so many bytes; return their ids."""
    ids = [new_id(BUCKET) for _ in sizes]
    for made, size in zip(ids, sizes, strict=True):
        origin = "revenant_reply_x" if size % 2 else None
        await connection.execute(MESSAGE, (BUCKET, made, f'"{"x" * (size - 2)}"', origin, digest))
    return ids


async def claimed(
    connection: Connection,
    *,
    since: int = 1_000,
    version: int | None = None,
    writer: int | None = None,
    limit: int = 256,
    bytes_limit: int = 1_000_000,
) -> Rows:
    """Claim the entity both ways, each in a transaction that is undone; return what both have found."""
    found = []
    for query in (MANY, ONE):
        async with connection.transaction(force_rollback=True):
            found.append(await rows(connection, query, BUCKET, since, version, writer, limit, bytes_limit))
            xid = await value(connection, "select pg_current_xact_id_if_assigned()::text")
    assert {row[20] for row in found[1] if row[1] in ("claimed", "later")} in (set(), {xid})
    assert [_told(row) for row in found[1]] == [_told(row) for row in found[0]]
    return found[0]


def _told(row: tuple[Any, ...]) -> tuple[Any, ...]:
    # Of an entity that is left alone, and of messages that are left for later, only that is looked at.
    return row[:20] if row[1] == "claimed" else row[:2]


def outcomes(found: Rows) -> list[str]:
    return [row[1] for row in found]


@pytest.mark.parametrize("stored", [False, True])
async def test_messages_are_claimed_alike(connection: Connection, stored: bool) -> None:
    if stored:
        await connection.execute(ENTITY, (BUCKET, 0, 9))
    assert outcomes(await claimed(connection)) == [], "there is nothing to do"
    await send(connection, 10, 11, 12, 13)
    found = await claimed(connection)
    assert outcomes(found) == ["claimed"] * 4
    assert [row[5] for row in found] == ['{"balance": 7}' if stored else None, None, None, None]
    assert outcomes(await claimed(connection, limit=4)) == ["claimed"] * 4
    assert outcomes(await claimed(connection, limit=3)) == ["claimed"] * 3 + ["later"]
    assert outcomes(await claimed(connection, limit=1)) == ["claimed", "later"]
    for size in range(1, 60):
        assert outcomes(await claimed(connection, bytes_limit=size))[0] == "claimed"


async def test_a_mark_is_kept_and_a_hint_goes_before_it(connection: Connection) -> None:
    await send(connection, 10, 11, 12)
    first = await value(connection, "select min(seq) from revenant.messages")
    await connection.execute(ENTITY, (BUCKET, first, 9))
    assert outcomes(await claimed(connection)) == ["claimed"] * 2
    assert outcomes(await claimed(connection, since=first - 1)) == ["claimed"] * 3
    assert outcomes(await claimed(connection, since=0)) == ["claimed"] * 3


async def test_a_state_is_known_by_its_version_and_its_writer_together(connection: Connection) -> None:
    await connection.execute(ENTITY, (BUCKET, 0, 9))
    await send(connection, 10)
    version, writer = (await rows(connection, KNOWN))[0]
    (known,) = await claimed(connection, version=version, writer=writer)
    assert known[19]
    assert known[5] is None
    for strange in ((version, writer + 1), (version + 1, writer), (version, None), (None, writer)):
        (read,) = await claimed(connection, version=strange[0], writer=strange[1])
        assert not read[19]
        assert read[5] == '{"balance": 7}'


async def test_what_others_have_is_left_to_them(connection: Connection, other: Connection) -> None:
    await send(connection, 10)
    await other.execute(CREATING)
    assert outcomes(await claimed(connection)) == ["locked"], "another turn is about to create it"
    await other.rollback()
    await connection.execute(ENTITY, (BUCKET, 0, 9))
    await other.execute(LOCKED)
    assert outcomes(await claimed(connection)) == ["locked"], "another turn has it"
    await other.rollback()
    await connection.execute("update revenant.entities set vsn = 3")
    assert outcomes(await claimed(connection)) == ["newer"]


async def test_an_idempotency_keys_reply_comes_with_its_message_alone(connection: Connection) -> None:
    await send(connection, 10)
    (made,) = await send(connection, 11, digest=b"\x01")
    await send(connection, 13)
    assert [row[17] for row in await claimed(connection)] == [None, None, None]
    await connection.execute(RECEIPT, (BUCKET, made))
    assert [row[14:18] for row in await claimed(connection)] == [(None,) * 4, ("ok", 3, '"done"', b"\x01"), (None,) * 4]


SETTLE_MANY = (
    "select revenant.settle_v1(array[%s], array[%s::smallint], array['Account'], array['a'], array[%s::bigint], "
    "array[%s::bigint], array[2], array[%s], array[%s::bigint], array[%s], array[%s::bigint], "
    "array_remove(array[%s::uuid], null), array['ok'], array[8], array['8'], array[null::bytea], array[60.0])"
)
SETTLE_ONE = (
    "select revenant.settle_one_v1(%s, %s::smallint, 'Account', 'a', %s, %s, 2, %s, %s, %s, %s, %s, 'ok', 8, '8', "
    "null, 60.0)"
)
WRITTEN = "select version, vsn, state::text, applied, recent, recent_at, updated_at > created_at from revenant.entities"
ANSWERED = "select bucket, id, status, version, body::text, digest, expires_at from revenant.replies"


async def settled(connection: Connection, *, expected: int, reply: str | None, gone: str | None = None) -> Any:
    """Settle the one message both ways, each undone; return the rows that both have left, or the one refusal."""
    tid = await value(connection, "select ctid::text from revenant.entities")
    seq, message = (await rows(connection, "select seq, ctid::text from revenant.messages"))[0]
    state = '{"balance": 8}'
    given = (tid, BUCKET, expected, expected + 1, state, seq, message, seq, reply)
    left: list[Any] = []
    async with connection.transaction(force_rollback=True):
        for query in (SETTLE_MANY, SETTLE_ONE):
            async with connection.transaction(force_rollback=True):
                if gone is not None:
                    await connection.execute(f"delete from revenant.{gone}".encode())
                try:
                    async with connection.transaction():
                        await connection.execute(query, given)
                    left.append(
                        [await rows(connection, table) for table in (WRITTEN, ANSWERED, "table revenant.messages")]
                    )
                except psycopg.DatabaseError as error:
                    left.append((error.sqlstate, error.diag.message_primary))
    assert left[0] == left[1]
    return left[0]


@pytest.mark.parametrize("quiet", [0, 9])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_turn_is_settled_alike(connection: Connection, asked: bool, quiet: int) -> None:
    (made,) = await send(connection, 10)
    await connection.execute(ENTITY, (BUCKET, 0, quiet))
    written, answered, waiting = await settled(connection, expected=7, reply=made if asked else None)
    assert written[0][:3] == (8, 2, '{"balance": 8}')
    assert [row[1:5] for row in answered] == ([(UUID(made), "ok", 8, "8")] if asked else [])
    assert waiting == []


async def test_a_first_state_is_settled_alike(connection: Connection) -> None:
    await send(connection, 10)
    written, _, waiting = await settled(connection, expected=0, reply=None)
    assert written[0][:3] == (1, 2, '{"balance": 8}')
    assert waiting == []


async def test_a_fenced_turn_is_refused_alike(connection: Connection) -> None:
    await send(connection, 10)
    await connection.execute(ENTITY, (BUCKET, 0, 9))
    refused = ("RV001", "the rows of 1 entities are not as they were locked")
    assert await settled(connection, expected=6, reply=None) == refused, "it has another version"
    assert await settled(connection, expected=7, reply=None, gone="entities") == refused
    gone = ("RV001", "1 messages have left their mailboxes")
    assert await settled(connection, expected=7, reply=None, gone="messages") == gone


async def test_a_state_that_somebody_else_has_created_is_refused_alike(
    connection: Connection, other: Connection
) -> None:
    await send(connection, 10)
    await connection.execute(ENTITY, (BUCKET, 0, 9))
    seq, message = (await rows(connection, "select seq, ctid::text from revenant.messages"))[0]
    for query in (SETTLE_MANY, SETTLE_ONE):
        with pytest.raises(psycopg.DatabaseError, match="not as they were locked") as refusal:
            await connection.execute(query, (None, BUCKET, 0, 1, "{}", seq, message, seq, None))
        assert refusal.value.sqlstate == "RV001"


ENQUEUE_MANY = (
    "select revenant.enqueue_v1(%s, '{}', %s, array[%s::smallint], array['Account'], array['a'], array[%s::uuid], "
    "array['deposit'], array['[1]'], array[%s], array[null::bytea], '{}')"
)
ENQUEUE_ONE = "select revenant.enqueue_one_v1(%s, %s::smallint, 'Account', 'a', %s, 'deposit', '[1]', %s, null)"
STORED = "select bucket, kind, key, id::text, handler, args::text, origin, digest, attempts, seq from revenant.messages"


@pytest.mark.parametrize("origin", [None, "revenant_reply_x"])
@pytest.mark.parametrize("many", [False, True])
async def test_a_batch_of_one_is_stored_once_and_wakes_once(
    connection: Connection, other: Connection, origin: str | None, many: bool
) -> None:
    await connection.execute("listen revenant_wake")
    batch, made, flush = new_id(0), new_id(BUCKET), origin is None
    one = (batch, BUCKET, made, origin)
    hints, commits = [], []
    for _ in range(2):
        found = await rows(other, *((ENQUEUE_MANY, batch, flush, *one[1:]) if many else (ENQUEUE_ONE, *one)))
        hints += [hint for (hint,) in found if hint is not None]
        commits.append(await value(other, "show synchronous_commit"))
        await other.commit()
    ((*stored, seq),) = await rows(connection, STORED)
    assert stored == [BUCKET, KIND, KEY, made, "deposit", "[1]", origin, None, 0]
    hint = f'[[{BUCKET}, "Account", "a", {seq}]]'
    assert hints == ([hint, "*"] if flush else ["*"])
    assert commits == (["on", "on"] if flush else ["off", "off"])
    await connection.execute("select 1")
    heard = [note.payload async for note in connection.notifies(timeout=0)]
    assert heard == ([] if flush else [hint])


@pytest.mark.parametrize("wakes", [[], [("a", "1")], [("a", "1"), ("b", "it's"), ("a", "2")]])
async def test_each_listener_is_woken_whether_it_is_alone_or_not(
    connection: Connection, other: Connection, wakes: list[tuple[str, str]]
) -> None:
    await connection.execute("listen a")
    await connection.execute("listen b")
    await other.set_autocommit(True)
    await notify(other, wakes)
    await connection.execute("select 1")
    assert [(note.channel, note.payload) async for note in connection.notifies(timeout=0)] == wakes
