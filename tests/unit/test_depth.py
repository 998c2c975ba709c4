"""Values that are nested deeply: what is recorded is read again as part of an event, or is refused before."""

from __future__ import annotations

from typing import Any

import pytest

from revenant.codec import read_part
from revenant.errors import RunFailed, Unstorable
from revenant.testing import memory_app
from revenant.workflows import events as e
from revenant.workflows.flow import Flow
from revenant.workflows.retry import ONCE
from revenant.workflows.workflow import workflow
from tests.dry import DryRun


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


async def dig(levels: int) -> Any:
    return nested(levels)


@workflow
async def digs(flow: Flow, levels: int) -> Any:
    return await flow.step(dig, levels, retry=ONCE)


@workflow
async def hears(flow: Flow) -> Any:
    await flow.signal("word")
    return flow.continue_as_new()


@pytest.mark.parametrize("levels", [1, 149, 150])
def test_a_value_of_so_many_levels_is_read_as_it_is(levels: int) -> None:
    text = "[" * levels + "1" + "]" * levels
    assert read_part(text, what="It") == nested(levels)


async def test_a_result_that_no_history_could_be_read_with_is_refused() -> None:
    app = memory_app(workflows=[digs])
    assert await (await app.start(digs, 150, id="good")).result() == nested(150)
    for levels in (151, 199, 200):
        run = await app.start(digs, levels, id=f"bad{levels}")
        with pytest.raises(RunFailed, match="nested deeper than 150 levels"):
            await run.result()
        assert e.STEP_SUCCEEDED not in [event.type for event in await run.history()]


@pytest.mark.parametrize("levels", [151, 198])
def test_a_signal_that_no_history_could_be_read_with_is_refused(levels: int) -> None:
    run = DryRun(hears)
    draft = run.signal("word", nested(levels), origin="revenant_reply_x")
    assert e.SIGNAL_RECEIVED not in run.types
    (reply,) = [reply for reply, _ in draft.replies]
    assert "nested deeper than 150 levels" in reply.body
    run.reload()


async def test_an_update_is_not_answered_with_what_could_not_be_read_again() -> None:
    @workflow
    async def answers(flow: Flow) -> None:
        request = await flow.update("ask")
        with pytest.raises(Unstorable, match="nested deeper than 150 levels"):
            request.reply(nested(160))
        await request.reply(nested(140))

    app = memory_app(workflows=[answers])
    run = await app.start(answers, id="r")
    assert await run.update("ask") == nested(140)
