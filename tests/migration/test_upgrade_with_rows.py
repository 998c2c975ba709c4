"""A database of the first migration, with rows in every table, is served in full by today's code once it is migrated."""

from __future__ import annotations

from typing import Any

import psycopg

from revenant.app import Revenant
from revenant.codec import bucket_of, new_id
from revenant.config import Settings
from revenant.queue.dead import retry
from revenant.queue.mailbox import enqueue
from revenant.queue.records import Envelope
from revenant.sql import Current, Release, migrate, release, status
from tests.deploys import Letter, NewParcel
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
BATCH, GONE = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NAMES = ("waits", "called", "again", "new", "read", "due", "later", "dead")
ROWS = """
insert into revenant.entities (bucket, kind, key, version, vsn, state, applied) values
    (:parcel, 'Parcel', 'p', 3, 1, '{"grams": 500}', 0), (:letter, 'Letter', 'l', 1, 1, '{"pages": 7}', 0);
insert into revenant.messages (bucket, kind, key, id, handler, args, origin, digest, attempts) values
    (:parcel, 'Parcel', 'p', :waits, 'add', '{"grams": 100}', null, null, 2),
    (:parcel, 'Parcel', 'p', :called, 'add', '[20]', 'revenant_gone', null, 0),
    (:parcel, 'Parcel', 'p', :again, 'add', '{"grams": 5000}', 'revenant_gone', 'd', 0),
    (:fresh, 'Letter', 'fresh', :new, 'write', '{}', null, null, 0);
insert into revenant.replies (bucket, id, status, version, body, digest, expires_at) values
    (:parcel, :again, 'ok', 2, '450', 'd', now() + interval '1 day'),
    (:parcel, :read, 'ok', 3, '500', null, now() + interval '1 hour');
insert into revenant.scheduled (bucket, id, due, kind, key, handler, args, attempts) values
    (:parcel, :due, now() - interval '1 hour', 'Parcel', 'p', 'add', '{"grams": 3}', 1),
    (:parcel, :later, now() + interval '1 day', 'Parcel', 'p', 'add', '{"grams": 9000}', 0);
insert into revenant.dead (bucket, id, kind, key, handler, args, attempts, error, sent_at) values
    (:parcel, :dead, 'Parcel', 'p', 'add', '{"grams": 7}', 5, '{"error": "ValueError"}', now());
insert into revenant.sends (id) values (:batch);
insert into revenant.workers (id, host, pid, kinds, lanes, jobs, backend_pid, backend_start, started_at, heartbeat_at)
values (:worker, 'gone', 4711, '{"Parcel": {"vsn": 1, "handlers": ["add", "stamp"]}}', 4, 1, 1,
    now() - interval '1 day', now() - interval '1 day', now() - interval '1 hour');
"""
TABLES = """
select c.oid::regclass::text from pg_class c
where c.relnamespace = 'revenant'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'migrations'
"""


def names() -> dict[str, str]:
    """Return the id of each message; its last byte is its entity's bucket."""
    return {name: new_id(bucket_of("Letter", "fresh") if name == "new" else bucket_of("Parcel", "p")) for name in NAMES}


async def fill(connection: Connection, ids: dict[str, str]) -> None:
    """Write rows by plain SQL into every table that there is."""
    script = ROWS
    buckets = {"parcel": ("Parcel", "p"), "letter": ("Letter", "l"), "fresh": ("Letter", "fresh")}
    words = {name: str(bucket_of(*address)) for name, address in buckets.items()}
    words |= {name: f"'{found}'" for name, found in {**ids, "batch": BATCH, "worker": GONE}.items()}
    for name, word in words.items():
        script = script.replace(f":{name},", f"{word},").replace(f":{name})", f"{word})")
    await connection.execute(script.encode())
    for (table,) in await rows(connection, TABLES):
        assert await value(connection, f"select count(*) from {table}") > 0, f"{table} is not tried"


async def test_everything_that_the_first_migration_holds_is_served_after_an_upgrade(
    empty_database: str, settings: Settings
) -> None:
    ids = names()
    await migrate(empty_database, release=Release(release().migrations[:1], functions=()))
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as connection:
        await fill(connection, ids)
        migrated = await migrate(empty_database)
        assert migrated.applied == tuple(migration.label for migration in release().migrations[1:])
        assert await status(connection) == Current(release().number)
        async with Revenant(entities=[NewParcel, Letter], database_url=empty_database, settings=settings) as app:
            worker = app.worker()
            await worker.start()
            try:
                await served(app, connection, ids)
            finally:
                await worker.stop(drain_timeout=5)


async def served(app: Revenant, connection: Connection, ids: dict[str, str]) -> None:
    """See that each row has the effect that it would have had."""
    parcel, letter = app.ref(NewParcel, "p"), app.ref(Letter, "l")
    empty = "select count(*) = 0 from revenant.messages"
    await eventually(lambda: value(connection, empty), seconds=30, what="the mailboxes' end")
    due = "select count(*) = 0 from revenant.scheduled where due < now()"
    await eventually(lambda: value(connection, due), seconds=30, what="what was due")
    # Waiting, called and due, once each; what has a receipt is not applied again.
    await eventually(lambda: value(connection, empty), seconds=30, what="the mailboxes' end")
    assert await app.call(parcel.add(0), timeout=20) == 500 + 100 + 20 + 3
    assert await app.reply(ids["called"], timeout=20) in (520, 523, 620, 623)
    assert await app.reply(ids["again"], timeout=20) == 450
    assert await app.reply(ids["read"], timeout=20) == 500
    assert await app.call(app.ref(Letter, "fresh").write(), timeout=20) == 2
    assert await app.call(letter.write(), timeout=20) == 8
    assert await value(connection, "select version from revenant.entities where key = 'p'") == 3 + 3
    assert await retry(connection, [ids["dead"]]) == [ids["dead"]]
    await eventually(lambda: value(connection, empty), seconds=30, what="the dead letter's second life")
    assert await app.call(parcel.add(0), timeout=20) == 623 + 7
    assert await rows(connection, "select id::text from revenant.scheduled") == [(ids["later"],)]
    assert await app.cancel(ids["later"])
    # A batch that was sent before the upgrade is not sent once more after it.
    again = Envelope(
        bucket_of("Letter", "l"), "Letter", "l", new_id(bucket_of("Letter", "l")), "write", "{}", None, None
    )
    assert await enqueue(connection, batch=BATCH, settled=[], envelopes=[again], read_ids=[]) == ["*"]
    assert await app.call(letter.write(), timeout=20) == 9
    # The worker of yesterday knew a handler that nobody has now: it is dead, and nobody waits for it.
    assert await app.call(parcel.stamp(), timeout=20) == 1
    await connection.execute("select revenant.tidy_v1(100)")
    assert await value(connection, "select count(*) from revenant.workers where host = 'gone'") == 0
