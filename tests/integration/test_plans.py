"""The hot functions at a deep backlog, with statistics that lie: point look-ups by index, a few buffers per entity."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.codec import bucket_of, new_id
from tests.tools import rows, value

pytestmark = pytest.mark.fresh  # plans depend on what autovacuum has seen
Connection = psycopg.AsyncConnection[Any]
ENTITIES, MESSAGES = 20_000, 200_000
CLAIMED, PEEKED, FOUND, SETTLED, FETCHED = 25, 6, 16, 16, 3
"""Buffers that one function may touch for one entity; the net reads row by row, and an entity of this backlog has 10."""
BACKLOG = f"""
insert into revenant.messages (bucket, kind, key, id, handler, args)
select e.bucket, 'Account', e.key,
    (substr(md5(n || e.key), 1, 30) || lpad(to_hex(e.bucket::int), 2, '0'))::uuid, 'deposit', '{{"amount": 1}}'
from (
    select n::text as key, revenant.bucket_v1('Account', n::text) as bucket from generate_series(1, {ENTITIES}) n
) e, generate_series(1, {MESSAGES // ENTITIES}) n
"""
HOT = f"""
insert into revenant.messages (bucket, kind, key, id, handler, args)
select b, 'Account', 'hot', (substr(md5(n::text), 1, 30) || lpad(to_hex(b::int), 2, '0'))::uuid, 'deposit', '{{"amount": 1}}'
from generate_series(1, {ENTITIES}) n, revenant.bucket_v1('Account', 'hot') b
"""
TABLES = ("messages", "entities", "replies")


@pytest_asyncio.fixture
async def stale(connection: Connection) -> Connection:
    """A connection to a database of which the planner will always believe that it is empty."""
    for table in TABLES:
        await connection.execute(f"alter table revenant.{table} set (autovacuum_enabled = off)")
        await connection.execute(f"vacuum analyze revenant.{table}")
    return connection


async def surprised(connection: Connection) -> bool:
    return bool(
        await value(connection, "select reltuples <= 0 from pg_class where oid = 'revenant.messages'::regclass")
    )


def arrays(keys: list[str]) -> tuple[list[int], list[str], list[str]]:
    return [bucket_of("Account", key) for key in keys], ["Account"] * len(keys), keys


async def touched(connection: Connection, call: str, *parameters: Any, small: str = "") -> int:
    """Return the buffers that a call touches, and see to it that it scans no table from end to end, but a small one."""
    scans = (
        "select relname, seq_scan from pg_stat_xact_user_tables "
        f"where schemaname = 'revenant' and relname <> '{small}' order by 1"
    )
    async with connection.transaction(force_rollback=True):
        # The first call in a session reads its catalogs.
        await connection.execute(call, parameters)
    counts = []
    for _ in range(2):
        async with connection.transaction(force_rollback=True):
            before = await rows(connection, scans)
            found = await value(connection, f"explain (analyze, buffers, format json) {call}", *parameters)
            plan = found[0]["Plan"]
            assert await rows(connection, scans) == before, f"{call} scans whole tables"
        counts.append(int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"]))
    # So does one before which another session has changed its own: a bad plan is bad both times.
    return min(counts)


CLAIM = (
    "select * from revenant.claim_v2("
    "%s::smallint[], %s::text[], %s::text[], %s::bigint[], %s::int[], '{}', '{}', 256, 512, 16777216)"
)


async def claim(connection: Connection, keys: list[str], since: list[int]) -> int:
    return await touched(connection, CLAIM, *arrays(keys), since, [1] * len(keys))


FEW = """
insert into revenant.messages (bucket, kind, key, id, handler, args)
select b, 'Account', 'few ' || n % 30, (substr(md5('few ' || n), 1, 30) || lpad(to_hex(b::int), 2, '0'))::uuid,
    'deposit', '{"amount": 1}'
from generate_series(1, 300) n, revenant.bucket_v1('Account', 'few ' || n % 30) b
"""
HAVE_STATE = """
insert into revenant.entities (bucket, kind, key, version, vsn, state, applied)
select distinct bucket, kind, key, 1, 1, '{"balance": 0}'::jsonb, 0 from revenant.messages on conflict do nothing
"""
ENQUEUE = (
    "select revenant.enqueue_v1(%s, %s::uuid[], false, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', %s::uuid[])"
)
PLANNED = pytest.mark.parametrize("when", ["there is much", "there was none", "there were few"])
"""A session keeps the plans that it has made, and the tables grow."""


async def grown(connection: Connection, when: str) -> list[str]:
    """Have as much as there is to be when plans are made; return keys to make them with; none: they are made later."""
    if when == "there were few":
        await connection.execute(FEW)
        await connection.execute(HAVE_STATE)
    return [] if when == "there is much" else ["few 1", "few 2", "nobody"]


@PLANNED
async def test_a_deep_backlog_is_claimed_looked_at_and_settled_by_point_look_ups(stale: Connection, when: str) -> None:
    peek = "select revenant.peek_v1(%s::smallint[], %s::text[], %s::text[], %s::bigint[])"
    waiting = "select * from revenant.waiting_v1(array['Account'], 100::smallint, '', '', %s)"
    strange = "select * from revenant.waiting_v1(array['Nobody'], (-1)::smallint, '', '', %s)"
    fetch = "select * from revenant.fetch_replies_v1(%s::uuid[])"
    page = 50
    if first := await grown(stale, when):
        await claim(stale, first, [0] * len(first))
        await settle(stale, first)
        await touched(stale, peek, *arrays(first), [1] * len(first))
        await touched(stale, waiting, page)
        await touched(stale, fetch, [new_id(0)])
    await stale.execute(BACKLOG)
    await stale.execute(HAVE_STATE)
    assert await surprised(stale)
    keys = [str(n) for n in range(1, ENTITIES, ENTITIES // 50)]
    entities = len(keys)
    assert await claim(stale, keys, [0] * entities) < CLAIMED * entities
    # Others have come, and their first turn makes their row.
    new = [f"{key}-new" for key in keys]
    assert await claim(stale, [*keys, *new], [0] * 2 * entities) < CLAIMED * 2 * entities
    assert await touched(stale, peek, *arrays(keys), [1] * entities) < PEEKED * entities
    assert await touched(stale, waiting, page) < FOUND * page
    assert await touched(stale, strange, page) < FOUND * 256
    assert await settle(stale, keys) < SETTLED * entities
    ids = [new_id(bucket_of("Account", key)) for key in keys]
    assert await touched(stale, fetch, ids) < FETCHED * entities


@PLANNED
async def test_what_was_read_and_sent_before_is_dropped_by_point_look_ups(stale: Connection, when: str) -> None:
    many, page = 20_000, 50
    sends = "insert into revenant.sends (id) select md5('s' || n)::uuid from generate_series({}, {}) n"
    await stale.execute("alter table revenant.sends set (autovacuum_enabled = off)")
    if await grown(stale, when):
        few = 300 if when == "there were few" else 0
        await stale.execute(sends.format(1, few).encode())
        await stale.execute(RECEIPTS.replace("%s", str(few)).encode())
        await touched(stale, ENQUEUE, new_id(0), [new_id(0)], [new_id(0)])
        await stale.execute("delete from revenant.replies")
    await stale.execute(sends.format(1_000, 1_000 + many).encode())
    await stale.execute(RECEIPTS.replace("%s", str(many)).encode())
    await stale.execute("update revenant.replies set digest = null")
    read = [str(id) for (id,) in await rows(stale, "select id from revenant.replies limit %s", page)]
    sent = [str(id) for (id,) in await rows(stale, "select id from revenant.sends limit %s", page)]
    assert await touched(stale, ENQUEUE, new_id(0), sent, read) < 2 * SETTLED * page


CLAIM_ONE = "select * from revenant.claim_one_v1(%s::smallint, 'Account', %s, %s, 1, null, null, 256, 16777216)"
SETTLE_ONE = "select revenant.settle_one_v1(%s, %s::smallint, 'Account', %s, 1, 2, 1, '{}', %s, %s, %s, %s, 'ok', 2, '1', null, 60.0)"
ENQUEUE_ONE = "select revenant.enqueue_one_v1(%s, %s::smallint, 'Account', %s, %s, 'deposit', '{}', null, null)"


async def test_a_single_message_is_sent_claimed_and_settled_by_point_look_ups(stale: Connection) -> None:
    # Planned while the tables are as empty as they look, and kept by the session.
    nothing = new_id(0)
    await stale.execute(CLAIM_ONE, (0, "nobody", 0))
    async with stale.transaction(force_rollback=True):
        await stale.execute(ENQUEUE_ONE, (new_id(0), 0, "nobody", nothing))
        (claimed,) = await rows(stale, CLAIM_ONE, 0, "nobody", 0)
        await stale.execute(SETTLE_ONE, (None, 0, "nobody", claimed[6], claimed[7], claimed[6], nothing))
        with pytest.raises(psycopg.DatabaseError, match="not as they were locked"):
            await stale.execute(SETTLE_ONE, ("(0,9)", 0, "nobody", claimed[6], claimed[7], claimed[6], nothing))
    await stale.execute(BACKLOG)
    await stale.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select distinct bucket, kind, key, 1, 1, '{}'::jsonb, 0 from revenant.messages where length(key) > 2"
    )
    assert await surprised(stale)
    for key in ("7", "7000"):
        bucket = bucket_of("Account", key)
        assert await touched(stale, CLAIM_ONE, bucket, key, 0) < CLAIMED
        assert await touched(stale, CLAIM_ONE, bucket, f"{key}-new", 0) < CLAIMED
        claimed = (await rows(stale, CLAIM_ONE, bucket, key, 0))[0]
        tid, seq, message, made = claimed[2], *claimed[6:9]
        assert await touched(stale, SETTLE_ONE, tid, bucket, key, seq, message, seq, made) < 2 * SETTLED
    assert await touched(stale, ENQUEUE_ONE, new_id(0), bucket, key, new_id(bucket)) < 2 * SETTLED


async def settle(connection: Connection, keys: list[str]) -> int:
    """Settle one message of each key, as the claim has found it; return the buffers."""
    found = [row for row in await rows(connection, CLAIM, *arrays(keys), [0] * len(keys), [1] * len(keys)) if row[6]]
    first = {row[0]: row for row in reversed(found)}
    entities = [first[slot] for slot in sorted(first)]
    many = len(entities)
    return await touched(
        connection,
        "select revenant.settle_v1(%s::text[], %s::smallint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], "
        "%s::int[], %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::bigint[], "
        "%s::text[], %s::bytea[], %s::float8[])",
        [row[2] for row in entities],
        *arrays([keys[row[0] - 1] for row in entities]),
        [1] * many,
        [2] * many,
        [1] * many,
        ['{"balance": 1}'] * many,
        [row[6] for row in entities],
        [row[7] for row in entities],
        [row[6] for row in entities],
        [row[8] for row in entities],
        ["ok"] * many,
        [2] * many,
        ["1"] * many,
        [None] * many,
        [60.0] * many,
    )


async def test_a_hint_leads_past_everything_that_was_consumed_while_somebody_holds_an_old_snapshot(
    stale: Connection, database: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database) as old:
        await stale.execute(HOT)
        await old.execute("set transaction isolation level repeatable read")
        assert await value(old, "select count(*) from revenant.messages") == ENTITIES
        await stale.execute(
            "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
            "select bucket, kind, key, 1, 1, '{\"balance\": 0}', max(seq) from revenant.messages "
            "where key = 'hot' group by 1, 2, 3"
        )
        await stale.execute("delete from revenant.messages")
        await stale.execute("vacuum revenant.messages")
        dead = "select pg_relation_size('revenant.messages') / 8192"
        assert await value(stale, dead) > 200, "the old snapshot keeps nothing"
        await stale.execute(
            "insert into revenant.messages (bucket, kind, key, id, handler, args) "
            "select bucket, kind, key, %s, 'deposit', '{\"amount\": 1}' from revenant.entities where key = 'hot'",
            (new_id(bucket_of("Account", "hot")),),
        )
        seq = await value(stale, "select seq from revenant.messages")
        assert await claim(stale, ["hot"], [seq - 1]) < CLAIMED
        peek = "select revenant.peek_v1(%s::smallint[], %s::text[], %s::text[], %s::bigint[])"
        assert await touched(stale, peek, *arrays(["hot"]), [seq]) < PEEKED
        # The look at everything ignores the mark: it is what this is measured against.
        assert await claim(stale, ["hot"], [0]) > 2 * CLAIMED


RECEIPTS = """
insert into revenant.replies (bucket, id, status, version, body, digest, expires_at)
select n % 256, (substr(md5(n::text), 1, 30) || lpad(to_hex(n % 256), 2, '0'))::uuid, 'ok', 1, '1', '\\x00',
    now() + make_interval(days => 1)
from generate_series(1, %s) n
"""


CALLS = """
insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest)
select b, 'Account', 'called', (substr(md5('c' || n), 1, 30) || lpad(to_hex(b::int), 2, '0'))::uuid, 'deposit', '{}',
    'revenant_x', '\\x00'
from generate_series(1, 50) n, revenant.bucket_v1('Account', 'called') b
"""
CLAIM_CALLS = "select * from revenant.claim_calls_v1(%s::smallint, 'Account', 'called', 0, 512, 16777216)"


@PLANNED
async def test_calls_past_casts_are_read_with_a_look_up_for_each_reply(stale: Connection, when: str) -> None:
    bucket, calls = bucket_of("Account", "called"), 50
    if await grown(stale, when):
        await stale.execute(RECEIPTS.replace("%s", "300" if when == "there were few" else "0").encode())
        await touched(stale, CLAIM_CALLS, bucket)
        await stale.execute("delete from revenant.replies")
    await stale.execute(RECEIPTS.replace("%s", "20000").encode())
    await stale.execute(CALLS.encode())
    assert await touched(stale, CLAIM_CALLS, bucket) < FETCHED * 2 * calls


async def test_tidying_reads_a_page_and_never_all_receipts(stale: Connection) -> None:
    receipts, page = 100_000, 100
    await stale.execute(RECEIPTS.replace("%s", str(receipts)).encode())
    tidy = "select revenant.tidy_replies_v1(%s::smallint, %s::uuid, %s)"
    first = "00000000-0000-0000-0000-000000000000"
    assert await touched(stale, tidy, 7, first, page) < 2 * page
    place = await value(stale, tidy, 7, first, page)
    assert await touched(stale, tidy, 7, place, page) < 2 * page
    pages = 1
    while place is not None:
        place = await value(stale, tidy, 7, place, page)
        pages += 1
    assert pages == receipts // 256 // page + 1
    assert await value(stale, "select count(*) from revenant.replies") == receipts


async def test_locking_partners_is_a_look_up_each(stale: Connection) -> None:
    await stale.execute(
        "insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) "
        "select revenant.bucket_v1('Account', n::text), 'Account', n::text, 1, 1, '{}', 0 from generate_series(1, 5000) n"
    )
    lock = "select revenant.lock_v1(%s::smallint[], %s::text[], %s::text[], 0)"
    assert await touched(stale, lock, *arrays(["7", "4000"])) < 2 * FOUND
    assert await touched(stale, lock, *arrays(["7", "new"])) < 2 * FOUND


VISIT = (
    "select * from revenant.visit_v1('00000000-0000-0000-0000-000000000001', %s::smallint[], %s::text[], %s::text[], "
    "%s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::int[], 256, 512, 16777216)"
)
HOLD = (
    "select * from revenant.hold_v2('00000000-0000-0000-0000-000000000001', %s::smallint[], %s::text[], %s::text[], "
    "%s::bigint[], %s::boolean[], %s::int[], %s::bigint[], %s::uuid[])"
)
ANSWER = (
    "select revenant.answer_v1('00000000-0000-0000-0000-000000000001', %s::smallint[], %s::text[], %s::text[], "
    "%s::bigint[], '{}', '{}')"
)
VISIT_ONE = (
    "select * from revenant.visit_one_v1('00000000-0000-0000-0000-000000000001', %s::smallint, 'Account', %s, %s, %s, 0, 0, "
    "256, 16777216)"
)
ANSWER_ONE = (
    "select revenant.answer_one_v1('00000000-0000-0000-0000-000000000001', %s::smallint, 'Account', %s, %s, 'x', 'y')"
)
VISITED, ACQUIRED, HELD, ANSWERED = 20, 60, 40, 6
"""Buffers as above; an entity that is acquired gets a row and two index entries, and shows its ten messages."""


RESIDE = (
    "insert into revenant.residents (bucket, kind, key, owner) "
    "select distinct bucket, kind, key, '00000000-0000-0000-0000-000000000001'::uuid from revenant.messages "
    "where length(key) > 2 on conflict do nothing"
)


@PLANNED
async def test_residents_are_acquired_visited_answered_and_held_by_point_look_ups(stale: Connection, when: str) -> None:
    await stale.execute("alter table revenant.residents set (autovacuum_enabled = off)")
    await stale.execute("vacuum analyze revenant.residents")
    if first := await grown(stale, when):
        await stale.execute(RESIDE)
        few = len(first)
        await touched(stale, VISIT, *arrays(first), [0] * few, [0] * few, [0] * few, [0] * few, [1] * few)
        await touched(stale, ANSWER, *arrays(first), [1] * few)
        await touched(stale, VISIT_ONE, bucket_of("Account", first[0]), first[0], 1, 0)
        await touched(stale, ANSWER_ONE, bucket_of("Account", first[0]), first[0], 1)
        held = [[1] * few, [True] * few, list(range(1, few + 1)), [1] * few, [new_id(0)] * few]
        await touched(stale, HOLD, *arrays(first), *held)
    await stale.execute(BACKLOG)
    await stale.execute(RESIDE)
    many = 20
    keys = [str(number) for number in range(10, 10 + many)]
    new = [*arrays(keys), [0] * many, [0] * many, [0] * many, [0] * many, [1] * many]
    assert await touched(stale, VISIT, *new) < ACQUIRED * many
    await stale.execute(VISIT, new)
    kept = [str(number) for number in range(100, ENTITIES, ENTITIES // many)][:many]
    found = (
        "select fence, seq, id::text from revenant.residents r cross join lateral (select seq, id from revenant.messages m "
        "where (m.bucket, m.kind, m.key) = (r.bucket, r.kind, r.key) order by seq desc limit 1) m "
        "where bucket = %s and kind = 'Account' and key = %s"
    )
    places = [(await rows(stale, found, bucket_of("Account", key), key))[0] for key in kept]
    fences, last, names = map(list, zip(*places, strict=True))
    known = [*arrays(kept), fences, last, [0] * many, [0] * many, [1] * many]
    assert await touched(stale, VISIT, *known) < VISITED * many
    assert await touched(stale, ANSWER, *arrays(kept), fences) < ANSWERED * many
    one = (bucket_of("Account", kept[0]), kept[0], fences[0])
    assert await touched(stale, VISIT_ONE, *one, last[0]) < VISITED
    assert await touched(stale, ANSWER_ONE, *one) < ANSWERED
    held = [*arrays(kept), fences, [True] * many, list(range(1, many + 1)), last, names]
    assert await touched(stale, HOLD, *held) < HELD * many


NOTE = (
    "select count(*) from revenant.note_turn_v1('00000000-0000-0000-0000-000000000001', 'lane-1', "
    "%s::smallint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])"
)
NOTED, SUSPECTED = 4, 90
"""Buffers as above; of an entity that a dead worker had noted, each of its ten messages gets a row and an index entry."""


async def test_a_turn_is_noted_and_what_a_dead_worker_noted_is_suspected_by_point_look_ups(stale: Connection) -> None:
    await stale.execute(BACKLOG)
    many = 20
    keys = [str(number) for number in range(100, ENTITIES, ENTITIES // many)][:many]
    noted = [*arrays(keys), [0] * many, [2**62] * many]
    assert await touched(stale, NOTE, *noted, small="notes") < NOTED * many
    await stale.execute(
        "insert into revenant.notes (worker, lane, backend_pid, backend_start, buckets, kinds, keys, firsts, lasts) "
        "values ('00000000-0000-0000-0000-000000000002', 'lane-1', 1, now(), %s, %s, %s, %s, %s)",
        noted,
    )
    assert await touched(stale, NOTE, *noted, small="notes") < SUSPECTED * many
    assert await value(stale, NOTE, *noted) == many
