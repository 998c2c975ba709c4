"""The commands against a real Postgres: exit codes, formats, pipes; and never a password."""

from __future__ import annotations

import csv
import io
import json
import logging
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from revenant.cli import main
from tests.acceptance.command import APP, COMMAND, ROOT, environment, is_alive, revenant, running, wait_for

pytestmark = pytest.mark.acceptance
FORMATS = ("table", "json", "ndjson", "csv")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets the log up for its process, which is ours here."""
    loggers = [logging.getLogger(name) for name in (None, "psycopg", "procrastinate")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def within(url: str, *words: str) -> Result:
    """Run the command in this process, which is quicker than starting one."""
    cleared = {name: None for name in environment(None) if name.startswith("REVENANT")}
    result = CliRunner().invoke(main, list(words), env={**cleared, "DATABASE_URL": url})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def parsed(output: str, form: str) -> list[dict[str, Any]]:
    """Read what was printed, as its readers do."""
    match form:
        case "json":
            found = json.loads(output)
            return found if isinstance(found, list) else [found]
        case "ndjson":
            return [json.loads(line) for line in output.splitlines()]
        case "csv":
            return list(csv.DictReader(io.StringIO(output)))
        case _:
            names, *lines = output.splitlines()
            assert "\x1b" not in output
            return [dict(zip(names.split(), line.split(), strict=False)) for line in lines]


@pytest.fixture
def served(database: str) -> Iterator[str]:
    """A database with a worker process."""
    words = ("worker", "--app", APP, "--jobs", "0", "--lanes", "1")
    with running(*words, url=database, REVENANT_CAST_ATTEMPTS="1") as worker:
        yield database
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0


@pytest.fixture
def stocked(database: str) -> str:
    """A database with entities, waiting messages and dead letters, and nobody at work."""
    with psycopg.connect(database) as connection:
        connection.execute(
            """
            insert into revenant.entities (bucket, kind, key, version, vsn, state, applied)
            select revenant.bucket_v1('Account', key), 'Account', key, 1, 1, '{"balance": 7}', 0
            from (select 'k' || n as key from generate_series(1, 1200) as n union all values (E'odd "key",\n\x1b[31m')) as k
            """
        )
        connection.execute(
            """
            insert into revenant.messages (bucket, kind, key, id, handler, args)
            select b, 'Account', key, overlay(gen_random_uuid()::text placing lpad(to_hex(b::int), 2, '0') from 35)::uuid,
                'deposit', '{"amount": 1}'
            from (values ('k1'), ('k1'), ('nobody')) as k (key), revenant.bucket_v1('Account', key) as b
            """
        )
        connection.execute(
            """
            insert into revenant.dead (bucket, kind, key, id, handler, args, attempts, error, sent_at)
            select b, 'Account', key, overlay(gen_random_uuid()::text placing lpad(to_hex(b::int), 2, '0') from 35)::uuid,
                'deposit', '{"amount": 1}', 5, '{"type": "Broken", "message": "no"}', now()
            from (values ('k2'), ('k3')) as k (key), revenant.bucket_v1('Account', key) as b
            """
        )
    return database


def test_a_call_prints_its_reply_and_exits_by_what_came_of_it(served: str) -> None:
    replied = revenant("call", "Account", "a", "deposit", "amount=5", url=served, anew=True)
    assert (replied.returncode, replied.stdout, replied.stderr) == (0, "5\n", "")
    words = within(served, "call", "Account", "a", "note", "word=a b").stdout
    assert json.loads(words) == ["a b"]
    by_document = within(served, "call", "Account", "a", "deposit", "--args", "[1]", "--idempotency-key", "x")
    again = within(served, "call", "Account", "a", "deposit", "--args", "[1]", "--idempotency-key", "x")
    assert by_document.stdout == again.stdout == "6\n"
    failed = within(served, "call", "Account", "a", "fail", "amount=1")
    assert failed.exit_code == 1
    assert "Account('a').fail raised" in failed.stderr
    for typed in (["ls", "\udcff"], ["call", "Account", "a", "deposit", "amount=\udcff"]):
        assert within(served, *typed).exit_code == 2, "what is no text is not sent"
    for refused in (["deposit", "amount=x"], ["deposit"], ["withdraw"]):
        result = within(served, "call", "--app", APP, "Account", "a", *refused)
        assert result.exit_code == 2
        assert "Account('a')" in result.stderr
        assert not result.stdout
    for refusal in (["withdraw"], ["deposit", "amount=x"], ["deposit", "--args", "[2]", "--idempotency-key", "x"]):
        assert within(served, "call", "Account", "a", *refusal).exit_code == 1, "a reply of the worker's"
    unknown = within(served, "call", "--app", APP, "Acount", "a", "deposit")
    assert "No entity is of kind 'Acount'" in unknown.stderr


def test_a_call_without_a_reply_is_honest_about_it(database: str) -> None:
    result = within(database, "call", "Account", "a", "deposit", "amount=5", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "unknown" in result.stderr
    with psycopg.connect(database) as connection:
        (message,) = connection.execute("select id::text from revenant.messages").fetchone() or ("",)
    assert message in result.stderr


@pytest.mark.usefixtures("ctrl_c_counts")
def test_ctrl_c_ends_a_waiting_call_without_a_traceback(database: str) -> None:
    with (
        running("call", "Account", "a", "deposit", "amount=5", "--timeout", "30", url=database, anew=True) as call,
        psycopg.connect(database, autocommit=True) as connection,
    ):
        wait_for(lambda: connection.execute("select from revenant.messages").fetchall())
        call.send(signal.SIGINT)
        assert call.ends() == 130
        assert call.said() == "Interrupted. What was sent may yet be handled.\n"


def test_a_cast_prints_an_id_that_can_be_scheduled_dead_retried_and_dropped(served: str) -> None:
    ids = [
        within(served, "cast", "Account", "b", "deposit", "amount=1", *when).stdout.strip()
        for when in ([], ["--after", "1h"], ["--at", "2099-01-01T00:00:00Z"])
    ]
    assert len(set(ids)) == 3
    keyed = ("--idempotency-key", "its receipt must not answer for the retry")
    dead = within(served, "cast", "Account", "b", "fail", "amount=1", *keyed).stdout.strip()
    with psycopg.connect(served, autocommit=True) as connection:
        wait_for(lambda: connection.execute("select from revenant.dead").fetchall(), what="the dead letter")
    shown = json.loads(within(served, "show", "Account", "b", "-o", "json").stdout)
    assert (shown["state"]["balance"], shown["scheduled"], shown["dead"]) == (1, 2, 1)
    letter = json.loads(within(served, "dead", "show", dead, "-o", "json").stdout)
    assert letter["error"]["message"] == "no"
    assert within(served, "dead", "retry", dead).stdout.strip() == dead
    with psycopg.connect(served, autocommit=True) as connection:
        wait_for(lambda: connection.execute("select from revenant.dead").fetchall(), what="its second death")
    assert within(served, "dead", "drop", dead).exit_code == 0
    for deed in (["drop", dead], ["retry", dead], ["show", dead]):
        assert within(served, "dead", *deed).exit_code == 3


def test_delete_goes_through_the_mailbox_and_not_found_is_3(served: str) -> None:
    assert within(served, "show", "Account", "c").exit_code == 3
    within(served, "call", "Account", "c", "deposit", "amount=1")
    assert within(served, "delete", "Account", "c").exit_code == 0
    assert within(served, "delete", "Account", "c").exit_code == 3
    assert within(served, "show", "Account", "c").exit_code == 3
    unknown = within(served, "delete", "Acount", "c", "--timeout", "20")
    assert unknown.exit_code == 3
    assert "no live worker serves Acount: nothing was sent" in unknown.stderr
    assert within(served, "passivate", "Acount", "c", "--timeout", "20").exit_code == 3
    with psycopg.connect(served) as connection:
        assert connection.execute("select from revenant.messages").fetchall() == []
    fleet = parsed(within(served, "workers", "-o", "ndjson").stdout, "ndjson")
    one, *others = fleet
    assert (one["alive"], one["lanes"], one["host"], others) == (True, 1, socket.gethostname(), [])
    assert is_alive(one["pid"])
    assert "Account" in one["kinds"]
    assert 0 <= one["heartbeat_age"] < 8
    wait_for(lambda: parsed(within(served, "workers", "-o", "json").stdout, "json")[0]["turns"] > 0)


def test_delete_sends_nothing_where_there_is_neither_state_nor_a_worker(stocked: str) -> None:
    for key, code in (("nobody", 3), ("k1", 1)):
        ended = within(stocked, "delete", "Account", key, "--timeout", "0.5")
        assert ended.exit_code == code, ended.stderr
        with psycopg.connect(stocked) as connection:
            sent = connection.execute("select from revenant.messages where handler = 'revenant:delete'").fetchall()
        assert len(sent) == (code == 1), "what has state is deleted once there is a worker"


def test_check_tells_how_many_messages_wait_for_newer_code(stocked: str) -> None:
    with psycopg.connect(stocked) as connection:
        connection.execute("update revenant.entities set vsn = 3")
    with running("worker", "--app", APP, "--jobs", "0", url=stocked) as worker:
        worker.until_said("no live worker has a vsn over 1")
        with psycopg.connect(stocked, autocommit=True) as connection:
            wait_for(lambda: connection.execute("select count(*) = 2 from revenant.messages").fetchone() == (True,))
        ended = within(stocked, "check", "-o", "json")
        assert worker.said().count("no live worker has a vsn over 1") == 1, "it is said once"
    assert ended.exit_code == 1
    found = {row["check"]: row for row in parsed(ended.stdout, "json")}
    assert found["workers"]["status"] == "ok"
    assert found["versions"]["found"].startswith("2 messages of 1 Account entity wait: their state is of vsn 3")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_every_listing_parses(stocked: str, form: str) -> None:
    kinds = parsed(within(stocked, "ls", "-o", form).stdout, form)
    first = {name.lower(): value for name, value in kinds[0].items()}
    assert {name: str(first[name]) for name in ("kind", "entities", "waiting", "dead")} == {
        "kind": "Account",
        "entities": "1201",
        "waiting": "3",
        "dead": "2",
    }
    assert len(parsed(within(stocked, "ls", "Account", "-o", form).stdout, form)) == 1201
    assert len(parsed(within(stocked, "ls", "Account", "--limit", "700", "-o", form).stdout, form)) == 700
    assert len(parsed(within(stocked, "ls", "Account", "--waiting", "-o", form).stdout, form)) == 2
    assert parsed(within(stocked, "ls", "Nothing", "-o", form).stdout, form) == []
    assert len(parsed(within(stocked, "dead", "ls", "-o", form).stdout, form)) == 2
    assert parsed(within(stocked, "dead", "ls", "--kind", "Other", "-o", form).stdout, form) == []
    assert parsed(within(stocked, "workers", "-o", form).stdout, form) == []
    assert parsed(within(stocked, "show", "Account", "k1", "-o", form).stdout, form)
    assert parsed(within(stocked, "check", "-o", form).stdout, form)


def test_a_listing_goes_on_behind_a_key(stocked: str) -> None:
    keys = [row["key"] for row in parsed(within(stocked, "ls", "Account", "-o", "json").stdout, "json")]
    assert len(set(keys)) == 1201
    rest = parsed(within(stocked, "ls", "Account", "--after", keys[700], "-o", "json").stdout, "json")
    assert [row["key"] for row in rest] == keys[701:]


def test_all_dead_letters_at_once(stocked: str) -> None:
    assert len(within(stocked, "dead", "retry", "--all").stdout.split()) == 2
    with psycopg.connect(stocked) as connection:
        moved = connection.execute(
            "select distinct attempts from revenant.messages where key in ('k2', 'k3')"
        ).fetchall()
    assert moved == [(0,)]
    assert within(stocked, "dead", "drop", "--all").stdout == ""


def test_a_reader_who_has_seen_enough_is_no_error(stocked: str) -> None:
    command = " ".join(map(shlex.quote, [*COMMAND, "ls", "Account", "-o", "ndjson"]))
    piped = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1"],
        cwd=ROOT,
        env=environment(stocked),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(piped.stdout)["version"] == 1
    assert piped.stderr == ""


def test_migrate_checks_prints_and_migrates(empty_database: str) -> None:
    before = within(empty_database, "migrate", "--check")
    assert before.exit_code == 1
    assert "revenant migrate" in before.stderr
    assert "create table revenant.entities" in within(empty_database, "migrate", "--sql").stdout
    for words in (["ls"], ["call", "Account", "a", "deposit"], ["dead", "ls"]):
        missing = within(empty_database, *words)
        assert missing.exit_code == 1
        assert "revenant migrate" in missing.stderr
    assert within(empty_database, "migrate").exit_code == 0
    assert "Nothing to do" in within(empty_database, "migrate").stderr
    assert within(empty_database, "migrate", "--check").exit_code == 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://somebody:pa55word@127.0.0.1:1/nowhere",
        "host=127.0.0.1 port=1 user=somebody password=pa55word",
        "postgresql://somebody:pa55@word@127.0.0.1:1/nowhere",
    ],
)
def test_an_unreachable_database_is_4_and_its_password_stays_secret(url: str) -> None:
    commands = (
        ["ls"],
        ["check"],
        ["migrate"],
        ["call", "Account", "a", "deposit", "--timeout", "0.2"],
    )
    for words in commands:
        result = within(url, *words)
        assert result.exit_code == 4, words
        assert "127.0.0.1" in result.output
        assert "pa55" not in result.output
        assert "Traceback" not in result.output


def test_a_url_that_cannot_be_read_is_said_without_quoting_it() -> None:
    ended = revenant("ls", url="postgres//somebody:pa55word@127.0.0.1/nowhere", anew=True)
    assert ended.returncode == 2
    assert "cannot be read" in ended.stderr
    assert "pa55word" not in ended.stderr
    assert "Traceback" not in ended.stderr
