"""The shape of our SQL: where it lives, how it opens, which clock it reads, what it never does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import revenant.sql
from revenant.sql import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator

SQL = Path(revenant.sql.__file__).parent
PACKAGE = SQL.parent
FILES = sorted(SQL.rglob("*.sql"))
FUNCTIONS = sorted((SQL / "functions").glob("*.sql"))
STATEMENTS = sorted((SQL / "statements").glob("*.sql"))

PLAIN_NAMES = {
    "now": "the clock is one for all versions of the code",
    "cast": "public: people call it in their own SQL",
    "call": "public: people call it in their own SQL",
    "reply": "public: people call it in their own SQL",
    "claim_step": "public: people call it in their own SQL",
    "start": "public: people call it in their own SQL",
    "signal": "public: people call it in their own SQL",
    "cancel_run": "public: people call it in their own SQL",
    "renew_step": "public: people call it in their own SQL",
    "complete_step": "public: people call it in their own SQL",
    "fail_step": "public: people call it in their own SQL",
}
"""Functions without a version in their names, and why."""

OTHER_CLOCKS = {
    "functions/now.sql": "it is the house clock",
    "functions/alive_v1.sql": "whether a process lives is a question of real time, in tests too",
    "functions/bury_v1.sql": "records when a message died; nothing is decided by it",
    "functions/enqueue_one_v1.sql": "as enqueue_v1",
    "functions/enqueue_v1.sql": "a row is written again so that a synchronous standby is waited for; its age is the janitor's affair",
    "functions/heartbeat_v1.sql": "as alive_v1",
    "functions/keep_history_v1.sql": "it drops with its owner's rights, and a session may set revenant.now() as it likes",
    "functions/settle_one_v1.sql": "as settle_v1",
    "functions/settle_runs_v1.sql": "as settle_v1",
    "functions/settle_v1.sql": "says when a row was written and how long to keep it, for tidy_replies_v1",
    "functions/tidy_replies_v1.sql": "as tidy_v1",
    "functions/tidy_v1.sql": "what is old enough to remove is a question of real time, in tests too",
    "functions/tidy_v2.sql": "as tidy_v1",
    "migrations/0006_external_steps.sql": "as 0003, and when a claim has answered is for tidy_v2",
    "migrations/0008_seen_to.sql": "as 0003",
    "migrations/0009_scale.sql": "as 0003",
    "functions/visit_v1.sql": "records since when an entity lives where; nothing is decided by it",
    "migrations/0003_workflows.sql": "the view of stuck runs asks whether workers live, and how long runs have stood, as alive_v1",
    "statements/beat_heart.sql": "as heartbeat_v1",
    "statements/say_doing.sql": "since when an attempt waits, for the view of stuck runs",
    "statements/weigh_deaths.sql": "as alive_v1",
    "statements/count_waiting_jobs.sql": "as count_unfinished",
    "statements/fetch_job.sql": "as count_unfinished",
    "statements/list_foreign_jobs.sql": "as count_unfinished",
    "statements/count_unfinished.sql": "procrastinate's jobs are due by real time",
    "statements/create_clock.sql": "a test's clock begins with real time, unless it is told another",
    "statements/create_migrations.sql": "runs before revenant.now() exists",
}
"""Files that read another clock than `revenant.now()`, and why."""

SQL_IN_PYTHON = {
    ("queue/claim.py", "rollback"): "transaction control of one word",
    ("worker/lanes/ending.py", "abort"): "a word that is looked for, not sent",
    ("worker/lanes/ending.py", "begin"): "as above",
    ("worker/lanes/ending.py", "commit"): "as above",
    ("worker/lanes/ending.py", "rollback"): "as above",
    (
        "worker/lanes/isolation.py",
        "savepoint revenant_",
    ): "psycopg's own door takes it as it is, before a handler's statement",
    (
        "queue/listener.py",
        "listen {}",
    ): "LISTEN takes no parameters; the channel goes in as a quoted identifier",
    (
        "testing/server.py",
        "create database {name}",
    ): "the name of a database is no parameter: it goes in as an identifier",
    ("testing/server.py", "drop database if exists {name}"): "as above",
    ("testing/server.py", "alter database {name}"): "as above",
    ("sql/script.py", "begin; set local"): "the frame of a script that is written, not run",
    ("sql/script.py", "commit;"): "the frame of a script that is written, not run",
}
"""Statements that do live in Python: (module, the statement's first words) and why."""

CLOCK = re.compile(
    r"(?<!revenant\.)\bnow\(\)|\b(?:clock|transaction|statement)_timestamp\(\)|\bcurrent_(?:timestamp|time|date)\b"
    r"|\blocal(?:timestamp|time)\b",
    re.IGNORECASE,
)
QUOTED = re.compile(r"'(?:[^']|\'\')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$", re.DOTALL)
STATEMENT = re.compile(
    r"""\s*\(?\s*(?:
        select\s+(?!an?\b|the\b|one\b)\S | insert\s+into\s | update\s+\S+\s+set\s | delete\s+from\s
        | merge\s+into\s | with\s+\w+\s+as\s | values\s*\( | table\s+\w+$
        | (?:create|alter|drop)\s+(?:or\s+replace\s+)?(?:unique\s+|temp\s+|unlogged\s+)?
          (?:table|index|schema|function|procedure|view|type|role|user|database|extension|trigger|sequence)\b
        | truncate\s | lock\s+table\s | copy\s+\S+\s+(?:from|to)\s | grant\s+\w+\s+on\s | revoke\s+\w+\s+on\s
        | (?:un)?listen\s+(?!is\b)["{*\w] | notify\s+["{\w] | set\s+(?:local|session|constraints)\s | reset\s+\w+$
        | vacuum\b | analyze\b
        | (?:begin|commit|rollback|abort|start\s+transaction)\s*(?:;|$|\s+(?:isolation|read|to)\b)
        | (?:release\s+)?savepoint\s | prepare\s+\w+\s+as\s | do\s+\$ | explain\s
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def name(path: Path) -> str:
    return path.relative_to(SQL).as_posix()


def without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def strings(tree: ast.Module) -> Iterator[str]:
    """Yield every string of a module but its docstrings; of an f-string, each literal part."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("utf-8", "replace")


def statements_in_python() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in strings(ast.parse(path.read_text())):
            if STATEMENT.match(text):
                yield path.relative_to(PACKAGE).as_posix(), " ".join(text.split())


def test_each_file_opens_with_its_promise_and_its_locks() -> None:
    opening = re.compile(r"-- Promise: \S.*\.\n-- Locks: \S.*\.\n")
    assert [name(path) for path in FILES if not opening.match(path.read_text())] == []


def test_sql_lives_in_sql_files() -> None:
    strays = [
        f"{module}: {text}"
        for module, text in statements_in_python()
        if not any(module == home and text.startswith(words) for home, words in SQL_IN_PYTHON)
    ]
    assert strays == [], "\n".join(strays)


def test_every_exception_to_that_is_still_needed() -> None:
    found = list(statements_in_python())
    stale = [
        entry
        for entry in SQL_IN_PYTHON
        if not any(module == entry[0] and text.startswith(entry[1]) for module, text in found)
    ]
    assert stale == [], stale


def test_parameters_have_names_and_stand_outside_quotes() -> None:
    for path in [*STATEMENTS, *(SQL / "psql").glob("*.sql")]:
        text = without_comments(path.read_text())
        assert [quoted[0] for quoted in QUOTED.finditer(text) if re.search(r"%\(\w+\)[sbt]", quoted[0])] == [], path
        assert re.findall(r"%[sbt]\b|\$\d", QUOTED.sub("", text)) == [], path


def test_the_house_clock_is_the_only_clock() -> None:
    found = set()
    for path in FILES:
        text = without_comments(path.read_text())
        if path.parent.name == "migrations":
            text = text.replace("default now()", "")  # says when a row was written; nothing is decided by it
        if CLOCK.search(text) and path.name != "schema.sql":  # which is made of the others
            found.add(name(path))
    assert found == set(OTHER_CLOCKS)


def test_times_have_zones_and_intervals_are_made() -> None:
    for path in FILES:
        text = without_comments(path.read_text())
        assert not re.search(r"\btimestamp\b(?!\s+with\s+time\s+zone)", text, re.IGNORECASE), path
        assert not re.search(r"\|\|[^;]*::interval\b|\binterval\s+'", text, re.IGNORECASE), f"make_interval: {path}"


def test_a_function_file_holds_the_one_function_of_its_name() -> None:
    for path in FUNCTIONS:
        text = without_comments(path.read_text())
        made = re.findall(r"\bcreate\s+(or\s+replace\s+)?(\w+)\s+([\w.]+)\s*\(", text, re.IGNORECASE)
        assert made == [("or replace ", "function", f"revenant.{path.stem}")], path
        assert re.search(r"_v\d+$", path.stem) or path.stem in PLAIN_NAMES, path


def test_statements_are_named_by_a_verb_and_a_noun() -> None:
    assert [path.stem for path in STATEMENTS if not re.fullmatch(r"[a-z]+(_[a-z]+)+", path.stem)] == []


def test_every_statement_is_used_and_every_one_used_exists() -> None:
    named = {
        str(node.args[0].value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) == "statement"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    files = {path.stem for path in STATEMENTS}
    assert named == files, f"no file: {sorted(named - files)}; not used: {sorted(files - named)}"


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    files = sorted(path.name for path in (SQL / "migrations").iterdir())
    assert files == [f"{migration.label}.sql" for migration in migrations()]
    assert [migration.number for migration in migrations()] == list(range(1, len(files) + 1))


def test_a_migration_leaves_the_transaction_and_the_schema_to_migrate() -> None:
    for migration in migrations():
        text = QUOTED.sub("", without_comments(migration.text)).lower()
        assert not re.search(r"(?:^|;)\s*(?:begin|commit|rollback|end)\b", text), migration.label
        # It could not run inside the one transaction:
        assert not re.search(r"\bconcurrently\b", text), migration.label
        # Even `if not exists` needs CREATE on the database; migrate makes the schema where it is missing.
        assert not re.search(r"\bcreate\s+schema\b", text), migration.label
        assert 1 <= migration.compatible_from <= migration.number
