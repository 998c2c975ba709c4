"""What the command prints of runs on a real Postgres is what `replay` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from revenant.errors import Nondeterministic
from revenant.testing import replay, replay_all
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.acceptance.command import revenant, running
from tests.moves import move_by_air

pytestmark = pytest.mark.acceptance


@workflow(name="move", version=2)
async def another_move(flow: Flow, what: str) -> str:
    await flow.sleep(1)
    return what


def printed(*words: str, url: str) -> str:
    ended = revenant("run", *words, url=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_histories_that_the_command_prints_are_replayed_and_compared_with_today_s_code(
    database: str, tmp_path: Path
) -> None:
    with running("worker", "--app", "tests.moves:both", url=database) as worker:
        worker.until_said("serves")
        for number in (1, 2):
            printed("start", "move", f"m {number}", '"a vase"', url=database)
        printed("signal", "m 1", "go", "why=today", url=database)
        printed("start", "move", "m 1", '"a vase"', "--wait", url=database)
        history = printed("history", "m 1", "-o", "json", url=database)
        lines = printed("history", "m 1", "-o", "ndjson", url=database)
        file = tmp_path / "runs.jsonl"
        printed("export", "m 1", "m 2", "--to", str(file), url=database)
    for text in (history, lines):
        done = replay(text, move_by_air)
        assert (done.status, done.result) == ("completed", "packed a vase, flown by air")
    ended, waiting = sorted(replay_all(file, move_by_air), key=lambda one: str(one.id))
    assert (ended.id, ended.result) == ("m 1", "packed a vase, flown by air")
    assert (waiting.id, waiting.status) == ("m 2", "open")
    with pytest.raises(Nondeterministic, match=r"step 'pack'.*timer 'sleep'"):
        replay(history, another_move)
