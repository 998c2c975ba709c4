"""A standby that lagged takes over: what was committed last is lost, and its numbers are given away again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from revenant.app import Revenant
from revenant.config import Settings
from revenant.embedded import Server
from revenant.sql import migrate
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import ENTITIES, Account
from tests.nemesis import private_server
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
ELSEWHERE = """
do $$
begin
    -- As the transaction of that number, which one that is lost had before.
    while pg_current_xact_id()::text::bigint < {xid} loop
        commit;
    end loop;
    assert pg_current_xact_id()::text::bigint = {xid};
    update revenant.entities set version = 2, state = '{{"balance": 100}}' where kind = 'Account' and key = 'a';
end
$$
"""
WRITER = "select version, xmin::text::bigint from revenant.entities where key = 'a'"
EVENTS = "select bucket, run, seq, type, op, at, data from revenant.run_events order by seq"
ADD = "insert into revenant.run_events (bucket, run, seq, type, op, at, data) values (%s, %s, %s, %s, %s, %s, %s)"
HEAD = "select seq, fence from revenant.run_heads where key = 'a'"


@workflow
async def hears(flow: Flow) -> list[str]:
    return [await flow.signal("word", str), await flow.signal("word", str)]


@contextmanager
def lagging(server: Server) -> Iterator[None]:
    """What is done inside is lost: the server goes on from where it was before."""
    data, copy = str(server.home.data), f"{server.home.data}.copy"
    server.stop()
    subprocess.run(["cp", "-a", data, copy], check=True)  # with its owner
    server.start()
    yield
    server.stop("immediate")
    shutil.rmtree(data)
    shutil.move(copy, data)
    server.start()


def connected(server: Server) -> Any:
    return psycopg.AsyncConnection.connect(server.url, autocommit=True)


async def test_a_state_in_memory_is_not_believed_though_its_number_and_version_come_again(settings: Settings) -> None:
    with private_server() as server:
        await migrate(server.url)
        alone = settings.model_copy(update={"lanes": 1})
        async with Revenant(entities=ENTITIES, database_url=server.url, settings=alone) as app:
            worker = app.worker()
            await worker.start()
            account = app.ref(Account, "a")
            assert await account.deposit(1) == 1
            with lagging(server):
                async with await connected(server) as look:
                    for _ in range(300):
                        await look.execute("select pg_current_xact_id()")
                    assert await app.call(account.deposit(10), timeout=30) == 11
                    ((version, xid),) = await rows(look, WRITER)
            async with await connected(server) as look:
                await look.execute(ELSEWHERE.format(xid=xid).encode())
                assert await rows(look, WRITER) == [(version, xid)]
            # The lane notices that the server was gone with another entity in hand.
            assert await app.call(app.ref(Account, "other").deposit(1), timeout=30) == 1
            assert await app.call(account.deposit(1000), timeout=30) == 1100
            await worker.stop(drain_timeout=5)


async def test_a_run_in_memory_is_not_believed_though_its_events_and_fence_are_as_many_again(
    settings: Settings,
) -> None:
    with private_server() as server:
        await migrate(server.url)
        async with Revenant(workflows=[hears], database_url=server.url, settings=settings) as app:
            worker = app.worker()
            await worker.start()
            run = await app.start(hears, id="a")
            async with await connected(server) as look:
                await eventually(lambda: value(look, "select status = 'waiting' from revenant.run_heads"))
                before = len(await rows(look, EVENTS))
            with lagging(server):
                async with await connected(server) as look:
                    assert await run.signal("word", "lost", timeout=30)
                    await eventually(lambda: value(look, "select count(*) = 0 from revenant.messages"))
                    lost = (await rows(look, EVENTS))[before:]
                    (head,) = await rows(look, HEAD)
            async with await connected(server) as look:
                for *place, told in lost:
                    data = {name: "kept" if word == "lost" else word for name, word in told.items()}
                    await look.execute(ADD, (*place, Jsonb(data)))
                await look.execute("update revenant.run_heads set seq = %s, fence = %s", head)
                assert await rows(look, HEAD) == [head]
                # The runner notices that the server was gone with another run in hand.
                await app.start(hears, id="other", timeout=30)
                assert await run.signal("word", "last", timeout=30)
                assert await run.result(timeout=30) == ["kept", "last"]
            await worker.stop(drain_timeout=5)
