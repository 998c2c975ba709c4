"""What workers are told: whether somebody waits for a message, so that casts go behind calls."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from pydantic_core import from_json

from revenant.app import Revenant
from revenant.queue.mailbox import WAKE_CHANNEL, batch_wakes, cast_wakes
from revenant.queue.records import Envelope
from tests.entities import Account

Connection = psycopg.AsyncConnection[Any]


def envelope(key: str, *, call: bool) -> Envelope:
    return Envelope(7, "Account", key, "id", "note", "{}", origin="channel" if call else None, digest=None)


def test_a_batch_tells_of_its_calls_by_themselves() -> None:
    page = '[[7, "Account", "a", 1],[7, "Account", "b", 2],[7, "Account", "a", 3],[7, "Account", "ü", 4]]'
    mixed = [envelope("a", call=True), envelope("b", call=False), envelope("a", call=False), envelope("ü", call=False)]
    (calls, casts) = [payload for channel, payload in batch_wakes([page], mixed) if channel == WAKE_CHANNEL]
    assert from_json(calls) == [[7, "Account", "a", 1], [7, "Account", "a", 3]], "somebody waits for all of a mailbox"
    assert casts.startswith("cast[")
    assert from_json(casts.removeprefix("cast")) == [[7, "Account", "b", 2], [7, "Account", "ü", 4]]
    assert batch_wakes([page], mixed[1:]) == [(WAKE_CHANNEL, f"cast{page}")]
    assert batch_wakes(["*"], mixed) == batch_wakes(["*"], mixed[1:]) == cast_wakes(["*"]) == [(WAKE_CHANNEL, "*")]


async def heard(connection: Connection, number: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(20):
        async for note in connection.notifies():
            found += [note.payload]
            if len(found) == number:
                break
    return found


async def test_what_nobody_waits_for_says_so_however_it_is_sent(
    app: Revenant, connection: Connection, database: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as ears:
        await ears.execute("listen revenant_wake")
        await app.cast(app.ref(Account, "a").note("x"))
        async with await psycopg.AsyncConnection.connect(database) as own:
            await app.cast(app.ref(Account, "a").note("x"), connection=own)
        await connection.execute("""select revenant.cast('Account', 'a', 'note', '{"word": "x"}')""")
        await connection.execute("""select revenant.call('Account', 'a', 'note', '{"word": "x"}')""")
        call = asyncio.create_task(app.call(app.ref(Account, "a").note("x"), timeout=20))
        told = await heard(ears, 5)
        call.cancel()
    assert [payload.startswith("cast[[") for payload in told] == [True, True, True, False, False]


async def test_a_worker_puts_what_nobody_waits_for_behind_what_somebody_does(app: Revenant) -> None:
    worker = app.worker()
    worker._hearing._hear(WAKE_CHANNEL, 'cast[[7,"Account","cast",1]]')
    worker._hearing._hear(WAKE_CHANNEL, '[[7,"Account","call",1]]')
    # Nobody of the fleet is known yet: another may go first.
    watched = {watched.hint.key: watched.backlog for watched in worker._watch._watched.values()}
    behind = {key for _, key in worker._agenda._backlog} | {key for key, backlog in watched.items() if backlog}
    before = {key for _, key in worker._agenda._ready} | {key for key, backlog in watched.items() if not backlog}
    assert (behind, before) == ({"cast"}, {"call"})
