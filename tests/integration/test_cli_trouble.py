"""What the command says of a database that is in no state to be used: a paragraph, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from revenant.cli import main
from tests.acceptance import command


@pytest.fixture
def read_only(database: str) -> Iterator[str]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into revenant.dead (bucket, id, kind, key, handler, args, attempts, error, sent_at)"
            " values (0, '01a222bd-901a-758a-8c4f-3e24a1ef4000', 'K', 'k', 'h', '{}', 1, '{}', now())"
        )
        name = connection.info.dbname
        connection.execute(f'alter database "{name}" set default_transaction_read_only = on')
        yield database
        connection.execute("set default_transaction_read_only = off")
        connection.execute(f'alter database "{name}" reset default_transaction_read_only')


def revenant(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"DATABASE_URL": url, "REVENANT_APP": None})


@pytest.mark.parametrize(
    "words",
    [
        ("call", "Account", "a", "deposit", "amount=1"),
        ("cast", "Account", "a", "deposit", "amount=1", "--after", "1h"),
        ("run", "start", "move", "m", '"a vase"'),
        ("dead", "drop", "--all"),
    ],
)
def test_a_database_that_takes_no_writes_is_4_and_says_what_to_do(read_only: str, words: tuple[str, ...]) -> None:
    ended = revenant(read_only, *words)
    assert ended.exit_code == 4, ended.output
    assert "takes no writes: it is read-only" in ended.stderr
    assert "Point DATABASE_URL at the primary" in ended.stderr
    assert "SQL statement" not in ended.stderr


def test_views_are_not_made_where_nothing_can_be_written(read_only: str) -> None:
    ended = command.revenant("views", url=read_only, REVENANT_APP=command.APP)
    assert (ended.returncode, "takes no writes" in ended.stderr, "Traceback" in ended.stderr) == (4, True, False)


def test_check_does_not_send_people_to_check() -> None:
    ended = revenant("postgresql://nobody@127.0.0.1:1/x", "check", "-o", "json")
    assert ended.exit_code == 4
    assert "`revenant check`" not in ended.stdout


@pytest.fixture
def roles(database: str) -> Iterator[dict[str, str]]:
    """URLs of a role that only sends, and of one that only reads."""
    names = {kind: f"{kind}_{uuid4().hex[:12]}" for kind in ("client", "reader")}
    with psycopg.connect(database, autocommit=True) as connection:
        for name in names.values():
            connection.execute(f'create role "{name}"')
            connection.execute(f'grant usage on schema revenant to "{name}"')
        client, reader = names["client"], names["reader"]
        connection.execute(f'grant select, insert on revenant.messages to "{client}"')
        connection.execute(f'grant select, insert, update, delete on revenant.sends to "{client}"')
        connection.execute(f'grant select, delete on revenant.replies to "{client}"')
        connection.execute(f'grant select on all tables in schema revenant to "{reader}"')
        yield {kind: make_conninfo(database, options=f"-c role={name}") for kind, name in names.items()}
        for name in names.values():
            connection.execute(f'drop owned by "{name}"')
            connection.execute(f'drop role "{name}"')


@pytest.mark.parametrize(
    "words", [("call", "Account", "a", "deposit", "amount=1"), ("run", "start", "move", "m"), ("cast", "K", "k", "h")]
)
def test_a_role_that_may_not_send_is_said_to_lack_the_right(roles: dict[str, str], words: tuple[str, ...]) -> None:
    ended = revenant(roles["reader"], *words)
    assert (ended.exit_code, "role lacks a right: permission denied for table sends" in ended.stderr) == (2, True)
    assert "or use another role; `revenant check` says what" in " ".join(ended.stderr.splitlines())
    assert "DATABASE_URL is right" not in ended.stderr


def test_a_role_that_only_sends_signals_runs_of_the_workflow_that_it_names(roles: dict[str, str]) -> None:
    unnamed = revenant(roles["client"], "run", "signal", "m", "go")
    assert (unnamed.exit_code, "permission denied for table run_heads" in unnamed.stderr) == (2, True)
    named = revenant(roles["client"], "run", "signal", "m", "go", "--workflow", "move", "--timeout", "0.3")
    assert (named.exit_code, "has not answered 'signal'" in named.stderr) == (1, True)
