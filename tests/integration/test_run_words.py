"""What the doors of runs say: of runs that there are not, of names that are none, and of what cannot be stored."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from revenant.app import Revenant
from revenant.config import Settings
from revenant.errors import CallTimeout, InvalidArguments, RunEnded, RunFailed, RunNotFound, Unstorable
from revenant.testing import memory_app
from revenant.worker.worker import Worker
from revenant.workflows.flow import Flow
from revenant.workflows.workflow import workflow
from tests.entities import Account
from tests.moves import stay


@pytest_asyncio.fixture
async def app(database: str, settings: Settings) -> AsyncIterator[Revenant]:
    async with Revenant(workflows=[stay, nameless], database_url=database, settings=settings) as application:
        yield application


@workflow
async def nameless(flow: Flow) -> None:
    """Waits for what has no name."""
    await flow.signal("")


async def test_who_waits_for_a_run_is_told_whether_there_is_one(app: Revenant, worker: Worker) -> None:
    with pytest.raises(CallTimeout, match="has no result after 0.2 s. There is no such run yet. Start it") as missing:
        await app.run(stay, "nobody").result(timeout=0.2)
    assert "goes on" not in str(missing.value)
    run = await app.start(stay, "here", id="s")
    with pytest.raises(CallTimeout, match="has no result after 0.2 s. It has not ended: "):
        await run.result(timeout=0.2)


async def test_in_memory_who_waits_for_a_run_is_told_whether_there_is_one() -> None:
    app = memory_app(workflows=[stay])
    with pytest.raises(CallTimeout, match="There is no such run yet"):
        await app.run(stay, "nobody").result(timeout=0.2)


async def test_what_reaches_no_run_says_in_plain_words_what_did_nothing(app: Revenant, worker: Worker) -> None:
    run = app.run(stay, "s")
    with pytest.raises(RunNotFound, match="There is no run 's' of stay; the signal did nothing. Start it first"):
        await run.signal("go")
    with pytest.raises(RunNotFound, match="the decision did nothing"):
        await run.reject("manager", by="ann")
    await app.start(stay, "here", id="s")
    await run.cancel()
    with pytest.raises(RunEnded, match=r"has ended \(cancelled\); parking it did nothing"):
        await run.park()


async def test_a_signal_without_a_name_is_refused_wherever_it_comes_from(app: Revenant, worker: Worker) -> None:
    run = await app.start(stay, "here", id="s")
    with pytest.raises(InvalidArguments, match="The name of a signal is text that is not empty"):
        await run.signal("")
    with pytest.raises(InvalidArguments, match="The id of an update is text that is not empty"):
        await run.update("add", id="")
    # As SQL sends it: past our doors.
    with pytest.raises(InvalidArguments, match="has an empty name or id"):
        await app.call(app.ref("run:stay", "s").signal(name=""))
    assert [event.type for event in await run.history()] == ["run.started", "wait.started"]
    with pytest.raises(RunFailed, match=r"flow.signal\(\) takes a name, and got ''"):
        await (await app.start(nameless, id="n")).result(timeout=20)


async def test_what_cannot_be_stored_at_all_is_called_it(app: Revenant) -> None:
    with pytest.raises(
        Unstorable, match="The payload of 'go' cannot be stored: it is an object, which has no"
    ) as error:
        await app.run(stay, "s").signal("go", object())
    assert error.value.path == "(root)"


async def test_what_is_sent_past_the_flow_is_refused_although_the_application_is_started(
    database: str, settings: Settings
) -> None:
    started: list[Revenant] = []

    @workflow
    async def strays(flow: Flow) -> None:
        await started[0].ref(Account, "a").deposit(1)

    app = Revenant(entities=[Account], workflows=[strays], database_url=database, settings=settings)
    async with app:
        started.append(app)
        serving = app.worker()
        await serving.start()
        run = await app.start(strays, id="r", timeout=20)
        with pytest.raises(RunFailed, match="was sent by the code of a workflow"):
            await run.result(timeout=20)
        assert await app.state(Account, "a") is None
        await serving.stop()
