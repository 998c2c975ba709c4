"""Updates, driven by hand: taken, judged, answered once, and the same when the run is read again at any event."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from pydantic_core import from_json

from revenant.errors import ConfigurationError, ReplyNotKept, WaitTimeout
from revenant.queue.failures import error_of
from revenant.workflows import events as e
from revenant.workflows import pending
from revenant.workflows.draft import Draft
from revenant.workflows.flow import Flow
from revenant.workflows.pending import Updates
from revenant.workflows.workflow import workflow
from tests.dry import DryRun, told

judged: list[int] = []


def not_negative(value: int) -> None:
    judged.append(value)
    if value < 0:
        raise ValueError("it is below zero")
    if value == 99:
        sys.exit("it is too much")


limits = [10]


def not_too_big(value: int) -> None:
    if value > limits[0]:
        raise ValueError("it is too big")


@workflow
async def doubles(flow: Flow) -> int:
    request = await flow.update("number", int, validator=not_negative)
    await flow.signal("go")
    await request.reply(request.value * 2)
    return request.value


@workflow
async def late(flow: Flow) -> int:
    await flow.signal("go")
    request = await flow.update("number", int, validator=not_negative)
    await request.reply("thanks")
    return request.value


@workflow
async def lingers(flow: Flow) -> int:
    await flow.signal("go")
    request = await flow.update("number", int, validator=not_too_big)
    await flow.signal("go")
    await request.reply("thanks")
    return request.value


@workflow
async def refuses(flow: Flow) -> None:
    request = await flow.update("number", int)
    await request.refuse("not today")
    await flow.signal("go")


@workflow
async def patient(flow: Flow) -> str:
    try:
        await flow.update("number", int, timeout=60)
    except WaitTimeout as error:
        return error.name
    return "in time"


@workflow
async def answers_twice(flow: Flow) -> None:
    request = await flow.update("number")
    await request.reply(1)
    await request.refuse("after all")


@workflow
async def deaf(flow: Flow) -> Any:
    return await flow.signal("number")


def update(run: DryRun, value: Any, *, origin: str = "a", **more: Any) -> Draft:
    return run.send("update", origin=origin, name="number", payload=value, **more)


def answers(draft: Draft) -> list[tuple[str, str, Any]]:
    """Return who is told what: (channel, status, value or the error's name)."""
    found = []
    for reply, channel in draft.replies:
        body = from_json(reply.body)
        found.append((channel, reply.status, body if reply.status == "ok" else body["error"]))
    return found


def same_when_read_again(run: DryRun) -> None:
    live, read = told(run.live), told(run.reread())
    assert {**live, "view": {**live["view"], "delivered": {}}} == {**read, "view": {**read["view"], "delivered": {}}}


@pytest.mark.parametrize("reload", [False, True])
def test_an_update_is_answered_by_the_code_wherever_the_run_is_read_again(reload: bool) -> None:
    run = DryRun(doubles)
    assert answers(update(run, 4)) == []
    same_when_read_again(run)
    if reload:
        run.reload()
    draft = run.signal("go")
    assert answers(draft) == [("a", "ok", 8)]
    assert [one.type for one in draft.events] == [e.SIGNAL_RECEIVED, e.UPDATE_ANSWERED, e.RUN_COMPLETED]
    for until in range(1, len(run.events) + 1):
        assert run.reread(until=until).problem is None


def test_the_validator_is_asked_once_and_before_the_update_is_taken() -> None:
    judged.clear()
    run = DryRun(doubles)
    refused = update(run, -1)
    assert answers(refused) == [("a", "error", "UpdateRefused")]
    assert [one.type for one in refused.events] == [e.UPDATE_REFUSED]
    assert "below zero" in refused.replies[0][0].body
    assert answers(update(run, 99)) == [("a", "error", "UpdateRefused")]
    assert answers(update(run, "many")) == [("a", "error", "InvalidArguments")]
    update(run, 4)
    assert judged == [-1, 99, 4]
    run.reload()
    run.signal("go")
    assert judged == [-1, 99, 4], "what was taken is judged again by a replay"


def test_an_update_that_comes_early_is_judged_when_the_code_asks() -> None:
    run = DryRun(late)
    assert answers(update(run, -1, origin="bad")) == []
    assert answers(update(run, 2, origin="good")) == []
    same_when_read_again(run)
    run.reload()
    draft = run.signal("go")
    assert sorted(answers(draft)) == [("bad", "error", "UpdateRefused"), ("good", "ok", "thanks")]
    assert run.last().data["result"] == 2
    judged.clear()
    for until in range(1, len(run.events) + 1):
        assert run.reread(until=until).problem is None
    assert set(judged) <= {-1, 2}


def test_what_was_taken_once_is_not_judged_again_by_newer_code(monkeypatch: pytest.MonkeyPatch) -> None:
    run = DryRun(lingers)
    update(run, 7)
    run.signal("go")
    monkeypatch.setattr(sys.modules[__name__], "limits", [5])
    run.reload()
    assert run.live.problem is None
    assert answers(run.signal("go")) == [("a", "ok", "thanks")]
    assert run.types.count(e.UPDATE_REFUSED) == 0


def test_a_run_refuses_an_update_in_its_code() -> None:
    run = DryRun(refuses)
    assert answers(update(run, 1)) == [("a", "error", "UpdateRefused")]
    assert run.events[-2].data["error"]["message"].endswith("refuses update 'number': not today")
    same_when_read_again(run)


def test_an_update_sent_again_is_the_same_one_and_has_the_same_answer() -> None:
    run = DryRun(doubles)
    update(run, 4, id="once")
    update(run, 4, origin="b", id="once")
    same_when_read_again(run)
    run.reload()
    run.tell("signal", name="go")
    draft = run.go_on()
    assert sorted(answers(draft)) == [("a", "ok", 8), ("b", "ok", 8)]
    run = DryRun(refuses)
    update(run, 1, id="once")
    run.reload()
    late_comer = update(run, 1, origin="c", id="once")
    assert answers(late_comer) == [("c", "error", "UpdateRefused")]
    assert late_comer.events == []


def test_a_run_that_ends_tells_those_who_wait() -> None:
    run = DryRun(doubles)
    update(run, 4)
    update(run, 5, origin="b")
    draft = run.send("cancel")
    assert sorted(answers(draft)) == [("a", "error", "RunEnded"), ("b", "error", "RunEnded")]


def test_those_who_were_answered_are_not_told_again_when_the_run_ends() -> None:
    run = DryRun(refuses)
    update(run, 1)
    assert answers(run.signal("go")) == []


def test_an_update_may_be_waited_for_so_long() -> None:
    run = DryRun(patient)
    run.fire(1, "wait")
    assert run.last().data["result"] == "number"
    run = DryRun(patient)
    draft = update(run, 1)
    assert draft.cancels == [run.live.id_of(1, "wait")], "its time-out is left to come"


def test_a_signal_is_no_update_and_an_update_no_signal() -> None:
    run = DryRun(deaf)
    update(run, 1)
    assert run.live.view.status == "running"
    assert 1 in run.open()
    run = DryRun(patient)
    run.signal("number", 1)
    assert 1 in run.open()


def test_answering_twice_fails_the_run_in_words() -> None:
    run = DryRun(answers_twice)
    draft = update(run, 1)
    assert answers(draft) == [("a", "ok", 1)]
    assert run.last().type == e.RUN_FAILED
    assert "answered twice" in run.last().data["error"]["message"]


def test_a_validator_that_waits_is_refused() -> None:
    async def slow(value: int) -> None: ...

    @workflow
    async def hasty(flow: Flow) -> None:
        await flow.update("number", int, validator=slow)

    run = DryRun(hasty)
    assert run.last().type == e.RUN_FAILED
    assert "takes a plain function" in run.last().data["error"]["message"]
    with pytest.raises(ConfigurationError, match="takes a plain function"):
        Flow(host=run.live).update("number", int, validator=slow)


# What goes along with a run that goes on afresh.


def carried(updates: Updates) -> Updates:
    """As Postgres gives it back: the names in an object have an order of its own."""
    return Updates.of(json.loads(json.dumps(updates.recorded(), sort_keys=True)))


def answered(count: int, size: int = 1) -> Updates:
    updates = Updates()
    for number in reversed(range(count)):
        updates.receive({"message": f"m{number}", "origin": "x", "id": f"i{number}"})
        updates.settle({"message": f"m{number}", "status": "ok", "result": "y" * size})
    return updates


def test_the_latest_answers_go_along_and_older_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_IDS", 3)
    updates = carried(answered(10))
    assert list(updates.ids) == ["i2", "i1", "i0"]
    assert list(updates.answers) == ["m2", "m1", "m0"]
    updates.receive({"message": "new", "origin": "x", "id": "new"})
    updates.settle({"message": "new", "status": "ok", "result": 1})
    assert list(carried(updates).ids) == ["i1", "i0", "new"]


def test_answers_go_along_up_to_a_size_and_the_ids_of_the_others_are_known_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 10_000)
    found = carried(answered(10, size=3_000))
    assert list(found.ids) == [f"i{number}" for number in reversed(range(10))]
    kept = [message for message, answer in found.answers.items() if answer is not None and answer["status"] == "ok"]
    assert kept == ["m2", "m1", "m0"]
    # Once more, and nothing is lost by that.
    assert carried(found) == found


def test_one_answer_that_is_large_costs_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 1_000)
    updates = answered(5)
    updates.receive({"message": "huge", "origin": "x", "id": "huge"})
    updates.settle({"message": "huge", "status": "ok", "result": "y" * 2_000})
    found = carried(updates)
    assert list(found.ids) == ["i4", "i3", "i2", "i1", "i0", "huge"]
    assert [found.answers[f"m{number}"] for number in range(5)] == [{"status": "ok", "result": "y"}] * 5
    huge = found.answers["huge"]
    assert huge is not None
    assert isinstance(error_of(huge["error"]), ReplyNotKept)
    assert "nothing was done again" in str(error_of(huge["error"]))


def test_whoever_waits_goes_along_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MOST_IDS", 0)
    updates = Updates()
    for number in range(5):
        updates.receive({"message": f"m{number}", "origin": "x", "id": f"i{number}"})
    updates.join({"message": "again", "origin": "y", "update": "m3"})
    updates.settle({"message": "m0", "status": "ok", "result": 1})
    found = carried(updates)
    assert list(found.ids) == ["i1", "i2", "i3", "i4"]
    assert sorted(found.senders("m3")) == [("again", "y"), ("m3", "x")]
    assert (found.waiting, found.joined) == (updates.waiting, updates.joined)
