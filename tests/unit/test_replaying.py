"""`replay`: old histories and new code: what fits, what does not, and what is said then."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from revenant import Flow, Retry, Workflow, workflow
from revenant.entities.address import Address
from revenant.errors import ConfigurationError, Nondeterministic, StepFailed
from revenant.testing import memory_app, replay, replay_all
from revenant.workflows.commands import Command, Complete, RunStep
from revenant.workflows.decider import Decider
from revenant.workflows.decisions import DecisionView

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
Flows = Workflow[Any, Any] | type[Decider[Any, Any]]


async def charge(order: str) -> str:
    return f"payment of {order}"


async def ship(order: str) -> str:
    return f"parcel of {order}"


async def fail(order: str) -> str:
    raise ValueError(order)


def named(name: str) -> Callable[[Any], Workflow[Any, Any]]:
    """Mark the code of another day of the same workflow."""
    return workflow(name=name)


@named("order")
async def old(flow: Flow, order: str) -> str:
    paid = await flow.step(charge, order)
    await flow.sleep(timedelta(days=1))
    sent = await flow.step(ship, order)
    return f"{paid}, {sent}"


@named("order")
async def says_it_otherwise(flow: Flow, order: str) -> list[str]:
    first = await flow.step(charge, order)
    await flow.sleep(timedelta(days=3))
    return [first, await flow.step(ship, order)]


@named("order")
async def ships_first(flow: Flow, order: str) -> str:
    sent = await flow.step(ship, order)
    return sent + await flow.step(charge, order)


@named("order")
async def does_not_ship(flow: Flow, order: str) -> str:
    paid = await flow.step(charge, order)
    await flow.sleep(timedelta(days=1))
    return paid


@named("order")
async def breaks(flow: Flow, order: str) -> str:
    prices: dict[str, str] = {}
    return prices[order]


class Mute(Exception):
    """One that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError


@named("order")
async def breaks_without_words(flow: Flow, order: str) -> str:
    raise Mute


@named("order")
async def asks_for_more(flow: Flow, order: str) -> str:
    paid = await old.function(flow, order)
    return str(paid) + await flow.signal("thanks", str)


@named("order")
async def fails_at_the_end(flow: Flow, order: str) -> str:
    await old.function(flow, order)
    raise RuntimeError("of today")


@named("order")
async def patched_at_the_end(flow: Flow, order: str) -> str:
    paid = await flow.step(charge, order)
    await flow.sleep(timedelta(days=1))
    if flow.patched("two parcels"):
        return paid + await flow.step(ship, "another")
    return paid + await flow.step(ship, order)


@named("order")
async def reads_numbers(flow: Flow, order: int) -> str:
    return str(order)


@named("order")
async def undecided(flow: Flow, order: str) -> str:
    if flow.random() < 0.5:
        return str(flow.uuid()) + await flow.step(charge, flow.id)
    return str(flow.uuid()) + await flow.step(ship, flow.id)


@named("order")
async def fails(flow: Flow, order: str) -> str:
    return await flow.step(fail, order, retry=Retry(attempts=1))


@named("order")
async def catches(flow: Flow, order: str) -> str:
    try:
        return await flow.step(fail, order, retry=Retry(attempts=1))
    except StepFailed:
        return await flow.step(charge, order)


@named("order")
async def goes_on(flow: Flow, order: str) -> str:
    await flow.step(charge, order)
    flow.continue_as_new(order)


@workflow(name="order", timeout=timedelta(hours=1))
async def out_of_time(flow: Flow, order: str) -> str:
    return await flow.signal("never", str)


async def history(code: Flows, *, until: timedelta = timedelta(days=2), cancel: bool = False) -> list[dict[str, Any]]:
    """Return the events of a run of this code, as they are printed."""
    app = memory_app(workflows=[code], now=START)
    run = await app.start("order", "tea", id="order-1")
    await app.clock.advance(until)
    if cancel:
        await run.cancel("not wanted")
    return [
        {"seq": one.seq, "at": one.at.isoformat(), "type": one.type, "op": one.op, "data": one.data}
        for one in app._runs.history("run:order", "order-1")
    ]


async def test_code_that_says_the_same_in_other_words_fits() -> None:
    events = await history(old)
    assert replay(events, old).result == "payment of tea, parcel of tea"
    found = replay(events, says_it_otherwise)
    assert (found.status, found.result) == ("completed", ["payment of tea", "parcel of tea"])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ships_first, r"event 2, that operation 1 is step 'charge'.*asks there for step 'ship'"),
        (does_not_ship, r"operation 3 is step 'ship'.*asks there for nothing more: it has returned\."),
        (
            breaks,
            r"operation 1 is step 'charge'.*nothing more: it has raised KeyError: 'tea' \(test_replaying.py, line \d+\)",
        ),
        (breaks_without_words, r"nothing more: it has raised Mute \(test_replaying.py, line \d+\)\. Bring"),
        (asks_for_more, r"event 10, that it has completed.*waits there for wait thanks"),
        (fails_at_the_end, r"has completed.*fails there with RuntimeError: of today"),
        (reads_numbers, r"input.*cannot be read by the code of today"),
    ],
    ids=lambda value: value.function.__name__ if isinstance(value, Workflow) else "",
)
async def test_code_that_does_otherwise_is_refused_and_both_are_shown(code: Workflow[Any, Any], words: str) -> None:
    with pytest.raises(Nondeterministic, match=words):
        replay(await history(old), code)


async def test_a_history_that_goes_on_says_what_is_waited_for() -> None:
    events = await history(old, until=timedelta(hours=1))
    found = replay(events, old)
    assert (found.status, found.waits, found.result) == ("open", ("timer sleep",), None)
    assert replay(events, asks_for_more).status == "open"
    with pytest.raises(Nondeterministic):
        replay(events, ships_first)


async def test_a_patch_keeps_old_histories_on_their_path() -> None:
    assert replay(await history(old), patched_at_the_end).status == "completed"
    assert replay(await history(patched_at_the_end), patched_at_the_end).status == "completed"
    with pytest.raises(Nondeterministic):
        replay(await history(patched_at_the_end), ships_first)


@named("order")
async def thanks_since_lately(flow: Flow, order: str) -> str:
    paid = await flow.step(charge, order)
    await flow.sleep(timedelta(days=1))
    done = f"{paid}, {await flow.step(ship, order)}"
    if flow.patched("thanks"):
        await flow.step(charge, "thanks")
    return done


async def test_a_patch_after_all_that_an_old_run_did_is_none_of_it() -> None:
    assert replay(await history(old), thanks_since_lately).status == "completed"
    assert replay(await history(thanks_since_lately), thanks_since_lately).status == "completed"
    with pytest.raises(Nondeterministic):
        replay(await history(thanks_since_lately), old)


async def test_failures_are_compared_as_well() -> None:
    events = await history(fails)
    found = replay(events, fails)
    assert found.status == "failed"
    assert isinstance(found.error, StepFailed)
    with pytest.raises(Nondeterministic, match=r"it has failed.*waits there for step charge"):
        replay(events, catches)


async def test_what_ends_a_run_from_outside_leaves_the_code_open() -> None:
    assert replay(await history(old, until=timedelta(0), cancel=True), old).status == "open"
    assert replay(await history(out_of_time), out_of_time).status == "open"
    with pytest.raises(Nondeterministic):
        replay(await history(old, until=timedelta(0), cancel=True), ships_first)


async def test_a_fresh_history_is_wished_for_at_the_same_place() -> None:
    events = await history(old, until=timedelta(0))
    paid = next(place for place, one in enumerate(events, 1) if one["type"] == "step.succeeded")
    wish = {"seq": paid + 1, "at": str(START), "type": "run.continued", "op": None, "data": {"input": "tea"}}
    events = [*events[:paid], wish]
    assert replay(events, goes_on).status == "continued"
    with pytest.raises(Nondeterministic, match="it has continued.*waits there for timer sleep"):
        replay(events, old)


async def test_a_run_that_was_blocked_is_tried_with_the_code_of_today() -> None:
    events = await history(old, until=timedelta(hours=1))
    blocked = {**events[-1], "seq": len(events) + 1, "type": "run.blocked", "op": None, "data": {"reason": "why"}}
    assert replay([*events, blocked], old).status == "open"
    with pytest.raises(Nondeterministic):
        replay([*events, blocked], ships_first)


async def test_chance_is_the_same_where_the_stream_is_told() -> None:
    app = memory_app(workflows=[undecided], now=START)
    for number in range(8):
        run = await app.start("order", "tea", id=f"order-{number}")
        result = await run.result()
        row = app._runs._archive.row(Address("run:order", run.id))
        assert row is not None
        events = app._runs.history("run:order", run.id)
        told = [{**one._asdict(), "at": str(one.at)} for one in events]
        exported = json.dumps({"id": run.id, "run": row.stream, "events": told})
        assert replay(exported, undecided).result == result
        assert replay(events, undecided, id=run.id, run=row.stream).result == result


class Deciding(Decider[str, str], name="order"):
    steps = (charge, ship)

    def decide(self, view: DecisionView[str]) -> Command:
        return Complete("done") if view.results else RunStep(charge, view.input)


class DecidingOtherwise(Decider[str, str], name="order"):
    steps = (charge, ship)

    def decide(self, view: DecisionView[str]) -> Command:
        return Complete("done") if view.results else RunStep(ship, view.input)


async def test_deciders_are_run_along_their_histories_too() -> None:
    events = await history(Deciding)
    assert replay(events, Deciding).result == "done"
    with pytest.raises(Nondeterministic, match="step 'charge'.*for step 'ship'"):
        replay(events, DecidingOtherwise)


async def test_files_and_texts_are_read_as_they_are_printed(tmp_path: Path) -> None:
    events = await history(old)
    path = tmp_path / "history.json"
    for text in (json.dumps(events), json.dumps(events, indent=2), "\n".join(map(json.dumps, events))):
        path.write_text(text)
        assert replay(path, old).status == replay(str(path), old).status == replay(text, old).status == "completed"
    lines = [json.dumps({"workflow": "order", "id": f"order-{n}", "run": None, "events": events}) for n in range(3)]
    path.write_text("\n".join(lines))
    assert [found.id for found in replay_all(path, old)] == ["order-0", "order-1", "order-2"]
    with pytest.raises(ConfigurationError, match="3 runs"):
        replay(path, old)
    with pytest.raises(Nondeterministic, match="'order-0'"):
        replay_all(path, ships_first)


@workflow(name="order", version=2)
async def newer(flow: Flow, order: str) -> str:
    return await flow.step(ship, order)


async def test_of_many_histories_those_of_the_code_s_own_version_are_run_along_it(tmp_path: Path) -> None:
    of_1, of_2 = await history(old), await history(newer)
    moved = [of_1[0], {**of_1[1], "type": "run.migrated", "op": None, "data": {"version": 2}}]
    path = tmp_path / "runs.jsonl"
    told = {"a": of_1, "b": of_2, "c": of_1, "moved": moved}
    path.write_text("\n".join(json.dumps({"id": id, "run": None, "events": events}) for id, events in told.items()))
    assert [one.id for one in replay_all(path, old)] == ["a", "c"]
    assert [one.id for one in replay_all(path, newer)] == ["b", "moved"]
    with pytest.raises(Nondeterministic, match="2 of these 2 histories do not fit") as found:
        replay_all(path, newer, version=1)
    assert [one in str(found.value) for one in ("run 'a'", "run 'b'", "run 'c'")] == [True, False, True]
    with pytest.raises(ConfigurationError, match=r"no run of version 7 of 'order' .* are of version 1, 2\. "):
        replay_all(path, old, version=7)


async def test_what_is_told_of_a_history_without_an_id_says_so() -> None:
    with pytest.raises(Nondeterministic, match=r"history of run '\(no id given\)' says"):
        replay(await history(old), ships_first)
    with pytest.raises(ConfigurationError, match="it is empty"):
        replay("", old)


@pytest.mark.parametrize("given", ["", "[]", "{", '[{"seq": 1}]', "[1]", "/nowhere/history.json", '{"events": []}'])
def test_what_is_no_history_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="holds no history"):
        replay(given, old)


async def test_a_history_of_another_workflow_is_refused() -> None:
    other = workflow(name="other")(old.function)
    with pytest.raises(ConfigurationError, match="'order'.*'other'"):
        replay(await history(old), other)
    with pytest.raises(ConfigurationError, match="no run of 'other'"):
        replay_all(await history(old), other)
    with pytest.raises(ConfigurationError, match="no workflow"):
        replay(await history(old), charge)  # type: ignore[call-overload]  # a careless caller
