"""The doors say in words what they take, before anything is sent: the async ones and the blocking ones alike."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from revenant.app import Revenant
from revenant.codec import new_id
from revenant.config import Settings
from revenant.entities.due import LONGEST, YEARS
from revenant.errors import ConfigurationError, InvalidKey, ReplyInvalid, ReplyNotFound, RevenantError
from revenant.worker.worker import Worker
from tests.entities import Account, Ledger
from tests.tools import value

Connection = psycopg.AsyncConnection[Any]
Doors = Any
"""An application, or its door for blocking code: the same names."""

TIMES = ["5", -1, -0.001, float("nan"), float("inf"), True, timedelta(seconds=5)]
DUES: list[dict[str, Any]] = [
    {"after": 5},
    {"after": "5s"},
    {"at": datetime(2026, 1, 1)},
    {"at": date(2026, 1, 1)},
    {"at": "2026-01-01T00:00:00Z"},
    {"after": timedelta(seconds=1), "at": datetime.now(UTC)},
    {"after": timedelta.max},
    {"after": timedelta.min},
    {"at": datetime.max.replace(tzinfo=UTC)},
    {"at": datetime.min.replace(tzinfo=UTC)},
]


def sendings(rv: Doors) -> dict[str, tuple[Callable[[], Any], type[RevenantError], str]]:
    """Return each wrong use as a function, with the error and the words by which it is told."""
    account = rv.ref(Account, "a")
    deposit = account.deposit
    wrong: dict[str, tuple[Callable[[], Any], type[RevenantError], str]] = {
        "call a text": (lambda: rv.call("x"), ConfigurationError, "takes a message.*and got a str"),
        "call nothing": (lambda: rv.call(None), ConfigurationError, "takes a message.*and got None"),
        "call a handler": (lambda: rv.call(deposit), ConfigurationError, "with its arguments"),
        "cast nothing": (lambda: rv.cast(None), ConfigurationError, "takes a message.*and got None"),
        "cast a ref": (lambda: rv.cast(account), ConfigurationError, "takes a message"),
        "reply to nothing": (lambda: rv.reply(None), ReplyNotFound, "no message's id"),
        "reply to a number": (lambda: rv.reply(7), ReplyNotFound, "no message's id"),
        "reply to a text": (lambda: rv.reply("not-a-uuid"), ReplyNotFound, "no message's id"),
        "reply as no type": (lambda: rv.reply(new_id(0), returns=7), ConfigurationError, "returns=7"),
        "delete a text": (lambda: rv.delete("a"), ConfigurationError, "A ref is wanted"),
        "connect by text": (lambda: rv.cast(deposit(1), connection="dsn"), ConfigurationError, "got a str"),
        "an empty idempotency key": (lambda: rv.call(deposit(1), idempotency_key=""), InvalidKey, "idempotency key"),
        "a number as one": (lambda: rv.cast(deposit(1), idempotency_key=5), InvalidKey, "idempotency key"),
    }
    for given in TIMES:
        for door in ("call", "reply", "delete"):
            wrong[f"{door} for {given!r}"] = partial(_wait, rv, door, given), ConfigurationError, "seconds"
    for due in DUES:
        wrong[f"cast {due}"] = (
            partial(_cast, rv, due),
            ConfigurationError,
            "timedelta|time zone|give one|at most|between the years",
        )
    return wrong


def _wait(rv: Doors, door: str, timeout: Any) -> Any:
    account = rv.ref(Account, "a")
    what = {"call": account.deposit, "reply": lambda _: new_id(0), "delete": lambda _: account}[door](1)
    return getattr(rv, door)(what, timeout=timeout)


def _cast(rv: Doors, due: dict[str, Any]) -> Any:
    return rv.cast(rv.ref(Account, "a").deposit(1), **due)


async def test_every_wrong_use_is_told_in_words_and_sends_nothing(app: Revenant, connection: Connection) -> None:
    for what, (use, expected, words) in sendings(app).items():
        with pytest.raises(expected, match=words) as caught:
            await use()
        assert type(caught.value) is expected, what
    assert await nothing_is_there(connection)


async def test_every_wrong_use_is_told_in_words_to_blocking_code(app: Revenant, connection: Connection) -> None:
    def program() -> None:
        with app.sync() as rv:
            for what, (use, expected, words) in sendings(rv).items():
                with pytest.raises(expected, match=words) as caught:
                    use()
                assert type(caught.value) is expected, what

    await asyncio.to_thread(program)
    assert await nothing_is_there(connection)


async def nothing_is_there(connection: Connection) -> bool:
    sent = await value(connection, "select count(*) from revenant.messages")
    scheduled = await value(connection, "select count(*) from revenant.scheduled")
    return bool(sent == scheduled == 0)


async def test_a_connection_of_the_other_door_is_refused(app: Revenant, database: str, connection: Connection) -> None:
    message: Any = app.ref(Account, "a").deposit(1)
    with psycopg.connect(database) as blocking, pytest.raises(ConfigurationError, match=r"app\.sync\(\)"):
        await app.cast(message, connection=blocking)  # type: ignore[arg-type]  # the mistake that is told

    def program() -> None:
        with app.sync() as rv, pytest.raises(ConfigurationError, match=r"await app\.cast"):
            rv.cast(message, connection=connection)  # type: ignore[arg-type]  # the mistake that is told

    await asyncio.to_thread(program)
    assert await nothing_is_there(connection)


@pytest.mark.parametrize("kind", [None, 5, dict, Revenant, Account(), "", "a\0b", "\ud800", "k" * 129], ids=repr)
async def test_what_is_no_kind_is_refused(app: Revenant, kind: Any) -> None:
    for rv in (app, app.sync()):
        with pytest.raises(ConfigurationError, match="kind"):
            rv.ref(kind, "k")


@pytest.mark.parametrize("key", [None, 5, b"k", ""], ids=repr)
async def test_what_is_no_key_is_refused(app: Revenant, key: Any) -> None:
    for rv in (app, app.sync()):
        with pytest.raises(InvalidKey):
            rv.ref(Account, key)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"entities": Account}, "list of entity classes"),
        ({"entities": "Account"}, "list of entity classes"),
        ({"entities": None}, "list of entity classes"),
        ({"entities": [dict]}, "not a subclass of Entity"),
        ({"entities": [Account()]}, "not a subclass of Entity"),
        ({"database_url": 5}, "database_url= takes"),
        ({"settings": {}}, "settings= takes"),
        ({"jobs": "jobs"}, "jobs= takes"),
    ],
    ids=repr,
)
def test_an_application_says_what_it_is_made_of(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Revenant(**given)


def test_a_worker_says_what_its_kinds_are(settings: Settings) -> None:
    app = Revenant(entities=[Account], database_url="postgresql://nowhere", settings=settings)
    with pytest.raises(ConfigurationError, match=r"kinds=\['Account'\]"):
        app.worker(kinds="Account")


async def test_a_reply_that_does_not_fit_keeps_its_words(app: Revenant, worker: Worker) -> None:
    message_id = await app.cast(app.ref(Account, "a").deposit(5), idempotency_key="k")
    with pytest.raises(ReplyInvalid, match="was handled") as caught:
        await app.reply(message_id, returns=list[str])
    assert caught.value.body == "5"


def test_the_longest_times_are_stored_and_read_again(database: str, settings: Settings) -> None:
    with Revenant(entities=[Account], database_url=database, settings=settings).sync() as rv:
        ref = rv.ref(Account, "a")
        for after in (LONGEST, -LONGEST):
            rv.cast(ref.deposit(1), after=after)
        for at in (datetime(YEARS[-1], 12, 31, tzinfo=UTC), datetime(YEARS[0], 1, 1, tzinfo=UTC)):
            rv.cast(ref.deposit(1), at=at)
    with psycopg.connect(database, options="-c timezone=Pacific/Kiritimati") as connection:
        assert len(connection.execute("select due from revenant.scheduled").fetchall()) == 4


def test_refs_are_copied_as_they_are_and_nothing_that_is_bound_is_pickled(database: str, settings: Settings) -> None:
    account = Revenant(entities=[Account], database_url=database, settings=settings).ref(Account, "a")
    for alike in (copy.copy(account), copy.deepcopy({"ref": account})["ref"]):
        assert alike is account
    with pytest.raises(ConfigurationError, match=r"kind and its key.*app\.ref\('Account', 'a'\)"):
        pickle.dumps(account)
    for double in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(ConfigurationError, match="Build another one"):
            double(account.deposit(1))


def test_a_worker_takes_its_kinds_from_anything_that_gives_them_once(database: str, settings: Settings) -> None:
    app = Revenant(entities=[Account, Ledger], database_url=database, settings=settings)
    assert app.worker(kinds=(kind for kind in ["Account"]))._kinds == ["Account"]
