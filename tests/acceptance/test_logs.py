"""What the real worker logs: JSON where that is asked for, and no payload, state or password on any line."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import HandlerError
from tests.acceptance.command import running
from tests.entities import Account, Ledger

SECRET = "4711-is-my-number"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_log_as_json_names_messages_and_holds_nothing_of_theirs(database: str, processes: str) -> None:
    url = make_conninfo(database, password="not-to-be-said")
    settings = Settings(cast_backoff=0.02)
    with (
        Revenant(entities=[Account, Ledger], database_url=database, settings=settings).sync() as rv,
        running(
            *("worker", "--app", "tests.entities:app", "--jobs", "0", "--log-format", "json", "--processes", processes),
            url=url,
            REVENANT_CAST_ATTEMPTS="1",
        ) as worker,
    ):
        worker.until_said("Ready:", times=int(processes))
        rv.call(rv.ref(Account, "a").note(SECRET))
        with pytest.raises(HandlerError, match=SECRET):
            rv.call(rv.ref(Account, "a").fail(1, SECRET))
        letter = rv.cast(rv.ref(Account, "b").fail(1, SECRET))
        with pytest.raises(HandlerError):
            rv.call(rv.ref(Ledger, "l").run([f"select '{SECRET}'::int"]))
        worker.until_said("is a dead letter")
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        said = worker.said()
    assert SECRET not in said
    assert "not-to-be-said" not in said
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    failed = next(line for line in lines if line.get("message_id") == letter and "duration" in line)
    assert (failed["level"], failed["logger"], failed["error"]) == ("info", "revenant.turn", "Broken")
    assert (failed["kind"], failed["key"], failed["handler"], failed["attempt"]) == ("Account", "b", "fail", 1)
    assert 0 <= failed["duration"] < 60
    buried = next(line for line in lines if "is a dead letter" in line["message"])
    assert (buried["level"], buried["message_id"], buried["kind"]) == ("warning", letter, "Account")


def test_at_debug_every_message_is_logged_with_its_duration(database: str) -> None:
    words = ("worker", "--app", "tests.entities:app", "--jobs", "0", "--log-level", "debug", "--log-format", "json")
    with (
        Revenant(entities=[Account], database_url=database).sync() as rv,
        running(*words, url=database) as worker,
    ):
        worker.until_said("Ready:")
        assert rv.call(rv.ref(Account, "a").deposit(5)) == 5
        worker.until_said('"outcome":"ok"')
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        said = worker.said()
    assert [line for line in map(json.loads, said.splitlines()) if line.get("outcome") == "ok"]
