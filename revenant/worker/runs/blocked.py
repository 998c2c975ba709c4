"""Blocked: a run that cannot be read, or gone on with at all, is blocked where it stands; nothing else suffers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from revenant.codec import as_text
from revenant.queue.records import Delivery
from revenant.queue.runs import Head
from revenant.worker.runs.stage import Staged
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.arguments import Unusable, read_args
from revenant.workflows.draft import Draft
from revenant.workflows.ending import end
from revenant.workflows.events import Event
from revenant.workflows.lasting import start_clock
from revenant.workflows.live import LiveRun
from revenant.workflows.replying import stand
from revenant.workflows.view import View
from revenant.workflows.workflow import Workflow

LONGEST_REASON = 2000
UNREAD = (
    "Its history could not be read when it was cancelled: what it was to undo was not undone, and its children and "
    "what it had asked others for were left as they are."
)


def block_unread(
    address: Address, head: Head, error: Exception, *, workflow: Workflow[Any, Any], now: datetime, limit: int
) -> Staged:
    """Return a run whose history cannot be read, as one that is only to be blocked."""
    live = _stub(address, head.run, workflow, now, limit)
    live.view.seq, live.view.version, live.view.recoveries = head.seq, head.version, head.recoveries
    staged = Staged(live, head.run, head.seq, head.fence, False, head.digest, head.origin, waits="[]", unreadable=True)
    live.record(e.RUN_BLOCKED, None, reason=_reason(address, "The history", error))
    return staged


def end_unread(staged: Staged, first: Event, cancels: Sequence[Delivery]) -> Staged:
    """Return a blocked run whose history cannot be read as one that is only to be cancelled.

    Its first event can be: it says who waits for the end. Whatever came after that is left as it is.
    """
    live = staged.live
    seq, version, recoveries = staged.seq, live.view.version, live.view.recoveries
    live.draft, live.view = Draft(), View()
    live.view.take(first)
    live.view.seq, live.view.version, live.view.recoveries = seq, version, recoveries
    for delivery in cancels:
        live.draft.consumed.append(delivery.taken)
        stand(live, delivery, changed=True)
    end(live, e.RUN_CANCELLED, reason=_given(cancels[0]), note=UNREAD)
    staged.waits = None
    return staged


def _given(cancel: Delivery) -> str | None:
    """Return the reason that somebody gives; None where it cannot be recorded."""
    try:
        return read_args(cancel).get("reason")
    except Unusable:
        return None


def block_stuck(stuck: Staged, error: Exception, *, now: datetime) -> Staged:
    """Return a run that cannot be gone on with, as it is in the database, and as one that is only to be blocked.

    One that is not there yet begins blocked: the message that starts it is taken, and answered.
    """
    old = stuck.live
    stream = stuck.stream or old.run
    live = _stub(old.address, stream, old.workflow, now, old.limit)
    if stuck.stream is None:
        _begin_again(live, old)
    else:
        live.view.seq, live.view.version, live.view.recoveries = stuck.seq, old.view.version, old.view.recoveries
    staged = Staged(
        live, stuck.stream, stuck.seq, stuck.fence, stuck.owned, stuck.digest, stuck.origin, stuck.parent,
        waits="[]", unreadable=True,
    )  # fmt: skip
    live.record(e.RUN_BLOCKED, None, reason=_reason(old.address, "What was to come next", error))
    return staged


def _begin_again(live: LiveRun, old: LiveRun) -> None:
    """Have a run begin as the message that starts it says; what else has come for it stays in its mailbox."""
    given = old.draft.events[: old.draft.given]
    now = live.now
    live.load(given)
    live.now, live.problem = now, None
    live.draft.events += given
    live.draft.consumed = old.draft.consumed[:1]
    live.draft.replies = [one for one in old.draft.replies if one[0].id == old.draft.start]
    start_clock(live)


def _stub(address: Address, run: str, workflow: Workflow[Any, Any], now: datetime, limit: int) -> LiveRun:
    return LiveRun(
        address=address,
        run=run,
        workflow=workflow,
        now=now,
        chance=random.random,
        limit=limit,
        codeless="blocked",
    )


def _reason(address: Address, what: str, error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_REASON]
    return as_text(
        f"{what} of run {address.key!r} of {address.workflow} cannot be told ({text}). Nothing was lost: the log has "
        "the traceback; mend what it names, then `revenant run requeue`."
    )
