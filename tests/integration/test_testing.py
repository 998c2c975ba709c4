"""`revenant.testing`: the same application in memory and on a database: same words, same order, one clock that is moved."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from pytest_revenant import MakeApp
from revenant import Entity, Interval, Revenant, Schedule, Settings, handler, ref
from revenant.errors import CallTimeout, ConfigurationError, HandlerError, NotIdle
from revenant.testing import MemoryApp, ServedApp, memory_app
from revenant.testing.server import database, template
from tests.entities import Account, Ledger, Odd, Shelf, jobs, note_job
from tests.purses import Purse
from tests.timed import Alarmed, Visit

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
PATIENT = Settings(call_timeout=30, validate_state=True)
Tested = MemoryApp | ServedApp


class Relay(Entity, history=timedelta(days=7)):
    """Notes when it ran, and keeps itself and others busy."""

    times: list[datetime] = []  # noqa: RUF012 # a field of a pydantic model, copied for each
    anything: Any = None

    @handler
    async def keep_a_tuple(self) -> None:
        self.anything = (1, 2)

    @handler
    async def note(self) -> list[datetime]:
        self.times.append(self.turn.now)
        return self.times

    @handler
    async def later(self, seconds: list[float]) -> None:
        for after in seconds:
            self.turn.cast(self.turn.ref(self).note(), after=timedelta(seconds=after))

    @handler
    async def go_on_for_ever(self) -> None:
        self.turn.cast(self.turn.ref(self).go_on_for_ever())

    @handler
    async def pass_on(self, to: list[str]) -> None:
        self.times.append(self.turn.now)
        if to:
            self.turn.cast(self.turn.ref(Relay, to[0]).pass_on(to[1:]))

    @handler(readonly=True)
    async def read(self) -> int:
        return len(self.times)

    @handler(readonly=True)
    async def break_promise(self) -> None:
        self.times.append(self.turn.now)


class Lazy(Entity, durability=Interval(seconds=3600)):
    """Is written once an hour, and says farewell."""

    count: int = 0
    farewells: int = 0

    @handler
    async def add(self) -> int:
        self.count += 1
        return self.count

    @handler
    async def sql(self) -> None:
        _ = self.turn.connection

    async def passivate(self) -> None:
        self.farewells += 1


class Ringing(Entity):
    """Rings when its schedule says so."""

    rings: int = 0

    @handler
    async def ring(self) -> int:
        self.rings += 1
        return self.rings


SCHEDULED = Revenant(
    entities=[Ringing],
    schedules=[Schedule("hourly", ref(Ringing, "bell").ring(), every=timedelta(hours=1), missed="once")],
)
KINDS: list[type[Entity]] = [Account, Shelf, Ledger, Odd, Alarmed, Visit, Relay, Lazy, Purse]
Make = Callable[..., Tested]


@pytest.fixture(params=["in memory", "on a database"])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = memory_app if request.param == "in memory" else request.getfixturevalue("revenant_app")
    return made


@pytest_asyncio.fixture
async def tested(make: Make) -> AsyncIterator[Tested]:
    async with make(KINDS, settings=PATIENT, now=START) as app:
        yield app


async def said(app: Revenant, send: Callable[[Revenant], Any]) -> tuple[str, str]:
    """Return what a message was answered, with ids and places in the code left out."""
    try:
        answer: object = await send(app)
        kind = "reply"
    except Exception as error:  # noqa: BLE001 # whatever it is, both are to say it
        answer, kind = error, type(error).__name__
        if isinstance(error, HandlerError):
            answer = (str(error), error.type, error.message)
    return kind, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|after 5 s|in memory", "…", str(answer))


SENT: list[Callable[[Revenant], Any]] = [
    lambda app: app.ref(Account, "a").deposit(5),
    lambda app: app.ref(Account, "a").fail(1),
    lambda app: app.ref(Account, "a").fail_badly(),
    lambda app: app.ref(Account, "a").read(),
    lambda app: app.ref(Account, "a").call_other("b"),
    lambda app: app.ref(Account, "a").who(),
    lambda app: app.ref(Account, "a").deposit("no number"),  # type: ignore[arg-type]  # a careless sender
    lambda app: app.ref(Account, "").deposit(1),
    lambda app: app.ref(Account, "a").weigh("x" * 9_000_000),
    lambda app: app.ref("Account", "a").deposit("no number"),
    lambda app: app.ref("Account", "a").deposit(amount=1, more=2),
    lambda app: app.call(app.ref(Account, "a").deposit(1), idempotency_key="k"),
    lambda app: app.call(app.ref(Account, "a").deposit(1), idempotency_key="k"),
    lambda app: app.call(app.ref(Account, "a").deposit(2), idempotency_key="k"),
    lambda app: app.call(app.ref(Account, "a").deposit(2), idempotency_key=""),
    lambda app: app.call(app.ref(Account, "a").deposit(2), timeout=-1),
    lambda app: app.cast(app.ref(Account, "a").deposit(2), after=5),  # type: ignore[arg-type]  # a careless sender
    lambda app: app.cast(app.ref(Account, "a").deposit(2), at=datetime(2026, 1, 1)),
    lambda app: app.cancel("no id"),
    lambda app: app.reply("no id"),
    *[lambda app, how=how: app.ref(Shelf, "s").spoil(how) for how in ("nan", "nul", "surrogate", "object", "9000000")],
    *[lambda app, how=how: app.ref(Shelf, "s").result(how) for how in ("nan", "nul", "object", "big")],
    *[
        lambda app, how=how: app.ref(Odd, "o").end_by(how)
        for how in ("cancelled", "own base exception", "broken text", "job that is no JSON", "")
    ],
    lambda app: app.ref(Odd, "o").push(1),
    lambda app: app.ref(Lazy, "l").sql(),
    lambda app: app.ref(Relay, "r").break_promise(),
    lambda app: app.ref(Relay, "r").keep_a_tuple(),
    lambda app: app.ref(Relay, "r").read(),
    lambda app: app.state(Account, "a"),
    lambda app: app.state("Account", "a"),
    lambda app: app.state(Account, "nobody"),
    lambda app: app.history(Account, "a"),
    lambda app: app.ref(Purse, "p").look(),
    lambda app: app.passivate(app.ref(Account, "a")),
    lambda app: app.delete(app.ref(Account, "a")),
    lambda app: app.delete(app.ref(Account, "a")),
    lambda app: app.ref(Account, "a").read(),
]


async def test_memory_and_a_database_answer_in_the_same_words(revenant_app: MakeApp) -> None:
    memory = memory_app(KINDS, settings=PATIENT, now=START)
    async with revenant_app(KINDS, settings=PATIENT, now=START) as served:
        for number, send in enumerate(SENT):
            assert await said(memory, send) == await said(served, send), number


async def test_casts_to_others_run_until_nothing_waits(tested: Tested) -> None:
    await tested.cast(tested.ref(Relay, "a").pass_on(["b", "c", "a"]))
    await tested.run_until_idle()
    states = [await tested.state(Relay, key) for key in "abc"]
    assert [len(state.times) for state in states if state is not None] == [2, 1, 1]


async def test_the_clock_stands_still_and_timers_come_at_their_times(tested: Tested) -> None:
    relay = tested.ref(Relay, "r")
    await relay.later([60, 10, 3600])
    await tested.run_until_idle()
    assert await relay.read() == 0
    await tested.clock.advance(timedelta(minutes=5))
    assert await relay.note() == [START + timedelta(seconds=after) for after in (10, 60, 300)]
    await tested.clock.jump(timedelta(hours=2))
    assert (await relay.note())[3:] == [START + timedelta(minutes=125)] * 2
    assert tested.clock.now == START + timedelta(minutes=125)


async def test_a_reminder_comes_each_time_while_the_clock_advances_and_once_after_a_jump(tested: Tested) -> None:
    alarmed = tested.ref(Alarmed, "a")
    await alarmed.set("hourly", every=timedelta(hours=1))
    await tested.clock.advance(timedelta(hours=5))
    assert len(await alarmed.read()) == 5
    await tested.clock.jump(timedelta(hours=5))
    assert len(await alarmed.read()) == 6
    await alarmed.unset("hourly")
    await tested.clock.advance(timedelta(hours=5))
    assert len(await alarmed.read()) == 6


async def test_retries_wait_for_the_clock_and_end_as_dead_letters(tested: Tested) -> None:
    account = tested.ref(Account, "a")
    await tested.cast(account.fail_times(2))
    await tested.run_until_idle()
    assert await account.read() == 0
    await tested.clock.advance(timedelta(minutes=1))
    assert await account.read() == 1
    await tested.cast(account.fail(1))
    await tested.clock.advance(timedelta(hours=1))
    if isinstance(tested, MemoryApp):
        assert [(letter.handler, letter.attempts) for letter in tested.dead] == [("fail", 5)]
    else:
        async with await psycopg.AsyncConnection.connect(tested.url()) as plain:
            found = await plain.execute("select handler, attempts from revenant.dead")
            assert await found.fetchall() == [("fail", 5)]


async def test_a_cast_for_later_may_be_cancelled(tested: Tested) -> None:
    account = tested.ref(Account, "a")
    sent = [await tested.cast(account.deposit(number), after=timedelta(hours=1)) for number in (1, 2)]
    assert await tested.cancel(sent[0])
    assert not await tested.cancel(sent[0])
    await tested.clock.advance(timedelta(hours=1))
    assert await account.read() == 2


async def test_a_cast_for_later_that_is_sent_twice_counts_once_and_at_its_first_time(tested: Tested) -> None:
    account = tested.ref(Account, "a")
    for hours in (2, 1, 3):
        await tested.cast(account.deposit(5), after=timedelta(hours=hours), idempotency_key="once")
    await tested.clock.advance(timedelta(hours=1, minutes=59))
    assert await account.read() == 0
    await tested.clock.advance(timedelta(minutes=1))
    assert await account.read() == 5
    await tested.clock.advance(timedelta(days=1))
    assert await account.read() == 5


async def test_an_idle_entity_ends_when_the_clock_says_so(tested: Tested) -> None:
    assert await tested.ref(Visit, "v").come() == 1
    await tested.clock.advance(timedelta(days=29))
    assert await tested.ref(Visit, "v").look() == 1
    await tested.clock.advance(timedelta(days=29))
    assert await tested.ref(Visit, "v").come() == 2
    await tested.clock.advance(timedelta(days=31))
    assert await tested.state(Visit, "v") is None


async def test_the_applications_schedules_go_by_the_clock(make: Make) -> None:
    async with make(SCHEDULED, now=START) as app:
        await app.clock.advance(timedelta(hours=3, minutes=30))
        assert await app.ref(Ringing, "bell").ring() == 4
        await app.clock.jump(timedelta(hours=10))
        assert await app.ref(Ringing, "bell").ring() == 6


async def test_two_entities_change_together_or_not_at_all(tested: Tested) -> None:
    a, b = tested.ref(Purse, "a"), tested.ref(Purse, "b")
    await a.put(10)
    await a.give(b, 4)
    assert [await a.look(), await b.look()] == [6, 4]
    with pytest.raises(HandlerError):
        await a.give(b, 1, fail="no")
    assert [await a.look(), await b.look()] == [6, 4]


async def test_relaxed_entities_are_flushed_and_say_farewell(tested: Tested) -> None:
    lazy = tested.ref(Lazy, "l")
    assert [await lazy.add() for _ in range(3)] == [1, 2, 3]
    await tested.run_until_idle()
    assert await tested.state(Lazy, "l") == Lazy(count=3, farewells=0)
    assert await tested.passivate(lazy)
    await tested.run_until_idle()
    assert await tested.state(Lazy, "l") == Lazy(count=3, farewells=1)


async def test_the_history_goes_by_the_clock(tested: Tested) -> None:
    relay = tested.ref(Relay, "r")
    await relay.note()
    await tested.clock.advance(timedelta(days=1))
    await relay.note()
    assert [change.version for change in await tested.history(relay)] == [2, 1]
    before = await tested.state(relay, at=START + timedelta(hours=1))
    assert before is not None
    assert before.times == [START]


async def test_no_rest_is_told_and_not_waited_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("revenant.testing.memory.MOST_TURNS", 50)
    async with make([Relay], now=START) as app:
        await app.cast(app.ref(Relay, "r").go_on_for_ever())
        with pytest.raises(NotIdle, match="casting to itself|cast to itself"):
            await (app.run_until_idle() if isinstance(app, MemoryApp) else app.run_until_idle(timeout=0.2))


async def test_messages_to_other_applications_kinds_stay(make: Make) -> None:
    async with make([Relay], now=START, settings=Settings(call_timeout=0.1)) as app:
        await app.cast(app.ref("Elsewhere", "e").come())
        await app.run_until_idle()
        with pytest.raises(CallTimeout):
            await app.ref("Elsewhere", "e").come()


async def test_a_clock_goes_forwards_only(tested: Tested) -> None:
    with pytest.raises(ConfigurationError, match="forwards"):
        await tested.clock.advance(timedelta(seconds=-1))
    with pytest.raises(ConfigurationError, match="forwards"):
        await tested.clock.jump(5)  # type: ignore[arg-type]  # what a careless test does


def test_memory_needs_no_database_and_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("it connected")

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refused)
    monkeypatch.setattr(psycopg.Connection, "connect", refused)
    app = memory_app([Account])
    assert asyncio.run(_deposit(app)) == 5
    with app.sync() as rv:
        assert rv.call(rv.ref(Account, "a").deposit(1)) == 6


async def _deposit(app: Revenant) -> int:
    return await app.ref(Account, "a").deposit(5)


async def test_memory_refuses_what_needs_a_database() -> None:
    app = memory_app(KINDS)
    with pytest.raises(ConfigurationError, match="no database.*revenant_app"):
        await app.ref(Ledger, "l").insert(1)
    with pytest.raises(ConfigurationError, match="no workers"):
        app.worker()
    with pytest.raises(ConfigurationError, match="no database"):
        app.url()
    with pytest.raises(ConfigurationError, match="no database"):
        await app.cast(app.ref(Account, "a").deposit(1), connection=object())
    assert await app.state(Ledger, "l") is None


async def test_memory_notes_the_jobs_of_turns_that_are_kept() -> None:
    app = memory_app([Ledger])
    await app.ref(Ledger, "l").defer_note("kept")
    with pytest.raises(HandlerError):
        await app.ref(Ledger, "l").defer_note("lost", fail=True)
    assert [(job.task, job.kwargs) for job in app.deferred] == [(note_job, {"word": "kept"})]


async def test_memory_handles_one_message_at_a_time_in_the_order_sent() -> None:
    app = memory_app([Account])
    account = app.ref(Account, "a")
    assert await asyncio.gather(*(account.pause(0.001) for _ in range(5))) == [1, 2, 3, 4, 5]
    await app.cast(account.deposit(1))
    assert await account.read() == 6


async def test_settings_prove_each_state_unless_you_say_otherwise(revenant_app: MakeApp) -> None:
    own = Settings(validate_state=False)
    assert memory_app([Account]).settings.validate_state
    assert revenant_app([Account]).settings.validate_state
    assert not memory_app([Account], settings=own).settings.validate_state
    assert not revenant_app([Account], settings=own).settings.validate_state


async def test_each_test_has_a_database_of_its_own(
    revenant_app: MakeApp, revenant_database: str, revenant_server: str, revenant_template: str
) -> None:
    with database(revenant_server, revenant_template) as other, psycopg.connect(other) as plain:
        async with revenant_app([Account]) as app:
            assert await app.ref(Account, "a").deposit(1) == 1
        assert plain.execute("select count(*) from revenant.entities").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(other)
    with psycopg.connect(revenant_database) as plain:
        assert plain.execute("select count(*) from revenant.entities").fetchone() == (1,)
    with psycopg.connect(revenant_server, dbname=revenant_template) as plain:
        assert plain.execute("select count(*) from revenant.entities").fetchone() == (0,)


async def test_the_clock_is_one_for_all_connections_whenever_they_were_made(revenant_app: MakeApp) -> None:
    async with revenant_app([Account], now=START) as app, await psycopg.AsyncConnection.connect(app.url()) as early:
        await app.clock.advance(timedelta(days=400))
        async with await psycopg.AsyncConnection.connect(app.url()) as late:
            seen = [await (await plain.execute("select revenant.now()")).fetchone() for plain in (early, late)]
        assert seen == [(START + timedelta(days=400),)] * 2
        assert (await app.ref(Account, "a").who())[2] == START + timedelta(days=400)


async def test_jobs_are_done_before_there_is_rest(
    revenant_app: MakeApp, revenant_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", revenant_database)
    async with await psycopg.AsyncConnection.connect(revenant_database, autocommit=True) as plain:
        await plain.execute("create table own_words (word text)")
        async with revenant_app(Revenant(entities=[Ledger], jobs=jobs)) as app:
            await app.cast(app.ref(Ledger, "l").defer_note("done"))
            await app.run_until_idle()
            assert await (await plain.execute("select word from own_words")).fetchall() == [("done",)]


def test_the_plugin_comes_with_the_installation_and_loads_nothing_until_it_is_used() -> None:
    assert [one.value for one in entry_points(group="pytest11", name="revenant")] == ["pytest_revenant"]
    loaded = (
        "import sys, pytest_revenant; sys.exit([name for name in sys.modules if name.startswith('revenant')] != [])"
    )
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


async def test_a_started_application_may_be_started_and_stopped_again(revenant_app: MakeApp) -> None:
    app = revenant_app([Account], now=START)
    await app.stop()
    for number in (1, 2):
        async with app:
            await app.start()
            assert await app.ref(Account, "a").deposit(1) == number
    with pytest.raises(ConfigurationError, match="not started"):
        await app.run_until_idle()


def test_the_applications_own_tables_are_in_every_copy(revenant_server: str) -> None:
    def own_tables(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("create table own (word text)")

    with template(revenant_server, own_tables) as prepared:
        for _ in range(2):
            with database(revenant_server, prepared) as url, psycopg.connect(url) as plain:
                assert plain.execute("insert into own values ('x') returning 1").fetchone() == (1,)
                assert plain.execute("select count(*) from own").fetchone() == (1,)


class Guarded(Entity):
    """Refuses some keys."""

    @classmethod
    def initial(cls, key: str) -> Guarded:
        """Begin, unless the key is bad."""
        if key == "bad":
            raise ValueError("no such account")
        return cls()

    @handler
    async def open(self) -> str:
        return self.key


async def test_what_initial_raises_is_told_as_its_own_and_not_the_handlers() -> None:
    async with memory_app([Guarded]) as app:
        assert await app.ref(Guarded, "good").open() == "good"
        with pytest.raises(HandlerError) as caught:
            await app.ref(Guarded, "bad").open()
    assert str(caught.value).startswith("Guarded('bad').initial raised ValueError: no such account.")
    assert (caught.value.type, caught.value.message, caught.value.replied) == ("ValueError", "no such account", True)
