"""What type checkers see of a flow's waits; see `api.py` for how it is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from revenant import Flow, Revenant, workflow
from revenant.client.approving import Approval
from revenant.workflows.approval import Decision
from revenant.workflows.update import Update


class Form(BaseModel):
    """What is filled in."""

    limit: int


def not_negative(value: int) -> None:
    """Refuse what is below zero."""


@workflow
async def waits(flow: Flow, price: int) -> str:
    """Wait for everything."""
    assert_type(await flow.sleep(1, id="nap"), None)
    assert_type(await flow.sleep_until(datetime.now(UTC), id="then"), None)
    assert_type(await flow.signal("word", str, timeout=timedelta(days=1)), str)
    request = await flow.update("number", int, validator=not_negative, timeout=5)
    assert_type(request, Update[int])
    assert_type(request.value, int)
    assert_type(await request.reply(request.value), None)
    assert_type(await request.refuse("no"), None)
    assert_type(await flow.update("anything"), Update[Any])
    decision = await flow.approval("manager", form=Form, assignee="ann", about={"price": price}, deadline=60)
    assert_type(decision, Decision[Form])
    assert_type(decision.form, Form | None)
    assert_type(await flow.approval("boss", deadline=datetime.now(UTC)), Decision[Any])
    flow.approval("boss", deadline="soon")  # type: ignore[call-overload]  # a duration or a moment is wanted
    return decision.by


app = Revenant(workflows=[waits])


async def approvals_are_answered_by_somebody() -> None:
    for approval in await app.approvals(assignee="ann", workflow=waits):
        assert_type(approval, Approval)
        assert_type(await approval.approve(by="ann", form=Form(limit=1)), None)
        await approval.reject()  # type: ignore[call-arg]  # by whom?
