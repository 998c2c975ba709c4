"""What the demo prints at its end, and what it exits with: 1 whenever anything differs from the file."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from revenant.cli import main
from revenant.demo.result import Result

CLEAN = Result(
    flights=27_004, entities=4044, lost=0, doubled=0, mismatched=0, killed=1, seconds=9.876, messages_per_second=2734,
    calls=540, calls_unknown=0, out_of_order=0, call_p50_ms=12.34, call_p99_ms=56.78, recovery_ms=91.2,
    recovery_all_ms=134.5, on_the_way_at_kill=1999, bad_rows=0, scheduled=0, dead_letters=0, workers=2, workers_died=0,
    run="0123", differences=(),
)  # fmt: skip


def demonstrated(result: Result, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, str]:
    """Return the exit code and the output of a demo that came to that."""

    def perform(play: Coroutine[Any, Any, Result]) -> Result:
        play.close()
        return result

    monkeypatch.setattr("revenant.cli.demo.perform", perform)
    ended = CliRunner().invoke(main, ["demo", *options])
    return ended.exit_code, ended.stdout


def test_the_table_has_the_figures_and_their_words(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = demonstrated(CLEAN, monkeypatch)
    assert code == 0
    for words in (
        "nothing lost, nothing twice",
        "27,004   flights told to 4,044 aircraft in 9.9 s",
        "2,734   messages a second, 2 workers",
        "12.3 ms   p50 of 540 sampled calls",
        "56.8 ms   p99",
        "1   workers killed (SIGKILL), 1,999 messages on their way",
        "91.2 ms   from the kill to the next reply",
        "0   lost",
        "0   doubled",
        "0   aircraft that differ from the file",
    ):
        assert words in shown, words
    assert "rows that cannot be read" not in shown


@pytest.mark.parametrize("what", ["lost", "doubled", "mismatched", "out_of_order", "dead_letters", "scheduled"])
def test_whatever_differs_is_shown_and_ends_it_with_1(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change: dict[str, Any] = {what: 3, "differences": ("N1: miles is 1, should be 2",), "bad_rows": 7}
    code, shown = demonstrated(replace(CLEAN, **change), monkeypatch)
    assert code == 1
    assert "the states differ from the file" in shown
    assert "3   " in shown
    assert "7   rows that cannot be read" in shown
    assert "N1: miles is 1, should be 2" in shown
    code, printed = demonstrated(replace(CLEAN, **change), monkeypatch, "--json")
    assert code == 1
    assert json.loads(printed)[what] == 3
