"""Replying: what whoever sent a message to a run is told, in the commit of what the message led to."""

from __future__ import annotations

import logging
from typing import Any

from pydantic_core import to_json

from revenant.queue.records import Delivery, Reply
from revenant.workflows.live import LiveRun

log = logging.getLogger(__name__)


def reply(run: LiveRun, delivery: Delivery, value: Any) -> None:
    """Answer whoever waits for that."""
    tell(run, delivery.id, delivery.origin, "ok", value)


def stand(run: LiveRun, delivery: Delivery, *, changed: bool) -> None:
    """Tell whoever waits for an answer where the run stands, once it has gone on from there."""
    if delivery.origin is not None:
        run.draft.asked.append((delivery.id, delivery.origin, changed))


def refuse(run: LiveRun, delivery: Delivery, error: str, message: str, **more: Any) -> None:
    """Tell whoever waits for an answer why nothing was done."""
    tell(run, delivery.id, delivery.origin, "error", details(error, message, **more))


def tell(run: LiveRun, message: str, channel: str | None, status: str, body: Any) -> None:
    """Reply to a message, if anybody waits for that."""
    if channel is not None:
        run.draft.replies.append((Reply(message, status, run.view.seq, to_json(body).decode()), channel))
    elif status == "error":
        log.info("Message %s for a run did nothing: %s", message, body["message"])


def details(error: str, message: str, **more: Any) -> dict[str, Any]:
    """Return an error as a reply holds it."""
    return {"error": error, "type": error, "message": message, **more}
