"""Messages to runs that plain SQL may send, whatever is in them: refused or recorded, and none stops its run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_core import from_json

from revenant.entities.message import Message
from revenant.workflows.advancing import advance
from revenant.workflows.arguments import _NEEDS
from revenant.workflows.flow import Flow
from revenant.workflows.retry import Retry
from revenant.workflows.step import step
from revenant.workflows.workflow import workflow
from tests.dry import DryRun, told

UNDO, CALL, CHILD, WORD, ASK, BOSS, OUTSIDE, SLEEP, RETRIED = range(1, 10)


@workflow
async def small(flow: Flow, n: int) -> int:
    return n


@step(external=True, timeout=60)
async def outside(n: int) -> int:
    raise NotImplementedError


async def fails(n: int) -> int:
    return n


async def undo(n: int) -> None: ...


@workflow(timeout=3600)
async def waits_for_all(flow: Flow) -> Any:
    await flow.on_failure(undo, 1)
    message: Message[Any] = Message(kind="Till", key="t", handler="add", args="{}", load=from_json, caller=None)
    return await flow.gather(
        flow.call(message),
        flow.child(small, 1),
        flow.signal("word", int, timeout=60),
        flow.update("ask", int, timeout=60),
        flow.approval("boss", form=int, deadline=60),
        flow.step(outside, 1),
        flow.sleep(60),
        flow.step(fails, 1, retry=Retry(attempts=9)),
        return_exceptions=True,
    )


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 2**31, 2**70, 1.0, 2.0, 1e300, "", "ok", "error", "\0", "timeout", [], [1], [[]], {},
    {"error": []}, {"error": "IntegrityViolation"}, {"error": "AlreadyAnswered"}, {"error": "Unstorable"}, {"type": 1},
]  # fmt: skip
"""What JSON may hold."""
USED = {
    name: [*needs, *{"fire": ["attempt"], "answer": ["body"], "decide": ["form"]}.get(name, ["result", "payload"])]
    for name, needs in _NEEDS.items()
    # A start and a migration are taken in before there is a run, or by whoever knows the versions.
    if name not in ("start", "migrate")
}
"""What is looked at of each message."""


def fitting(run: DryRun, handler: str) -> dict[str, Any]:
    """Return arguments with which the message would do something."""
    op = {"answer": CALL, "finished": CHILD, "step": OUTSIDE, "decide": BOSS, "fire": SLEEP}.get(handler, WORD)
    asked = run.open()[op].asked if op in run.open() else {}
    return {
        "run": run.run, "op": op, "id": asked.get("id"), "status": "error", "attempt": 1, "what": "timer",
        "name": {"signal": "word", "update": "ask"}.get(handler, "boss"), "approved": True, "by": "ann", "form": 1,
        "payload": 1, "result": 1, "body": {"error": "HandlerError", "type": "X", "message": "no"}, "error": {},
    }  # fmt: skip


@pytest.mark.parametrize(("handler", "part"), [(name, part) for name, parts in USED.items() for part in parts])
def test_whatever_sql_sends_a_run_goes_on_and_reads_the_same_again(handler: str, part: str) -> None:
    for odd in [..., *ODD]:
        for status in ("ok", "error"):
            run = DryRun(waits_for_all)
            run.fail(RETRIED)
            args = {**fitting(run, handler), "status": status, part: odd}
            run.tell(handler, origin="revenant_reply_x", **{name: it for name, it in args.items() if it is not ...})
            advance(run.live)
            assert run.live.problem is None
            if run.live.view.status == "blocked":
                # A child of that very run ends with what is not of its type: that is mended by code, and not lost.
                assert (handler, status) == ("finished", "ok"), odd
                assert "cannot be read as the code's type says" in str(run.live.view.problem)
            assert not run.live.view.over
            run.go_on()
            assert all(one.op is None or type(one.op) is int for one in run.events)
            again = run.reread()
            assert told(again)["view"] == told(run.live)["view"]
            again.put_aside()
            run.live.put_aside()
