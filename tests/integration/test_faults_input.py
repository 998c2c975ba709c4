"""Keys and sizes at the edge: ordinary text is an ordinary key, and large values stay within bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client import inbox
from revenant.codec import bucket_of, new_id
from revenant.errors import InvalidKey
from revenant.worker import sweeper
from revenant.worker.worker import Worker
from tests.entities import Account, Shelf
from tests.nemesis import Crew
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
KEYS = [
    "o'brien",
    'say "x"',
    "100%",
    "%s %(key)s %%",
    "\\",
    "\\' or 1=1; --",
    "'; drop table revenant.messages; --",
    "{a,b}",
    '{"a":1}',
    "null",
    "NULL",
    "[[1]]",
    " ",
    "line\nbreak\r\ttab",
    "\x01\x7f",
    "👩‍👩‍👧‍👦",
    "\u202eאבג",
    "é",
    "e\u0301",
    "\ufeffbom",
    "\U0010ffff",
    "x" * 512,
    "\x01" * 512,
    "\U0001f600" * 128,
    '"' * 512,
]
MIB = 1024 * 1024


async def test_any_text_of_up_to_512_bytes_is_a_key_and_wakes_its_worker(
    app: Revenant, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "IDLE_SECONDS", 60.0)
    workers = [app.worker(), app.worker()]
    for worker in workers:
        await worker.start()
        await worker.ready()
    try:
        async with asyncio.timeout(20):
            for key in KEYS:
                assert await app.ref(Account, key).deposit(1) == 1, key
            assert await asyncio.gather(*(app.ref(Account, key).deposit(1) for key in KEYS)) == [2] * len(KEYS)
            await asyncio.gather(*(app.cast(app.ref(Account, key).deposit(0)) for key in KEYS * 4))
            await eventually(
                lambda: value(connection, "select count(*) = 0 from revenant.messages"), what="all handled"
            )
            for key in KEYS:
                await app.ref(Account, key).transfer(key, 1)
            for key in KEYS:
                await eventually(lambda key=key: _is(app.ref(Account, key).read(), 2), what=repr(key))
    finally:
        for worker in workers:
            await worker.stop(drain_timeout=5)
    stored = {row[0] for row in await rows(connection, "select key from revenant.entities")}
    assert stored == set(KEYS)
    assert len(set(KEYS)) == len(KEYS)


async def _is(call: Any, wanted: int) -> bool:
    return bool(await call == wanted)


@pytest.mark.parametrize("key", ["", "x" * 513, "é" * 257, "a\0b", "\ud800", "a\udfffb", 7, None])
async def test_what_is_no_key_is_refused_at_the_client_and_nothing_is_sent(
    app: Revenant, connection: Connection, key: Any
) -> None:
    with pytest.raises(InvalidKey, match="Account"):
        app.ref(Account, key)
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_large_messages_and_states_go_through_and_their_wake_ups_stay_small(
    app: Revenant, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "NET_SECONDS", 60.0)
    async with asyncio.timeout(30):
        assert await app.ref(Account, "a").weigh("é" * (2 * MIB)) == 2 * MIB
        shelf = app.ref(Shelf, "s")
        await shelf.spoil(str(5 * MIB))
        words, *_ = await shelf.look()
        assert [len(word) for word in words] == [5 * MIB]


async def test_many_large_messages_of_one_entity_do_not_fill_a_workers_memory(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    bucket, many = bucket_of("Account", "a"), 40
    for _ in range(many):
        await connection.execute(
            "insert into revenant.messages (bucket, kind, key, id, handler, args) "
            "select %s, 'Account', 'a', %s, 'weigh', json_build_object('words', repeat('x', %s))",
            (bucket, new_id(bucket), 5 * MIB),
        )
    async with Crew(database, tmp_path) as crew:
        hand = await crew.hire("--kinds", "Shelf", "--lanes", "2")
        idle = _peak(hand.process.pid)
        hand = await crew.hire("--lanes", "2")

        async def handled() -> bool:
            return not await value(connection, "select count(*) from revenant.messages")

        await eventually(handled, seconds=60, what="an empty mailbox")
        busy = _peak(hand.process.pid)
    assert await rows(connection, "select version from revenant.entities") == [(many,)]
    assert busy - idle < 250 * MIB


def _peak(pid: int) -> int:
    """Return the most memory that a process ever had resident, in bytes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
