"""A run without a database: its messages and its attempts' ends are given by hand, and it is read again at any event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json

from revenant.codec import bucket_of, new_id
from revenant.queue.records import Delivery
from revenant.workflows import attempts
from revenant.workflows import events as e
from revenant.workflows.address import Address
from revenant.workflows.advancing import advance
from revenant.workflows.draft import Draft
from revenant.workflows.events import Event, event
from revenant.workflows.live import LiveRun
from revenant.workflows.operation import Operation
from revenant.workflows.receiving import receive
from revenant.workflows.seen import OperationView
from revenant.workflows.workflow import Workflow

START = datetime(2026, 1, 1, tzinfo=UTC)


class DryRun:
    """One run of a workflow; `events` are those that a database would have."""

    def __init__(self, workflow: Workflow[Any, Any], input: Any = None, *, begin: bool = True, id: str = "r") -> None:
        self.workflow = workflow
        self.address = Address(bucket_of(workflow.kind, id), workflow.kind, id)
        self.run = new_id(self.address.bucket)
        self.events: list[Event] = []
        self.drafts: list[Draft] = []
        self.now = START
        self.live = self._new()
        self.live.record(
            e.RUN_STARTED,
            None,
            workflow=workflow.name,
            version=workflow.version,
            input=workflow.write_input(input, limit=10**6),
        )
        if begin:
            self.go_on()

    def _new(self, workflow: Workflow[Any, Any] | None = None) -> LiveRun:
        return LiveRun(
            address=self.address,
            run=self.run,
            workflow=workflow or self.workflow,
            now=self.now,
            chance=lambda: 0.5,
            limit=10**6,
        )

    def go_on(self) -> Draft:
        """Advance, and commit what it comes to."""
        advance(self.live)
        draft = self.live.take_draft()
        self.events += draft.events
        self.drafts.append(draft)
        return draft

    def tell(self, handler: str, *, origin: str | None = None, **args: Any) -> None:
        """Take a message in, without going on."""
        self.now += timedelta(seconds=1)
        self.live.now = self.now
        made = new_id(self.address.bucket)
        receive(self.live, Delivery(1, "(0,1)", made, handler, to_json(args).decode(), origin, None, 0, None))

    def send(self, handler: str, *, origin: str | None = None, **args: Any) -> Draft:
        """Take a message in, and go on."""
        self.tell(handler, origin=origin, **args)
        return self.go_on()

    def signal(self, name: str, payload: Any = None, **more: Any) -> Draft:
        """Send a signal."""
        return self.send("signal", name=name, payload=payload, **more)

    def fire(self, op: int, what: str = "timer", **more: Any) -> Draft:
        """A scheduled message of the run's own has come due."""
        return self.send("fire", run=self.run, op=op, what=what, **more)

    def succeed(self, op: int, result: Any = None) -> Draft:
        """The attempt under way of a step returns."""
        attempts.succeeded(self.live, op, self.open()[op].attempt, result)
        return self.go_on()

    def fail(self, op: int, type: str = "Broken", *, retryable: bool = True) -> Draft:
        """The attempt under way of a step raises."""
        error = {"error": "RunFailed", "type": type, "message": "no"}
        attempts.failed(self.live, op, self.open()[op].attempt, error, retryable=retryable)
        return self.go_on()

    def open(self) -> dict[int, OperationView]:
        """The operations that are not at their end, by number."""
        return self.live.view.operations

    @property
    def types(self) -> list[str]:
        """The types of the events, in order."""
        return [one.type for one in self.events]

    def last(self) -> Event:
        """The last event."""
        return self.events[-1]

    def reread(self, *, until: int | None = None, workflow: Workflow[Any, Any] | None = None) -> LiveRun:
        """Return the run as it is read from its events, or the first of them, as the database gives them back."""
        live = self._new(workflow)
        live.load([stored(one) for one in self.events[:until]])
        return live

    def reload(self, workflow: Workflow[Any, Any] | None = None) -> DryRun:
        """Go on with the run as it is read from its events."""
        self.workflow = workflow or self.workflow
        self.live.put_aside()
        self.live = self.reread()
        self.live.now = self.now
        return self


def stored(one: Event) -> Event:
    """Return an event as it comes back from the database."""
    return event(one.seq, one.type, one.op, one.at, json.dumps(json.loads(one.text)))


def told(live: LiveRun) -> dict[str, Any]:
    """Return all that a run knows and asks, comparable."""
    view = live.view
    return {
        "view": {name: getattr(view, name) for name in view.__dataclass_fields__},
        "asks": {number: _asked(one) for number, one in live.operations.items()},
        "unrecorded": {number: _asked(one) for number, one in live.unrecorded.items()},
        "undos": {number: one.name for number, one in live.undos.items()},
        "code": None if live.replay is None else sorted(live.replay._waiting),
        "problem": live.problem,
    }


def _asked(operation: Operation[Any]) -> tuple[Any, ...]:
    return operation.type, operation.name, getattr(operation, "args", None)
