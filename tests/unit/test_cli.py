"""The command without a database: what it refuses, and in which words."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from revenant.cli import main
from revenant.cli.arguments import Duration, json_of
from revenant.cli.output import print_record, print_rows

ID = "01a2035b-919e-75a7-a2c2-ad91d4718319"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets the log up for its process, which is ours here."""
    loggers = [logging.getLogger(name) for name in (None, "psycopg", "procrastinate")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def invoke(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"REVENANT_APP": None, **environment})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command"),
        (["call", "Account", "a"], "Missing argument 'HANDLER'"),
        (["call", "Account", "a", "deposit", "5"], "'5' is not of the form NAME=VALUE"),
        (["call", "Account", "a", "deposit", "x=1", "x=2"], "given twice"),
        (["call", "Account", "a", "deposit", "--args", "{"], "not JSON"),
        (["call", "Account", "a", "deposit", "--args", "5"], "an object of named arguments"),
        (["call", "Account", "a", "deposit", "x=1", "--args", "{}"], "not both"),
        (["call", "Account", "a", "deposit", "--timeout", "0"], "range"),
        (["cast", "Account", "a", "deposit", "--after", "5 weeks"], "not a duration"),
        (["cast", "Account", "a", "deposit", "--at", "2026-01-01T00:00:00"], "no time zone"),
        (["cast", "Account", "a", "deposit", "--at", "soon"], "not a time"),
        (["cast", "Account", "a", "deposit", "--after", "99999999999d"], "the longest is 365000d"),
        (["cast", "Account", "a", "deposit", "--after", "9" * 400 + "d"], "the longest is 365000d"),
        (["cast", "Account", "a", "deposit", "--at", "9999-12-31T23:59:59Z"], "between the years"),
        (["call", "Account", "a", "deposit", "--timeout", "nan"], "no number of seconds"),
        (["migrate", "--lock-timeout", "nan"], "no number of seconds"),
        (["call", "Account", "a", "deposit", "--timeout", "soon"], "'soon' is no number of seconds"),
        (["migrate", "--lock-timeout", "0.0001"], "range"),
        (["call", "Account", "a", "deposit", "--timeout", "inf"], "range"),
        (["worker", "--app", "tests.entities:app", "--drain-timeout", "nan"], "no number of seconds"),
        (["worker", "--app", "tests.entities:app", "--lanes", "1000000000"], "range"),
        (["worker", "--app", "tests.entities:app", "--kinds", "Acount"], "No entity is of kind 'Acount'"),
        (["call", "--app", "tests.entities:app", "Acount", "a", "deposit"], "No entity is of kind 'Acount'"),
        (["call", "--app", "tests.entities:app", "Account", "a", "depose"], "has no handler"),
        (["call", "--app", "tests.entities:app", "Account", "a", "deposit", "amount=x"], "amount"),
        (["call", "Account", "", "deposit"], "key"),
        (["show", "Account", "k" * 600], "key"),
        (["delete", "Account", "k" * 600], "key"),
        (["cast", "K" * 200, "a", "deposit"], "kind"),
        (["cast", "Account", "a", "deposit", "--after", "5s", "--at", "2026-01-01T00:00:00Z"], "not both"),
        (["ls", "--after", "k"], "goes with a KIND"),
        (["ls", "-o", "xml"], "'xml' is not one of"),
        (["dead", "retry"], "or --all"),
        (["dead", "drop", ID, "--all"], "or --all"),
        (["dead", "show", "17"], "not a valid UUID"),
        (["migrate", "--check", "--sql"], "not both"),
        (["views", "--drop", "--sql", "--app", "tests.deploys:new"], "not both"),
        (["upgrade", "Parcel"], "Missing option '--app'"),
        (["history", "Parcel", "p", "--since", "yesterday"], "not a time"),
        (["worker"], "Missing option '--app'"),
        (["worker", "--app", "no.such.module:app"], "no module 'no'"),
        (["worker", "--app", "tests/entities.py"], "not of the form module:attribute"),
        (["worker", "--app", "tests.entities:nothing"], "no 'nothing'"),
        (["worker", "--app", "tests.entities:Account"], "not a Revenant"),
        (["worker", "--app", "tests.entities:app", "--processes", "-1"], "range"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(words: list[str], said: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "nonsense"),
        ("REVENANT_CALL_TIMEOUT", "inf"),
        ("REVENANT_REPLY_TTL", "1e300"),
        ("REVENANT_PROCESSES", "-1"),
        ("REVENANT_VALIDATE_STATE", "perhaps"),
        ("REVENANT_PG_BIN", "/there/is/nothing"),
        ("REVENANT_PG_LINGER", "long"),
    ],
)
def test_each_setting_that_does_not_fit_is_2_and_named(variable: str, given: str) -> None:
    environment: dict[str, Any] = {"DATABASE_URL": "postgresql://u:pa55word@127.0.0.1:1/x", variable: given}
    if variable.startswith("REVENANT_PG"):
        environment["DATABASE_URL"] = None
    result = invoke("ls", **environment)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert variable in result.stderr
    assert "pa55word" not in result.output


def test_a_setting_that_does_not_fit_is_2_and_named() -> None:
    result = invoke("ls", REVENANT_LANES="many", DATABASE_URL="postgresql://u:pa55word@127.0.0.1:1/x")
    assert result.exit_code == 2
    assert "REVENANT_LANES" in result.stderr
    assert "pa55word" not in result.output


def test_a_module_that_breaks_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_app_module.py").write_text("x = 1\nraise ValueError('no luck')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    result = invoke("worker", "--app", "broken_app_module:app")
    assert result.exit_code == 1
    assert "ValueError: no luck" in result.stderr
    assert "broken_app_module.py, line 2" in result.stderr
    assert "Traceback" not in result.stderr


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_has_help_and_every_option_a_variable() -> None:
    names = [path for path, _ in commands(main)]
    for name in ("worker", "migrate", "call", "cast", "show", "ls", "delete", "workers", "dead", "check"):
        assert (name,) in names
    for path, command in commands(main):
        assert invoke(*path, "--help").exit_code == 0
        assert (command.help or "").strip().endswith((".", ":")) or "." in (command.help or "")
    assert main.context_settings["auto_envvar_prefix"] == "REVENANT"


def test_a_command_starts_without_what_only_others_need() -> None:
    heavy = ("rich", "revenant.bench", "revenant.demo", "revenant.trial", "revenant.testing")
    code = (
        f"import sys; from revenant.cli import main; main.commands['worker'], main.commands['call']; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_command_that_does_not_exist_is_refused_with_those_that_are_like_it() -> None:
    result = invoke("wrkers")
    assert result.exit_code == 2
    assert "No such command 'wrkers'" in result.stderr


def test_listings_take_an_output_format() -> None:
    listing = [("show",), ("ls",), ("workers",), ("check",), ("dead", "ls"), ("dead", "show")]
    found = dict(commands(main))
    for path in listing:
        assert any(parameter.name == "output" for parameter in found[path].params), path


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        (["amount=5", "name=Ada"], {"amount": 5, "name": "Ada"}),
        (["a=true", "b=null", "c=[1]", 'd={"x": "="}'], {"a": True, "b": None, "c": [1], "d": {"x": "="}}),
        (['zip="01234"', "empty=", "plain=01234"], {"zip": "01234", "empty": "", "plain": "01234"}),
        (["x=NaN", "y=Infinity"], {"x": "NaN", "y": "Infinity"}),
    ],
)
def test_values_are_json_where_they_are_json(pairs: list[str], values: dict[str, object]) -> None:
    assert json.loads(json_of(pairs, None)) == values


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("5", 5), ("1.5m", 90), ("2h", 7200), ("1d", 86400)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == timedelta(seconds=seconds)


def test_a_key_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("table", ("key", "note"), [{"key": "\x1b[31mred\n", "note": "[bold]"}])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert "[bold]" in out


def test_csv_through_a_pipe_has_the_data_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("csv", ["key"], [{"key": "\x1b[31mred"}])
    assert capsys.readouterr().out == "key\n\x1b[31mred\n"


def test_what_begins_with_a_dash_and_is_no_option_is_told_of_the_two_dashes() -> None:
    refused = invoke("run", "start", "checkout", "c1", "-5")
    assert (refused.exit_code, "No such option" in refused.stderr) == (2, True)
    assert "goes behind --" in refused.stderr
    assert "goes behind --" not in invoke("run", "start", "checkout", "c1", "--wiat").stderr


def test_a_record_keeps_its_structure_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_record("json", {"state": {"deep": [1, {"x": None}]}})
    assert json.loads(capsys.readouterr().out) == {"state": {"deep": [1, {"x": None}]}}


@pytest.mark.parametrize(
    ("group", "first"), [("run", ["start", "ls", "show"]), ("dead", ["ls", "show", "retry", "drop"])]
)
def test_commands_are_listed_as_one_needs_them(group: str, first: list[str]) -> None:
    listed = re.findall(r"^  (\w+)  ", invoke(group, "--help").stdout.partition("Commands:")[2], flags=re.MULTILINE)
    assert listed[: len(first)] == first
