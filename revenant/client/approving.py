"""Approving: an approval as whoever may answer it sees it, and how the answer is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, is_dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel
from pydantic_core import from_json

from revenant.client.records import Records
from revenant.codec import ANYTHING, dump
from revenant.errors import AlreadyAnswered, ConfigurationError, InvalidArguments, RunRefused
from revenant.queue.views import Row
from revenant.wording import a
from revenant.workflows.approving import answered_before
from revenant.workflows.signature import Shape


class Decide(Protocol):
    """Sends a decision about one question."""

    async def __call__(self, decision: dict[str, Any], *, timeout: float | None) -> None:
        """Return once it is recorded."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A question that waits for a person: which run asks it, of whom, and what it is about.

    `form` is the JSON schema of what is to be filled in to approve it; `asked_at` and `due` are moments.

    Example:
        >>> for approval in await app.approvals(assignee="ann"):
        ...     await approval.approve(by="ann", form={"limit": 500})
    """

    workflow: str
    run_id: str
    name: str
    assignee: str | None
    about: Any
    form: Any
    asked_at: datetime
    due: datetime | None
    _decide: Decide = field(repr=False, compare=False)

    async def approve(self, *, by: str, form: Any = None, timeout: float | None = None) -> None:
        """Approve it, with the form filled in; it is recorded when this returns.

        Raises:
            AlreadyAnswered: somebody else has answered it before.
            InvalidArguments: the form is not of the shape that the run's code asks for.
            RunRefused: it is not waited for any more, or its run is blocked; RunEnded, if that has ended.
        """
        await self._decide(approved(by, form), timeout=timeout)

    async def reject(self, *, by: str, reason: str | None = None, timeout: float | None = None) -> None:
        """Reject it; it is recorded when this returns.

        Raises:
            AlreadyAnswered: somebody else has answered it before.
            RunRefused: it is not waited for any more, or its run is blocked; RunEnded, if that has ended.
        """
        await self._decide(rejected(by, reason), timeout=timeout)


def approval_of(row: Row, send: Decide) -> Approval:
    """Return an approval as it was read; `send` reaches its run."""
    told = dict(row)
    which = {"name": row["name"], "run": told.pop("stream"), "op": told.pop("op")}

    async def decide(decision: dict[str, Any], *, timeout: float | None) -> None:
        await send({**which, **decision}, timeout=timeout)

    return Approval(**told, _decide=decide)


def approved(by: str, form: Any) -> dict[str, Any]:
    """Return a decision for it, as what JSON holds.

    Raises:
        Unstorable: the form cannot be written, or would not be read again as what it is.
    """
    limit = 2**30
    if isinstance(form, BaseModel) or (is_dataclass(form) and not isinstance(form, type)):
        # Its own type says whether it is filled in as it must be, before anything is sent.
        written = Shape(type(form), of=f"The form, {a(type(form).__name__)},").write(form, limit=limit)
    else:
        written = from_json(dump(ANYTHING, form, what="The form", limit=limit))
    return {"approved": True, "by": _somebody(by), "form": written, "reason": None}


def rejected(by: str, reason: str | None) -> dict[str, Any]:
    """Return a decision against it."""
    return {"approved": False, "by": _somebody(by), "form": None, "reason": reason}


async def send_decision(
    send: Callable[[dict[str, Any], float | None], Awaitable[Any]],
    records: Records,
    place: tuple[str, str],
    args: dict[str, Any],
    *,
    timeout: float | None,
) -> None:
    """Send a decision to a run; where that has ended since, find out whether it was decided, and by whom."""
    try:
        await send(args, timeout)
    except RunRefused as refused:
        name, stream, op = args["name"], args.get("run"), args.get("op")
        try:
            given = await records.decision(*place, name=name, stream=stream, op=op)
        except ConfigurationError:
            # A role that may send, and not look.
            raise refused from None
        if given is None:
            raise
        if given != {part: args[part] for part in given}:
            text = answered_before(f"Approval {name!r} of run {place[1]!r}", given)
            raise AlreadyAnswered(text, by=given["by"]) from None


def _somebody(by: object) -> str:
    if not isinstance(by, str) or not by:
        raise InvalidArguments(f"A decision says by whom it is, and got by={by!r}. Nothing was sent.")
    return by
