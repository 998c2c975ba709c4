"""What a decider would decide by is read from its events, without a worker; it is what the decider itself is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import RunNotFound
from revenant.workflows import Command, Complete, Decider, DecisionView, RunStep, Wait
from tests.tools import eventually, value
from tests.waiting import mark

Connection = psycopg.AsyncConnection[Any]
given: list[tuple[Any, ...]] = []


def told(view: DecisionView[Any]) -> tuple[Any, ...]:
    return view.input, view.seq, list(view.outcomes), list(view.signals), view.result("mark", default=None)


class Marks(Decider[str, str]):
    """Marks a word, waits for another, and marks that."""

    steps = (mark,)

    def decide(self, view: DecisionView[str]) -> Command:
        given.append(told(view))
        if not view.results:
            return RunStep(mark, view.input)
        if len(view.waits) < 2:
            return Wait("word")
        return Complete(view.signal("word", str))


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=[Marks], database_url=database, settings=settings) as application:
        yield application


async def test_a_deciders_view_is_read_as_the_decider_had_it(app: Revenant, connection: Connection) -> None:
    worker = app.worker()
    await worker.start()
    run = await app.start(Marks, "first", id="m", timeout=30)
    waits = "select count(*) from revenant.run_events where type = 'wait.started'"
    await eventually(lambda: value(connection, f"{waits} having count(*) = 1"))
    await run.signal("word", "second", timeout=30)
    await eventually(lambda: value(connection, f"{waits} having count(*) = 2"))
    await worker.stop(drain_timeout=5)
    view = await run.state()
    assert isinstance(view, DecisionView)
    # Since it decided last, only the wait that it decided on has been recorded.
    assert told(view)[0] == given[-1][0] == "first"
    assert told(view)[2:] == given[-1][2:]
    assert [one.name for one in view.outcomes] == ["mark", "word"]
    assert (await app.run(Marks, "m").state()).signal("word", str) == "second"
    assert await app.run("Marks", "m").state() is None, "by the name alone, nobody knows that it decides"
    with pytest.raises(RunNotFound):
        await app.run(Marks, "n").state()
