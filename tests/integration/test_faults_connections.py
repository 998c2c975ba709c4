"""Connections die, go deaf, or hear nonsense: everybody comes back, and looks at what was missed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.client import inbox
from revenant.codec import new_id
from revenant.config import Settings
from revenant.errors import ReplyNotFound
from revenant.queue import listener
from revenant.queue.connection import connect
from revenant.queue.mailbox import enqueue
from revenant.worker import sweeper
from revenant.worker.worker import Worker
from tests.entities import ENTITIES, Account
from tests.nemesis import Cable, Proxy, private_server, terminate
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
ROLES = ("lane", "desk", "worker-listener", "client", "listener")


@asynccontextmanager
async def working(url: str, settings: Settings) -> AsyncIterator[Worker]:
    worker = Revenant(entities=ENTITIES, database_url=url, settings=settings).worker()
    await worker.start()
    try:
        await worker.ready()
        yield worker
    finally:
        await worker.stop(drain_timeout=5)


@asynccontextmanager
async def traffic(app: Revenant, callers: int) -> AsyncIterator[list[int]]:
    """Callers and casters, each with an entity of its own, until the block ends; then none may be lost or doubled."""
    replies = [0] * callers
    casts = [0] * callers
    over = asyncio.Event()

    async def call(number: int) -> None:
        while not over.is_set():
            replies[number] += 1
            assert await app.ref(Account, f"called-{number}").deposit(1) == replies[number]

    async def cast(number: int) -> None:
        while not over.is_set():
            await app.cast(app.ref(Account, f"cast-{number}").deposit(1))
            casts[number] += 1
            await asyncio.sleep(0.002)

    async with asyncio.TaskGroup() as tasks:
        for number in range(callers):
            tasks.create_task(call(number))
            tasks.create_task(cast(number))
        try:
            yield replies
        finally:
            over.set()
    for number in range(callers):
        assert await app.ref(Account, f"called-{number}").deposit(0) == replies[number]
        assert await app.ref(Account, f"cast-{number}").deposit(0) == casts[number]


async def test_every_backend_may_be_terminated_under_load_and_nothing_is_lost_or_doubled(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    backends = (
        "select pid, backend_start from pg_stat_activity "
        "where datname = current_database() and starts_with(application_name, 'revenant/' || %s)"
    )
    async with traffic(app, 12) as replies:
        for role in ROLES * 2:
            seen = sum(replies)
            gone = await eventually(lambda role=role: terminate(connection, role), what=f"a backend of {role}")

            async def renewed(role: str = role, gone: set[tuple[Any, ...]] = gone) -> bool:
                now = await rows(connection, backends, role)
                return bool(now) and not set(now) & gone

            await eventually(renewed, seconds=60, what=f"a new backend of {role}")
            await eventually(
                lambda seen=seen: sum(replies) > seen + 50, seconds=60, what=f"traffic without the old {role}"
            )


async def test_what_was_sent_while_a_worker_could_not_listen_is_found_as_soon_as_it_can(
    app: Revenant, database: str, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "IDLE_SECONDS", 60.0)
    async with Proxy(database) as proxy, working(proxy.url, settings):
        assert await app.ref(Account, "a").deposit(1) == 1
        proxy.refused = {"worker-listener"}
        before = len(proxy.attempts)
        for cable in proxy.live("worker-listener"):
            cable.cut()
        await eventually(lambda: len(proxy.attempts) > before + 3, what="attempts to listen again")
        call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1), timeout=15))
        await eventually(lambda: value(connection, "select count(*) from revenant.messages"))
        assert not call.done()
        proxy.refused = set()
        assert await call == 2


async def test_a_lost_wake_up_costs_time_and_not_the_message(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    assert await app.ref(Account, "a").deposit(1) == 1
    bucket = await value(connection, "select revenant.bucket_v1('Account', 'a')")
    await connection.execute(
        "insert into revenant.messages (bucket, kind, key, id, handler, args) "
        "values (%s, 'Account', 'a', %s, 'deposit', '{\"amount\": 5}')",
        (bucket, new_id(bucket)),
    )

    async def handled() -> bool:
        return bool(await value(connection, "select (state->>'balance')::int = 6 from revenant.entities"))

    await eventually(handled, what="a message that nobody was told of")


async def test_what_a_lost_worker_held_is_taken_over_at_once_without_the_net(
    app: Revenant, database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "IDLE_SECONDS", 60.0)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def hold(cable: Cable, _frame: bytes) -> None:
        held.set()
        await let_go.wait()
        proxy.refused = {"lane-1", "lane-2"}
        cable.cut()

    async with Proxy(database) as proxy, working(proxy.url, settings):
        proxy.trap("lane", b"revenant.settle_", hold)
        call = asyncio.create_task(app.call(app.ref(Account, "a").deposit(1), timeout=15))
        await asyncio.wait_for(held.wait(), 30)
        async with working(database, settings) as survivor:
            watched = survivor._watch._watched
            await eventually(lambda: watched, what="somebody who watches what is locked")
            let_go.set()
            began = asyncio.get_running_loop().time()
            assert await call == 1
            assert asyncio.get_running_loop().time() - began < 6, "somebody waited until it was taken for dead"
            proxy.refused = set()


async def test_calls_are_answered_by_the_poll_while_the_clients_listener_is_deaf(
    database: str, settings: Settings, worker: Worker
) -> None:
    async with (
        Proxy(database) as proxy,
        Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app,
    ):
        account = app.ref(Account, "a")
        assert await account.deposit(1) == 1
        (deaf,) = proxy.live("listener")
        deaf.deaf = True
        async with asyncio.timeout(8):
            assert await account.deposit(1) == 2
        assert proxy.live("listener") == [deaf]


async def test_calls_are_answered_while_the_clients_listener_is_deaf_and_it_comes_back(
    database: str, settings: Settings, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PING_SECONDS", 0.3)
    async with (
        Proxy(database) as proxy,
        Revenant(entities=ENTITIES, database_url=proxy.url, settings=settings) as app,
    ):
        account = app.ref(Account, "a")
        assert await account.deposit(1) == 1
        (deaf,) = proxy.live("listener")
        deaf.deaf = True
        assert await account.deposit(1) == 2
        await eventually(lambda: proxy.live("listener") not in ([], [deaf]), what="a new listener")
        monkeypatch.setattr(inbox, "NET_SECONDS", 60.0)
        assert [await account.deposit(1) for _ in range(5)] == [3, 4, 5, 6, 7]


async def test_a_worker_whose_listener_is_deaf_goes_on_and_comes_back(
    app: Revenant, database: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PING_SECONDS", 0.3)
    async with Proxy(database) as proxy, working(proxy.url, settings):
        account = app.ref(Account, "a")
        assert await account.deposit(1) == 1
        (deaf,) = proxy.live("worker-listener")
        deaf.deaf = True
        assert await account.deposit(1) == 2
        await eventually(lambda: proxy.live("worker-listener") not in ([], [deaf]), what="a new listener")
        monkeypatch.setattr(sweeper, "IDLE_SECONDS", 60.0)
        assert [await account.deposit(1) for _ in range(5)] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("nonsense", ["[1,2", '[["not","a"]]', "[[1,2,3,4,5,6]]", "{}", "*", '[[1,"Nobody","x",3]]'])
async def test_nonsense_on_the_wake_up_channel_makes_nobody_deaf(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    account = app.ref(Account, "a")
    assert await account.deposit(1) == 1
    await connection.execute("select pg_notify('revenant_wake', %s)", (nonsense,))
    monkeypatch.setattr(sweeper, "IDLE_SECONDS", 60.0)
    assert [await account.deposit(1) for _ in range(5)] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("nonsense", ["x y z {}", "a b 1", "\n\n", "nonsense", "é"])
async def test_nonsense_on_the_reply_channel_makes_no_caller_deaf(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    account = app.ref(Account, "a")
    assert await account.deposit(1) == 1
    channel = await value(
        connection,
        "select substring(query from 'revenant_strict_[0-9a-f]+') from pg_stat_activity "
        "where datname = current_database() and application_name = 'revenant/listener'",
    )
    assert channel
    await connection.execute("select pg_notify(%s, %s)", (channel, nonsense))
    monkeypatch.setattr(inbox, "NET_SECONDS", 60.0)
    monkeypatch.setattr(inbox, "POLL_SECONDS", 60.0)
    assert [await account.deposit(1) for _ in range(5)] == [2, 3, 4, 5, 6]


async def test_asking_for_the_reply_of_no_message_disturbs_nobody(
    app: Revenant, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ReplyNotFound, match="nonsense"):
        await app.reply("nonsense", timeout=1)
    assert await app.ref(Account, "a").deposit(1) == 1
    assert "connection failed" not in caplog.text


async def test_a_listener_that_is_lost_does_not_deafen_whoever_has_its_sockets_number_next(
    database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    lost = await psycopg.AsyncConnection.connect(database, autocommit=True)
    number = lost.pgconn.socket
    heard = asyncio.Event()
    pairs: list[tuple[socket.socket, socket.socket]] = []
    forget = loop.remove_reader

    def forget_and_connect(which: Any) -> bool:
        done = forget(which)
        # What another task does before the listener's own goes on: it connects, and gets the number that is free now.
        if which == number and not any(number == one.fileno() for pair in pairs for one in pair):
            while not any(number == one.fileno() for pair in pairs for one in pair):
                pairs.append(socket.socketpair())
            loop.add_reader(number, heard.set)
        return done

    listening = listener.Listener(
        url=database, role="test", channels=[], ping=_no_ping, on_payload=lambda *_: None, on_connect=lambda: None
    )
    reading = asyncio.create_task(listening._read(lost))
    await asyncio.sleep(0)
    monkeypatch.setattr(loop, "remove_reader", forget_and_connect)
    await connection.execute("select pg_terminate_backend(%s)", (lost.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        await reading
    ((one, other),) = [pair for pair in pairs if number in (pair[0].fileno(), pair[1].fileno())]
    (other if one.fileno() == number else one).send(b"x")
    async with asyncio.timeout(10):
        await heard.wait()
    forget(number)
    for pair in pairs:
        for end in pair:
            end.close()
    await lost.close()


async def _no_ping(_channel: str, _payload: str) -> None: ...


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name these options otherwise, or have them not")
async def test_both_ends_of_a_line_find_out_within_ten_seconds_that_the_others_host_is_lost() -> None:
    """By what they have told the system: it asks when the line is quiet, and gives it up by count or by time."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with private_server({"listen_addresses": "127.0.0.1", "port": str(port)}):
        line = await connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", role="test", idle_in_transaction=7)
        async with line:
            assert await value(line, "show idle_in_transaction_session_timeout") == "7s"
            names = ["tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"]
            theirs = [int(await value(line, f"show {name}")) for name in names]
            with socket.socket(fileno=os.dup(line.fileno())) as socket_of_ours:
                assert socket_of_ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
                ours = [socket_of_ours.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    for idle, interval, count, most in (theirs, ours):
        assert min(idle, interval, count, most) > 0, "0 is what the system says: hours"
        # Where a time is set, Linux looks at it instead of the count, and only when it asks.
        assert idle + interval * count < 10
        assert idle + interval * -(-(most / 1000 - idle) // interval) < 10


async def test_thousands_of_callers_of_one_process_share_one_ear_and_one_mouth(
    app: Revenant, worker: Worker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, batches = 3000, 0

    async def counted(*given: Any, **more: Any) -> list[str]:
        nonlocal batches
        batches += 1
        return await enqueue(*given, **more)

    monkeypatch.setattr("revenant.client.sender.enqueue", counted)
    calls = asyncio.gather(*(app.call(app.ref(Account, str(n % 500)).deposit(1), timeout=60) for n in range(many)))
    mine = (
        "select application_name, count(*) from pg_stat_activity where datname = current_database() "
        "and application_name in ('revenant/client', 'revenant/listener', 'revenant/reader') group by 1 order by 1"
    )
    seen: set[tuple[Any, ...]] = set()
    while not calls.done():
        seen |= set(await rows(connection, mine))
        await asyncio.sleep(0.01)
    assert sorted(await calls) == sorted(n // 500 + 1 for n in range(many))
    assert seen == {("revenant/client", 1), ("revenant/listener", 1)}
    assert batches < many / 10, "each of them sent by itself"
