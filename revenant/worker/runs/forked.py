"""Forked: the beginning of a run that has a history already: that of another one, up to some step."""

from __future__ import annotations

from typing import Any

from revenant.queue.records import Delivery
from revenant.workflows.arguments import read_args
from revenant.workflows.forking import begins_with
from revenant.workflows.lasting import start_clock
from revenant.workflows.live import LiveRun
from revenant.workflows.replying import reply


def forked_version(delivery: Delivery) -> int | None:
    """Return the version that a run is to be of which begins with a history; None: that is no start of one.

    Raises:
        Unusable: the message can be for no run.
    """
    if delivery.handler != "start" or '"events"' not in delivery.args:
        return None
    args = read_args(delivery)
    return None if args.get("events") is None else args.get("version") or 1


def begin_forked(live: LiveRun, delivery: Delivery, args: dict[str, Any]) -> None:
    """Make a new run one that has that history; its code is run along it, and asks for what comes next.

    Raises:
        ValueError: that is no history.
    """
    history = begins_with(args["events"], live.workflow, args["version"])
    now = live.now
    live.load(history)
    live.now = now
    live.draft.events[:0] = history
    live.draft.given, live.draft.start = len(history), delivery.id
    start_clock(live)
    live.draft.consumed.append(delivery.taken)
    reply(live, delivery, {"run": live.run, "created": True})
