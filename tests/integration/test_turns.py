"""One turn, seen from the caller and from the tables."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.codec import bucket_of
from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.errors import (
    CallTimeout,
    HandlerError,
    IdempotencyConflict,
    InvalidArguments,
    NestedCall,
    Refused,
    StateInvalid,
    TooLarge,
    UnknownHandler,
    Unstorable,
)
from revenant.worker.worker import Worker
from tests.entities import Account, Ledger, Odd, Payment, Shelf
from tests.tools import eventually, rows, value

Connection = psycopg.AsyncConnection[Any]
REFUSING_SHELVES = """
create function refuse() returns trigger language plpgsql as $$
begin raise exception 'no shelves here' using errcode = '22003'; end $$;
create trigger refuse before insert on revenant.entities
for each row when (new.kind = 'Shelf') execute function refuse()
"""
OWN_TABLES = "create table own_rows (value int unique); create table own_words (word text)"


async def test_a_reply_comes_after_its_commit(app: Revenant, worker: Worker, connection: Connection) -> None:
    assert await app.ref(Account, "a").deposit(5) == 5
    assert await rows(connection, "select version, state->>'balance' from revenant.entities") == [(1, "5")]
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_replies_that_were_read_leave_no_row(app: Revenant, worker: Worker, connection: Connection) -> None:
    await asyncio.gather(*(app.ref(Account, str(n)).deposit(1) for n in range(50)))
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.replies"))


async def test_a_cast_is_stored_when_it_returns(app: Revenant, connection: Connection) -> None:
    message_id = await app.cast(app.ref(Account, "a").deposit(5))
    found = await rows(connection, "select id::text, kind, key, handler, args, origin from revenant.messages")
    assert found == [(message_id, "Account", "a", "deposit", {"amount": 5}, None)]


async def test_versions_count_changes_and_nothing_else(app: Revenant, worker: Worker, connection: Connection) -> None:
    account = app.ref(Account, "a")
    assert await account.read() == 0
    assert await value(connection, "select count(*) from revenant.entities") == 0
    await account.deposit(1)
    await account.read()
    with pytest.raises(HandlerError):
        await account.fail(10)
    await account.deposit(1)
    assert await value(connection, "select version from revenant.entities") == 2


async def test_messages_of_one_client_are_handled_in_the_order_sent(app: Revenant, worker: Worker) -> None:
    account = app.ref(Account, "a")
    words = [str(number) for number in range(300)]
    await asyncio.gather(*(app.cast(account.note(word)) if int(word) % 3 else account.note(word) for word in words))
    assert (await account.note("end"))[:-1] == words


async def test_a_handler_that_raises_changes_nothing_and_the_next_message_runs(app: Revenant, worker: Worker) -> None:
    account = app.ref(Account, "a")
    await account.deposit(1)
    failing = asyncio.gather(account.fail_badly(), account.deposit(1), return_exceptions=True)
    error, balance = await failing
    assert isinstance(error, HandlerError)
    assert (error.type, error.traceback) == ("tests.entities.Broken", None)
    assert error.message == "b\\0d \\ud800"
    assert "Account('a')" in str(error)
    assert balance == 2


async def test_tracebacks_are_opt_in(database: str, settings: Any) -> None:
    async with Revenant(entities=[Account], database_url=database, settings=settings, tracebacks=True) as app:
        worker = app.worker()
        await worker.start()
        with pytest.raises(HandlerError) as caught:
            await app.ref(Account, "a").fail(1)
        await worker.stop()
    assert "Traceback" in (caught.value.traceback or "")


async def test_system_exit_in_a_handler_is_a_failure_of_its_message(app: Revenant, worker: Worker) -> None:
    with pytest.raises(HandlerError, match="SystemExit"):
        await app.ref(Account, "a").raise_system_exit()
    assert await app.ref(Account, "a").deposit(1) == 1


async def test_a_failed_cast_is_retried_until_it_works(app: Revenant, worker: Worker, connection: Connection) -> None:
    account = app.ref(Account, "a")
    await app.cast(account.fail_times(3))
    await eventually(lambda: account.read())
    assert await value(connection, "select count(*) from revenant.dead") == 0


async def test_a_cast_that_keeps_failing_becomes_a_dead_letter_and_blocks_nobody(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    message_id = await app.cast(account.fail(1, "for good"))
    assert await account.deposit(1) == 1
    found = await eventually(
        lambda: rows(connection, "select id::text, attempts, error->>'type', error->>'traceback' from revenant.dead")
    )
    assert found[0][:3] == (message_id, 5, "tests.entities.Broken")
    assert "for good" in found[0][3]


async def test_a_cast_in_a_turn_leaves_with_its_commit(app: Revenant, worker: Worker) -> None:
    await app.ref(Account, "a").transfer("b", 5)
    await eventually(lambda: app.ref(Account, "b").read())
    assert await app.ref(Account, "b").read() == 5


async def test_a_cast_of_a_failed_turn_never_leaves(app: Revenant, worker: Worker, connection: Connection) -> None:
    with pytest.raises(HandlerError):
        await app.ref(Account, "a").transfer_then_fail("b", 5)
    assert await app.ref(Account, "b").read() == 0
    assert await value(connection, "select count(*) from revenant.messages") == 0


async def test_casts_wait_for_their_time_by_the_databases_clock(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await app.cast(app.ref(Account, "later").deposit(1), after=timedelta(hours=1))
    await app.cast(app.ref(Account, "soon").deposit(1), after=timedelta(milliseconds=50))
    await app.cast(app.ref(Account, "past").deposit(1), at=datetime(2020, 1, 1, tzinfo=UTC))
    await app.ref(Account, "a").transfer("turn", 1, after=0.05)
    for key in ("soon", "past", "turn"):
        await eventually(lambda key=key: app.ref(Account, key).read(), what=key)
    assert await app.ref(Account, "later").read() == 0
    due = await value(connection, "select due - now() between '59 min' and '61 min' from revenant.scheduled")
    assert due is True


async def test_a_call_inside_a_handler_is_refused(app: Revenant, worker: Worker) -> None:
    with pytest.raises(NestedCall, match="turn.cast"):
        await app.ref(Account, "a").call_other("b")


async def test_a_handler_knows_its_key_message_and_time(app: Revenant, worker: Worker) -> None:
    key, message_id, now, attempt = await app.ref(Account, "a").who()
    assert (key, attempt, len(message_id)) == ("a", 1, 36)
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


class Stubborn(Entity):
    """Gets through at its third attempt, and remembers by which id it was asked."""

    @handler
    async def push(self) -> None:
        asked.append((self.turn.message_id, self.turn.attempt))
        if self.turn.attempt < 3:
            raise ValueError("not yet")


asked: list[tuple[str, int]] = []


async def test_a_message_has_one_id_at_all_its_attempts(database: str, settings: Any) -> None:
    async with Revenant(entities=[Stubborn], database_url=database, settings=settings) as app:
        worker = app.worker()
        await worker.start()
        message_id = await app.cast(app.ref(Stubborn, "s").push())
        await eventually(lambda: len(asked) == 3, what="the third attempt")
        await worker.stop(drain_timeout=5)
    assert asked == [(message_id, 1), (message_id, 2), (message_id, 3)]


async def test_a_deleted_entity_starts_afresh(app: Revenant, worker: Worker, connection: Connection) -> None:
    account = app.ref(Account, "a")
    await account.deposit(5)
    await account.end()
    assert await value(connection, "select count(*) from revenant.entities") == 0
    assert await account.deposit(1) == 1
    assert await app.delete(account) is True
    assert await app.delete(account) is False
    assert await value(connection, "select count(*) from revenant.entities") == 0


async def test_a_deletion_is_ordered_with_everything_else(app: Revenant, worker: Worker) -> None:
    account = app.ref(Account, "a")
    results = await asyncio.gather(account.deposit(5), app.delete(account), account.deposit(1), account.deposit(1))
    assert list(results) == [5, True, 1, 2]


async def test_state_of_many_types_comes_back_equal(app: Revenant, worker: Worker) -> None:
    shelf = app.ref(Shelf, "s")
    seen = datetime(2026, 5, 4, 3, 2, 1, 999, tzinfo=UTC)
    assert await shelf.put("é\u202e", Decimal("12.50"), seen, b"\0\xff") == {"é\u202e": Decimal("12.50")}
    assert await shelf.look() == (["é\u202e"], {"é\u202e": Decimal("12.50")}, seen, b"\0\xff")


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("nan", "weight"),
        ("nul", "words.0"),
        ("surrogate", "words.0"),
        ("object", "anything.deep.0"),
        ("wrong type", "words"),
    ],
)
async def test_state_that_cannot_be_stored_names_the_path(
    app: Revenant, worker: Worker, connection: Connection, how: str, path: str
) -> None:
    with pytest.raises(Unstorable) as caught:
        await app.ref(Shelf, "s").spoil(how)
    assert caught.value.path.startswith(path)
    assert "Shelf('s')" in str(caught.value)
    assert await value(connection, "select count(*) from revenant.entities") == 0


@pytest.mark.parametrize("how", ["nan", "object"])
async def test_a_result_that_cannot_be_stored_costs_its_message_only(app: Revenant, worker: Worker, how: str) -> None:
    with pytest.raises(Unstorable):
        await app.ref(Shelf, "s").result(how)


async def test_state_over_the_limit_is_refused_and_nothing_changes(database: str, settings: Any) -> None:
    small = settings.model_copy(update={"max_bytes": 2000})
    async with Revenant(entities=[Shelf], database_url=database, settings=small) as app:
        worker = app.worker()
        await worker.start()
        shelf = app.ref(Shelf, "s")
        with pytest.raises(TooLarge, match="2,000"):
            await shelf.spoil("3000")
        with pytest.raises(TooLarge):
            await shelf.result("big")
        with pytest.raises(TooLarge):
            await shelf.spoil("x" * 3000)
        assert await shelf.look() == ([], {}, None, b"")
        await worker.stop()


async def test_stored_state_that_no_longer_fits_is_never_overwritten(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    await account.deposit(5)
    await connection.execute('update revenant.entities set state = \'{"balance": "much"}\'')
    with pytest.raises(StateInvalid, match="balance") as caught:
        await account.deposit(1)
    assert caught.value.path == "balance"
    await app.cast(account.deposit(2))
    with pytest.raises(StateInvalid):
        await account.deposit(1)
    assert await rows(connection, "select version, state from revenant.entities") == [(1, {"balance": "much"})]
    assert await value(connection, "select count(*) from revenant.messages") == 1
    await connection.execute("update revenant.entities set state = '{\"balance\": 5}'")
    assert await account.deposit(0) == 7


async def test_unknown_handlers_and_arguments_are_refused_at_the_client(app: Revenant) -> None:
    untyped: Any = app.ref(Account, "a")
    with pytest.raises(UnknownHandler, match="deposit"):
        untyped.depsoit(1)
    with pytest.raises(InvalidArguments, match="amount"):
        untyped.deposit("many")
    with pytest.raises(InvalidArguments):
        untyped.deposit()
    with pytest.raises(InvalidArguments):
        untyped.deposit(1, colour="red")


async def test_unknown_handlers_and_arguments_get_a_typed_reply_without_the_class(
    database: str, settings: Any, app: Revenant, worker: Worker, connection: Connection
) -> None:
    async with Revenant(database_url=database, settings=settings) as stranger:
        account = stranger.ref("Account", "a")
        assert await account.deposit(5) == 5
        assert await account.deposit(amount=5) == 10
        with pytest.raises(UnknownHandler, match="depsoit"):
            await account.depsoit(1)
        with pytest.raises(InvalidArguments, match="amount"):
            await account.deposit(amount="many")
        await stranger.cast(account.deposit(amount="many"))
    found = await eventually(lambda: rows(connection, "select attempts, error->>'error' from revenant.dead"))
    assert found == [(1, "InvalidArguments")]


async def test_a_kind_that_nobody_serves_waits_and_the_timeout_says_so(app: Revenant, worker: Worker) -> None:
    with pytest.raises(CallTimeout, match="unknown") as caught:
        await app.call(app.ref("Nobody", "n").anything(), timeout=0.3)
    assert "revenant workers" in str(caught.value)


async def test_attach_later(app: Revenant, connection: Connection) -> None:
    with pytest.raises(CallTimeout) as caught:
        await app.call(app.ref(Account, "a").deposit(5), timeout=0.2)
    late = asyncio.create_task(app.reply(caught.value.message_id, returns=int))
    worker = app.worker()
    await worker.start()
    assert await late == 5
    await worker.stop()


async def test_the_same_idempotency_key_counts_once_and_returns_the_first_reply(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    first = await app.call(account.deposit_versioned(5), idempotency_key="k")
    again = await asyncio.gather(*(app.call(account.deposit_versioned(5), idempotency_key="k") for _ in range(20)))
    assert {tuple(reply) for reply in again} == {tuple(first)}
    assert await account.read() == 5
    other = app.ref(Account, "b")
    both = await asyncio.gather(*(app.call(other.deposit_versioned(5), idempotency_key="k") for _ in range(20)))
    assert {reply[0] for reply in both} == {5}
    assert await app.cast(other.deposit(1), idempotency_key="c") == await app.cast(
        other.deposit(1), idempotency_key="c"
    )
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
    assert await other.read() == 6


async def test_an_idempotency_key_for_another_message_is_a_conflict(app: Revenant, worker: Worker) -> None:
    account = app.ref(Account, "a")
    await app.call(account.deposit(5), idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        await app.call(account.deposit(6), idempotency_key="k")
    assert await account.read() == 5


async def test_the_handlers_own_sql_commits_with_the_state(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(OWN_TABLES)
    ledger = app.ref(Ledger, "l")
    results = await asyncio.gather(
        ledger.insert(1),
        ledger.insert(2, fail=True),
        ledger.insert_in_block(3, fail=True),
        ledger.insert_in_block(4, fail=False),
        ledger.bad_sql(),
        ledger.insert(1),
        ledger.swallow_bad_sql(),
        ledger.insert(5),
        app.ref(Account, "a").deposit(1),
        return_exceptions=True,
    )
    failed = [place for place, result in enumerate(results) if isinstance(result, Exception)]
    assert failed == [1, 2, 4, 5, 6]
    assert [row[0] for row in await rows(connection, "select value from own_rows order by 1")] == [1, 4, 5]
    assert await value(connection, "select state->'rows' from revenant.entities where kind = 'Ledger'") == 3


async def test_a_deferred_constraint_costs_only_its_message(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute("create table own_rows (value int unique deferrable initially deferred)")
    ledger = app.ref(Ledger, "l")
    results = await asyncio.gather(ledger.insert(1), ledger.insert(1), ledger.insert(2), return_exceptions=True)
    assert [isinstance(result, HandlerError) for result in results] == [False, True, False]


async def test_a_handler_cannot_end_the_turns_transaction(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    await connection.execute(OWN_TABLES)
    with pytest.raises(Exception, match="commit"):
        await app.ref(Ledger, "l").commit()
    assert await app.ref(Ledger, "l").insert(1) == 1


async def test_a_transactional_cast_exists_if_and_only_if_its_transaction_commits(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    async with connection.transaction(force_rollback=True):
        await app.cast(account.deposit(100), connection=connection)
    async with connection.transaction():
        await app.cast(account.deposit(1), connection=connection)
        assert await account.read() == 0
    await eventually(lambda: account.read())
    assert await account.read() == 1


async def test_a_message_numbered_early_and_committed_late_is_not_lost(
    app: Revenant, worker: Worker, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    async with connection.transaction():
        await app.cast(account.deposit(100), connection=connection)
        for _ in range(5):
            await account.deposit(1)
        # Reading starts two seconds behind; for this test they are over.
        numbers = await rows(connection, "update revenant.entities set applied = recent returning applied")
        early = await value(connection, "select seq from revenant.messages")
        assert early < numbers[0][0], "the late message must have the lower number for this test to mean anything"
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
    assert await account.read() == 105


async def test_jobs_are_in_the_commit(app: Revenant, worker: Worker, connection: Connection) -> None:
    await app.ref(Ledger, "l").defer_note("hello")
    with pytest.raises(HandlerError):
        await app.ref(Ledger, "l").defer_note("never", fail=True)
    assert await rows(connection, "select task_name, args from procrastinate_jobs") == [("note_job", {"word": "hello"})]


async def test_a_handler_that_hangs_is_cancelled(database: str, settings: Any) -> None:
    quick = settings.model_copy(update={"handler_timeout": 0.2})
    async with Revenant(entities=[Account], database_url=database, settings=quick) as app:
        worker = app.worker()
        await worker.start()
        with pytest.raises(HandlerError, match="longer than") as caught:
            await app.ref(Account, "a").pause(60)
        assert type(caught.value).__name__ == "HandlerTimeout"
        assert await app.ref(Account, "a").read() == 0
        await worker.stop()


async def test_thousands_of_messages_of_one_entity_hold_up_nobody_for_ever(app: Revenant, worker: Worker) -> None:
    hot = app.ref(Account, "hot")
    casts = asyncio.gather(*(app.cast(hot.deposit(1)) for _ in range(3000)))
    others = await asyncio.gather(*(app.ref(Account, f"o{n}").deposit(1) for n in range(100)))
    assert others == [1] * 100
    await casts
    assert await hot.deposit(0) == 3000


async def test_plain_sql_sends_messages_too(app: Revenant, worker: Worker, connection: Connection) -> None:
    async with connection.transaction(force_rollback=True):
        await connection.execute("""select revenant.cast('Account', 'ключ "1"', 'deposit', '{"amount": 100}')""")
    await connection.execute("""select revenant.cast('Account', 'ключ "1"', 'deposit', '{"amount": 7}')""")
    await eventually(lambda: app.ref(Account, 'ключ "1"').read())
    assert await app.ref(Account, 'ключ "1"').read() == 7


async def test_both_sides_agree_on_buckets(connection: Connection) -> None:
    for key in ("a", 'ключ "1"', "'; drop table x; --", "👩‍👩‍👧", "x" * 512):
        assert await value(connection, "select revenant.bucket_v1('Account', %s)", key) == bucket_of("Account", key)


async def test_state_that_postgres_itself_refuses_costs_its_message_and_holds_up_nobody(
    app: Revenant, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = [app.call(app.ref(Account, f"n{number}").deposit(1), timeout=20) for number in range(20)]
    await connection.execute(REFUSING_SHELVES)
    calls.insert(10, app.call(app.ref(Shelf, "s").spoil("5"), timeout=20))
    waiting = asyncio.gather(*calls, return_exceptions=True)
    await eventually(lambda: value(connection, "select count(*) = 21 from revenant.messages"))
    await app.cast(app.ref(Shelf, "s").spoil("5"))
    worker = app.worker()
    await worker.start()
    results = await waiting
    refused = results.pop(10)
    assert isinstance(refused, Unstorable)
    assert "Postgres says" in str(refused)
    assert results == [1] * 20
    assert await eventually(lambda: rows(connection, "select error->>'error' from revenant.dead")) == [("Unstorable",)]
    await worker.stop()
    assert "no shelves" in caplog.text, "Postgres was to refuse the state for this test to mean anything"


async def test_arguments_that_postgres_itself_refuses_are_refused_at_the_sender_and_hold_up_nobody(
    app: Revenant, worker: Worker
) -> None:
    deep = app.ref(Account, "deep").deposit(1)
    deep.args = "[" * 50_000 + "]" * 50_000
    refused, balance = await asyncio.gather(deep, app.ref(Account, "a").deposit(1), return_exceptions=True)
    assert isinstance(refused, Refused)
    assert balance == 1


async def test_entities_with_and_without_a_row_share_a_turn(
    app: Revenant, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    first = app.worker()
    await first.start()
    await asyncio.gather(*(app.ref(Account, f"k{number}").deposit(100 * number) for number in range(1, 40, 3)))
    await first.stop()
    await asyncio.gather(*(app.cast(app.ref(Account, f"k{number}").deposit(1)) for number in range(40)))
    second = app.worker()
    await second.start()
    await eventually(lambda: value(connection, "select count(*) = 0 from revenant.messages"))
    await second.stop()
    found = await rows(connection, "select key, (state->>'balance')::int from revenant.entities")
    assert dict(found) == {f"k{number}": 1 + (100 * number if number % 3 == 1 else 0) for number in range(40)}
    assert "refused its commit" not in caplog.text


async def test_rival_clients_do_not_bring_one_clients_messages_out_of_order(database: str, settings: Any) -> None:
    """A cast is numbered, then flushed; a rival's higher number must not carry the reading past it meanwhile."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Revenant(entities=[Account], database_url=database, settings=settings))
            for _ in range(4)
        ]
        for client in clients[:3]:
            worker = client.worker()
            await worker.start()
            stack.push_async_callback(worker.stop, drain_timeout=5)
        seen: list[list[str]] = []

        async def rival(name: int) -> None:
            account = clients[name].ref(Account, "hot")
            for number in range(40):
                await clients[name].cast(account.note(f"{name}/{2 * number}"))
                seen.append(await account.note(f"{name}/{2 * number + 1}"))

        await asyncio.gather(*map(rival, range(4)))
        words = max(seen, key=len)
        for name in range(4):
            mine = [int(word.partition("/")[2]) for word in words if word.startswith(f"{name}/")]
            assert mine == sorted(mine)


async def test_a_message_that_is_being_committed_is_not_passed_by_its_senders_next_one(
    app: Revenant, connection: Connection
) -> None:
    account = app.ref(Account, "a")
    worker = app.worker()
    await worker.start()
    await account.note("first")
    async with connection.transaction():
        await app.cast(account.note("late"), connection=connection)
        await account.note("rival")
    # The hint of `late` may be lost; its sender's next message must take it along, and before itself.
    await worker.stop()
    await connection.execute("delete from revenant.workers")
    await app.cast(account.note("next"))
    second = app.worker()
    await second.start()
    words = await eventually(lambda: account.note("end"))
    assert words.index("late") < words.index("next")
    await second.stop()


@pytest.mark.parametrize("how", ["cancelled", "own base exception", "broken text", "job that is no JSON", "no return"])
async def test_a_handler_that_ends_in_any_odd_way_costs_its_message_only(
    app: Revenant, worker: Worker, connection: Connection, how: str
) -> None:
    for _ in range(3):
        results = await asyncio.gather(
            app.ref(Odd, "o").end_by(how), app.ref(Account, "a").deposit(1), return_exceptions=True
        )
        assert isinstance(results[0], HandlerError | Unstorable), results[0]
    assert results[1] == 3
    await app.cast(app.ref(Odd, "o").end_by(how))
    await eventually(lambda: value(connection, "select count(*) = 1 from revenant.dead"))
    assert await value(connection, "select count(*) from revenant.entities where kind = 'Odd'") == 0


async def test_what_a_models_defaults_made_travels_with_it(app: Revenant, worker: Worker) -> None:
    payment = Payment(amount=1)
    assert await app.ref(Odd, "o").pay(payment) == payment


async def test_a_state_that_could_not_be_read_again_is_not_acknowledged(app: Revenant, worker: Worker) -> None:
    odd = app.ref(Odd, "o")
    assert [await odd.push(number) for number in (1, 2)] == [1, 2]
    with pytest.raises(Unstorable, match="few"):
        await odd.push(3)
    assert await odd.push_none() == 2


async def test_an_empty_idempotency_key_is_refused(app: Revenant) -> None:
    for key in ("", "\ud800", 7):
        with pytest.raises(Refused, match="idempotency"):
            await app.call(app.ref(Account, "a").deposit(1), idempotency_key=key)  # type: ignore[arg-type]  # one of them is no text


async def test_existing_and_missing_keys_are_read_as_themselves(app: Revenant, worker: Worker) -> None:
    await asyncio.gather(*(app.ref(Account, f"k{number}").deposit(number) for number in range(1, 60, 2)))
    found = await asyncio.gather(*(app.ref(Account, f"k{number}").read() for number in range(60)))
    assert list(found) == [number if number % 2 else 0 for number in range(60)]
