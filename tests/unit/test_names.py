"""Names that flows are given: what no history can hold is refused where it is given, and told in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from revenant.errors import ConfigurationError, RunFailed, UpdateRefused
from revenant.testing import memory_app
from revenant.workflows.flow import Flow
from revenant.workflows.step import Step, step
from revenant.workflows.workflow import workflow

LONE, NUL = "go\udcff", "go\0"


async def echo(number: int) -> int:
    return number


@workflow
async def idle(flow: Flow) -> None:
    """Does nothing."""


Door = Callable[[Flow, Any], Any]
DOORS: list[tuple[str, Door]] = [
    ("flow.signal() got {!r} as its name", lambda flow, name: flow.signal(name)),
    ("flow.update() got {!r} as its name", lambda flow, name: flow.update(name)),
    ("flow.approval() got {!r} as its name", lambda flow, name: flow.approval(name)),
    ("flow.approval() got {!r} as its assignee", lambda flow, name: flow.approval("pay", assignee=name)),
    ("flow.sleep() got {!r} as its id", lambda flow, name: flow.sleep(1, id=name)),
    (
        "flow.sleep_until() got {!r} as its id",
        lambda flow, name: flow.sleep_until(datetime(2026, 1, 1, tzinfo=UTC), id=name),
    ),
    ("flow.step() got {!r} as its idempotency", lambda flow, name: flow.step(echo, 1, idempotency=name)),
    ("flow.patched() got {!r} as its name", lambda flow, name: flow.patched(name)),
    ("step() got {!r} as its name", lambda flow, name: flow.step(step(name=name)(echo), 1)),
    ("The id {!r} of a run of idle holds", lambda flow, name: flow.child(idle, id=name)),
]


@pytest.mark.parametrize("name", [LONE, NUL], ids=["lone surrogate", "NUL"])
@pytest.mark.parametrize(("words", "door"), DOORS, ids=[words.split(" got")[0] for words, _ in DOORS])
async def test_a_name_that_no_history_can_hold_fails_the_run_and_names_the_argument(
    words: str, door: Door, name: str
) -> None:
    @workflow(name="given")
    async def code(flow: Flow) -> None:
        await flow.step(echo, 1)
        await door(flow, name)

    app = memory_app(workflows=[code, idle])
    run = await app.start(code, id="r")
    with pytest.raises(RunFailed) as failed:
        await asyncio.wait_for(run.result(), 5)
    assert words.format(name) in str(failed.value)
    assert [event.type for event in await run.history()][-1] == "run.failed"
    # Whoever else there is goes on.
    await (await app.start(idle, id="other")).result()


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (lambda flow: flow.step(echo, 1, idempotency=7), r"flow.step\(\) takes idempotency= as text .*, and got 7"),
        (lambda flow: flow.step(echo, 1, idempotency=""), 'such as flow.step\\(idempotency="order-42"\\)'),
        (lambda flow: flow.sleep(1, id=3), r"flow.sleep\(\) takes id= as text"),
        (lambda flow: flow.patched(None), r"flow.patched\(\) takes a name, and got None"),
        (lambda flow: flow.approval("pay", assignee=5), r"flow.approval\(\) takes assignee= as text"),
    ],
)
async def test_what_is_no_name_at_all_is_told_in_words(door: Callable[[Flow], Any], words: str) -> None:
    @workflow(name="given")
    async def code(flow: Flow) -> None:
        await door(flow)

    with pytest.raises(RunFailed, match=words):
        await (await memory_app(workflows=[code]).start(code, id="r")).result()


def test_a_step_without_a_name_that_can_be_recorded_is_none() -> None:
    with pytest.raises(ConfigurationError, match="holds a lone surrogate"):
        step(name=LONE)(echo)
    with pytest.raises(ConfigurationError, match="holds a lone surrogate"):
        Step(echo, name=LONE, version=1, options=step(echo).options)


async def test_what_is_said_to_an_update_is_made_text_that_can_be_stored() -> None:
    @workflow
    async def refuses(flow: Flow) -> None:
        def validator(value: Any) -> None:
            raise ValueError(f"not {LONE}, nor {NUL}")

        await flow.gather(flow.update("checked", validator=validator), answer(flow))

    async def answer(flow: Flow) -> None:
        request = await flow.update("asked")
        await request.refuse(LONE)

    app = memory_app(workflows=[refuses])
    run = await app.start(refuses, id="r")
    for name, words in [("checked", r"not go\\udcff, nor go\\0"), ("asked", r"go\\udcff")]:
        with pytest.raises(UpdateRefused, match=words):
            await asyncio.wait_for(run.update(name, 1), 5)
