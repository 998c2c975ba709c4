"""Approvals, driven by hand: BeamTrail's matrix (approve, reject, deadline, stale later input ignored), and who decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import from_json

from revenant.errors import WaitTimeout
from revenant.workflows import events as e
from revenant.workflows.draft import Draft
from revenant.workflows.flow import Flow
from revenant.workflows.live import LiveRun
from revenant.workflows.workflow import workflow
from tests.dry import START, DryRun, stored, told


class Limit(BaseModel):
    """What a manager fills in."""

    amount: int


@workflow
async def purchase(flow: Flow, price: int) -> list[Any]:
    try:
        decision = await flow.approval(
            "manager", assignee="ann", form=Limit, about={"price": price}, deadline=timedelta(hours=1)
        )
    except WaitTimeout:
        return ["late"]
    await flow.signal("go")
    return [decision.approved, decision.by, decision.form.amount if decision.form else None, decision.reason]


@workflow
async def twice(flow: Flow) -> list[bool]:
    first = await flow.approval("manager")
    second = await flow.approval("manager")
    return [first.approved, second.approved]


@workflow
async def hurried(flow: Flow) -> int:
    place, _ = await flow.race(flow.approval("manager", deadline=60), flow.signal("never mind"))
    await flow.signal("go")
    return place


@workflow
async def by_noon(flow: Flow) -> None:
    await flow.approval("manager", deadline=datetime(2026, 1, 1, 12, tzinfo=UTC))


def approve(run: DryRun, by: str = "ann", /, *, form: Any = None, **more: Any) -> Draft:
    return run.send("decide", origin=by, name="manager", approved=True, by=by, form=form, **more)


def reject(run: DryRun, by: str = "ann", /, *, reason: str | None = None, **more: Any) -> Draft:
    return run.send("decide", origin=by, name="manager", approved=False, by=by, reason=reason, **more)


def outcome(draft: Draft) -> tuple[str, Any]:
    ((reply, _),) = draft.replies
    body = from_json(reply.body)
    return (reply.status, body) if reply.status == "ok" else (body["error"], body.get("by"))


def test_asking_hands_out_a_task() -> None:
    run = DryRun(purchase, 70)
    (draft,) = run.drafts
    task = draft.tasks[1]
    assert (task.type, task.name, task.assignee, task.attempt) == ("approval", "manager", "ann", 1)
    asked = from_json(task.input)
    assert asked["about"] == {"price": 70}
    assert asked["form"]["required"] == ["amount"]
    (deadline,) = draft.schedules
    assert deadline.delay == 3600


@pytest.mark.parametrize("reload", [False, True])
def test_approve(reload: bool) -> None:
    run = DryRun(purchase, 70)
    draft = approve(run, form={"amount": 100})
    assert outcome(draft) == ("ok", True)
    assert draft.withdrawn == {1}
    assert draft.cancels == [run.live.id_of(1, "wait")]
    if reload:
        run.reload()
    run.signal("go")
    assert run.last().data["result"] == [True, "ann", 100, None]


def test_reject() -> None:
    run = DryRun(purchase, 70)
    assert outcome(reject(run, reason="too much")) == ("ok", True)
    run.signal("go")
    assert run.last().data["result"] == [False, "ann", None, "too much"]


def test_deadline() -> None:
    run = DryRun(purchase, 70)
    draft = run.fire(1, "wait")
    assert draft.withdrawn == {1}, "it is still listed"
    assert run.last().data["result"] == ["late"]


def test_stale_later_input_ignored() -> None:
    run = DryRun(purchase, 70)
    approve(run, form={"amount": 100})
    count = len(run.events)
    assert outcome(reject(run, "bob")) == ("AlreadyAnswered", "ann")
    assert outcome(reject(run.reload(), "bob", op=1, run=run.run)) == ("AlreadyAnswered", "ann")
    run.fire(1, "wait")
    assert len(run.events) == count
    run.signal("go")
    assert run.last().data["result"] == [True, "ann", 100, None]
    late = DryRun(purchase, 70)
    late.fire(1, "wait")
    assert outcome(approve(late, form={"amount": 1})) == ("RunEnded", None)
    assert late.last().data["result"] == ["late"]


def test_of_two_who_answer_at_once_one_wins_and_the_other_is_told_by_whom() -> None:
    run = DryRun(purchase, 70)
    run.tell("decide", origin="b", name="manager", approved=False, by="bob")
    run.tell("decide", origin="a", name="manager", approved=True, by="ann", form={"amount": 1})
    draft = run.go_on()
    bodies = [from_json(reply.body) for reply, _ in draft.replies]
    assert bodies[0] is True
    assert (bodies[1]["error"], bodies[1]["by"]) == ("AlreadyAnswered", "bob")
    assert run.types.count(e.APPROVAL_GIVEN) == 1


def test_the_same_answer_sent_again_is_the_same_answer() -> None:
    run = DryRun(purchase, 70)
    approve(run, form={"amount": 100})
    assert outcome(approve(run.reload(), form={"amount": 100})) == ("ok", True)
    assert outcome(approve(run, form={"amount": 101})) == ("AlreadyAnswered", "ann")


@pytest.mark.parametrize("form", [None, {}, {"amount": "much"}])
def test_a_form_that_does_not_fit_is_refused_and_the_question_stands(form: Any) -> None:
    run = DryRun(purchase, 70)
    count = len(run.events)
    assert outcome(approve(run, form=form)) == ("InvalidArguments", None)
    assert len(run.events) == count
    assert outcome(approve(run, form={"amount": 1})) == ("ok", True)


def test_a_decision_before_the_question_is_refused() -> None:
    run = DryRun(twice)
    assert outcome(approve(run, op=2)) == ("RunRefused", None)
    assert outcome(run.send("decide", origin="x", name="boss", approved=True, by="x")) == ("RunRefused", None)


def test_the_oldest_question_of_a_name_is_answered_and_one_that_is_named_by_its_number_is_that_one() -> None:
    run = DryRun(twice)
    approve(run, op=1, run=run.run)
    assert outcome(reject(run, "bob", op=1, run=run.run)) == ("AlreadyAnswered", "ann")
    assert outcome(reject(run, "bob")) == ("ok", True)
    assert run.last().data["result"] == [True, False]


def test_a_question_that_the_code_drops_is_withdrawn() -> None:
    run = DryRun(hurried)
    draft = run.signal("never mind")
    assert draft.withdrawn == {1}
    assert draft.cancels == [run.live.id_of(1, "wait")]
    assert outcome(approve(run)) == ("RunRefused", None)


def test_a_deadline_may_be_a_moment() -> None:
    run = DryRun(by_noon)
    (deadline,) = run.drafts[0].schedules
    assert deadline.due == START.replace(hour=12)
    assert run.open()[1].due == START.replace(hour=12)


def test_a_decision_without_anybody_is_refused() -> None:
    run = DryRun(twice)
    assert outcome(approve(run, "")) == ("InvalidArguments", None)
    assert outcome(run.send("decide", origin="x", name="manager", approved="yes", by="x"))[0] == "InvalidArguments"


def test_a_run_reads_the_same_after_its_decisions() -> None:
    run = DryRun(twice)
    approve(run)
    assert told(run.live) == told(run.reread())


def test_a_decision_about_a_run_whose_code_is_not_run_is_refused_with_why_and_not_by_its_status() -> None:
    run = DryRun(purchase, 70)
    run.live = LiveRun(
        address=run.address, run=run.run, workflow=run.workflow, now=run.now, chance=lambda: 0.5, limit=10**6,
        codeless="It kills its process.",
    )  # fmt: skip
    run.live.load([stored(one) for one in run.events])
    run.live.now = run.now
    run.tell("decide", origin="a", name="manager", approved=True, by="ann", form={"amount": 1})
    ((reply, _),) = run.live.draft.replies
    told = from_json(reply.body)
    assert told["error"] == "RunRefused"
    assert told["message"] == (
        "Run 'r' cannot read a decision now, since its code is not run: It kills its process. Nothing was changed."
    )
