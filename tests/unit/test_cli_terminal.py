"""Tables in terminals of any width: what is typed or copied from them is in one piece, or the layout is another one."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from revenant.cli.output import fits, print_rows, printer
from revenant.cli.run_ls import COLUMNS, SPARE, problem_of

ID = "01a2239a-df36-744d-a5f8-39b5267f9800"
AT = datetime(2026, 11, 28, 19, 19, 35, tzinfo=UTC)
PROSE = "what was to be undone was not, since the stock had gone away before"
ROW = {"id": ID, "since": AT, "problem": PROSE, "what_to_type": "revenant run show x"}


def plain(text: str) -> str:
    """Return what is read on the screen."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of_width(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return of_width


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 120, 160])
def test_ids_moments_and_commands_are_in_one_piece_at_any_width(
    terminal: Any, columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(columns)
    print_rows("table", tuple(ROW), [ROW, ROW])
    out = plain(capsys.readouterr().out)
    assert out.count(ID) == out.count("2026-11-28 19:19:35+00:00") == out.count("revenant run show x") == 2


def test_a_table_that_has_no_room_has_a_line_for_each_value_and_none_is_lost(
    terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(40)
    print_rows("table", ("id", "host", "problem"), [{"id": ID, "host": None, "problem": PROSE}])
    assert plain(capsys.readouterr().out).splitlines() == [f"id       {ID}", f"problem  {PROSE}"]


def test_prose_is_broken_between_words(terminal: Any, capsys: pytest.CaptureFixture[str]) -> None:
    terminal(80)
    print_rows("table", ("id", "problem"), [{"id": ID, "problem": PROSE}])
    out = plain(capsys.readouterr().out)
    assert "┃" in out
    assert max(map(len, out.splitlines())) <= 80
    assert [word for word in PROSE.split() if word not in out] == []


def test_a_long_list_of_runs_leaves_out_what_can_be_spared_and_says_so(
    terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"workflow": "fulfil", "id": "o-1", "status": "completed", "version": 1, "events": 7}
    row |= {"started_at": AT, "updated_at": AT, "ended_at": AT}

    def shown(columns: int) -> tuple[list[str], str]:
        terminal(columns)
        out = printer("table", COLUMNS)
        out.spare = SPARE
        out.page([row])
        out.page([row])
        out.end()
        said = capsys.readouterr()
        return plain(said.out).splitlines(), said.err

    lines, err = shown(160)
    assert ("ended at" in lines[1], err) == (True, "")
    lines, err = shown(80)
    assert max(map(len, lines)) <= 80
    assert "started at" in lines[1]
    assert "updated at" not in lines[1]
    assert sum("o-1" in line for line in lines) == 2
    assert err.startswith("Left out, for want of room: updated at, ended at. ")
    lines, err = shown(30)
    assert (sum(line.startswith("ended at") for line in lines), err) == (2, "")


def test_no_column_of_a_table_can_be_without_room() -> None:
    assert not fits(("id", "host"), [[ID, "vm"]], 40)
    assert fits(("id", "host"), [[ID, "vm"]], 50)


def test_a_run_that_failed_by_an_exception_without_a_text_is_told_by_its_type() -> None:
    failed = {"reason": "failed", "step_failed": False, "error_type": "LookupError", "problem": "", "status": "failed"}
    assert problem_of(failed) == "LookupError"
    assert problem_of({**failed, "problem": "no card"}) == "LookupError: no card"
    assert problem_of({**failed, "step_failed": True, "problem": "Step a failed"}) == "Step a failed"
