"""The timeline of a run in a terminal: a line for each thing that its code asked for, to scale."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest

from revenant import ref
from revenant.cli.timeline import WIDTH, bar, heading, print_timeline
from revenant.workflows import events as e
from revenant.workflows.description import RunDescription, describe
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.workflow import workflow
from tests.dry import DryRun
from tests.entities import Account


async def work(number: int) -> int:
    return number


@workflow(name="long\nname")
async def works(flow: Flow) -> Any:
    await flow.sleep(1)
    return await flow.step(work, 1, retry=Retry(attempts=2))


def described() -> RunDescription:
    run = DryRun(works)
    run.fire(1)
    run.now += timedelta(seconds=1)
    run.live.now = run.now
    run.fail(2, "Broken\x1b[31m")
    run.fire(2, "retry", attempt=2)
    run.now += timedelta(seconds=1)
    run.live.now = run.now
    run.succeed(2, 5)
    first, last = run.events[0].at, run.events[-1].at
    row = {
        "run": run.run, "version": 1, "status": "completed", "seq": len(run.events), "fence": 1, "recoveries": 2,
        "view": None, "problem": None, "started_at": first, "updated_at": last, "ended_at": last, "expires_at": None,
        "owner": "w", "host": None, "pid": None, "alive": False, "messages": 3, "resolved": None,
    }  # fmt: skip
    return describe(works.kind, "r\x1b[31m", row, run.events, earlier=["older"])


def test_bars_are_to_scale_and_show_failed_attempts() -> None:
    run = described()
    timer, step = (bar(run, one) for one in run.operations)
    assert len(timer) == len(step) == WIDTH
    assert timer.rstrip() == "─" * (WIDTH // 4 + 1)
    assert step.startswith(" " * (WIDTH // 4) + "▒")
    assert step.endswith("█")


def test_what_a_run_holds_cannot_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run = described()
    print_timeline(run)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines()[0] == "long\\nname r\\x1b[31m: completed"
    assert [line.split()[:4] for line in out.splitlines()[-2:]] == [
        ["1", "timer", "sleep", "done"],
        ["2", "step", "work", "done"],
    ]
    said = list(heading(run))
    assert "owner: w (no worker that is known, dead)" in said
    assert "recoveries: 2" in said
    assert "messages that wait: 3" in said
    assert "earlier histories: 1" in said


async def undo(what: str) -> None: ...


@workflow(name="undoes")
async def undoes(flow: Flow) -> None:
    await flow.on_failure(undo, "one")
    await flow.on_failure(undo, "two")
    await flow.signal("go")


def ended_row(run: DryRun, status: str) -> dict[str, Any]:
    first, last = run.events[0].at, run.events[-1].at
    return {
        "run": run.run, "version": 1, "status": status, "seq": len(run.events), "fence": 1, "recoveries": 0,
        "view": None, "problem": run.live.view.problem, "started_at": first, "updated_at": last, "ended_at": last,
        "expires_at": None, "owner": None, "host": None, "pid": None, "alive": False, "messages": 0, "resolved": None,
    }  # fmt: skip


def test_why_a_run_was_cancelled_and_what_was_not_undone_stand_above_the_timeline() -> None:
    run = DryRun(undoes)
    run.send("cancel", reason="the customer\nwent")
    closing = describe(undoes.kind, "r", ended_row(run, "running"), run.events, earlier=[])
    assert (closing.closing, closing.reason) == ("cancelling", "the customer\nwent")
    while run.types[-1] != e.RUN_CANCELLED:
        run.fail(run.live.view.highest, "Broken", retryable=False)
    found = describe(undoes.kind, "r", ended_row(run, "cancelled"), run.events, earlier=[])
    assert [one["op"] for one in found.undo_errors] == [2, 1]
    lines = list(heading(found))
    assert "reason: the customer\\nwent" in lines
    assert "undoing failed: undo (operation 2): Broken: no" in lines
    assert "what to do: mend that, then `revenant run resolve --by WHO r`" in lines
    seen = {"by": "ann", "note": "gave it\nback", "at": "2026-01-02"}
    resolved = {**ended_row(run, "cancelled"), "resolved": seen}
    lines = list(heading(describe(undoes.kind, "r", resolved, run.events, earlier=[])))
    assert "resolved: by ann, 2026-01-02: gave it\\nback" in lines
    assert not any(line.startswith(("what to do", "why")) for line in lines)


def test_what_was_not_even_tried_to_be_undone_is_named() -> None:
    run = DryRun(undoes)
    run.tell("cancel", reason="enough")
    run.live.undos.clear()
    run.go_on()
    assert run.types[-1] == e.RUN_CANCELLED
    found = describe(undoes.kind, "r", ended_row(run, "cancelled"), run.events, earlier=[])
    assert (found.reason, found.not_undone) == ("enough", (1, 2))
    assert "not undone: undo (operation 1)" in list(heading(found))


@workflow(name="hears")
async def hears(flow: Flow) -> str:
    return await flow.signal("go", str)


def test_a_wait_ends_when_its_signal_comes_and_the_result_stands_above() -> None:
    run = DryRun(hears)
    began = run.now
    run.now += timedelta(seconds=4)
    run.signal("go", "now\x1b[31m")
    found = describe(hears.kind, "r", ended_row(run, "completed"), run.events, earlier=[])
    (waited,) = found.operations
    assert waited.ended_at == began + timedelta(seconds=5)
    assert r'result: "now\u001b[31m"' in list(heading(found))


@pytest.mark.parametrize("columns", [40, 80, 100, 110, 160])
def test_bars_stay_on_their_line_or_are_left_out_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run = described()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_timeline(run)
    lines = capsys.readouterr().out.splitlines()
    for one in run.operations:
        assert columns < 110 or any(bar(run, one).rstrip() in line for line in lines)
    assert any("timeline" in line for line in lines) == (columns >= 110)


@workflow
async def is_cancelled(flow: Flow) -> None:
    await flow.gather(flow.step(work, 1), flow.sleep(60), flow.call(ref(Account, "a").deposit(1)))


def test_what_is_given_up_is_not_said_to_be_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    run = DryRun(is_cancelled)
    run.send("cancel")
    print_timeline(describe(is_cancelled.kind, "r", ended_row(run, "cancelled"), run.events, earlier=[]))
    lines = {
        words[1]: line
        for line in capsys.readouterr().out.splitlines()
        if (words := line.split())[:1] and len(words) > 1
    }
    assert "not waited for; its effect may be there" in lines["step"]
    assert "not waited for; its effect may be there" in lines["call"]
    assert "cancelled" in lines["timer"]
    assert "effect" not in lines["timer"]
