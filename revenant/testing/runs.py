"""MemoryRuns: the runs of a memory application: a worker's own runner, which is driven by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic_core import to_json

from revenant.client.records import Records
from revenant.client.run import Run
from revenant.codec import check_key
from revenant.config import Settings
from revenant.entities.address import Address
from revenant.entities.context import Job
from revenant.entities.message import Message
from revenant.eventloop import end
from revenant.queue.records import Reply
from revenant.queue.runs import result_id
from revenant.testing.archive import MemoryArchive
from revenant.testing.store import Store
from revenant.worker.fleet import Fleet
from revenant.worker.lanes.lane import Counters
from revenant.worker.runs.admitting import Admitting
from revenant.worker.runs.runner import Runner
from revenant.workflows.decider import DeciderWorkflow
from revenant.workflows.events import Event
from revenant.workflows.registry import Workflows
from revenant.workflows.results import outcome_of

R = TypeVar("R")
_OWN = "memory"


class MemoryRuns:
    """Takes runs on, by what waits in the store and by what their attempts come to; implements `Sending` and `Ends`.

    Attempts run by themselves, as tasks of the test's event loop; what they come to is taken in when `go_on` is called.
    """

    def __init__(
        self,
        *,
        workflows: Workflows,
        settings: Settings,
        store: Store,
        now: Callable[[], datetime],
        deferred: list[Job],
        call: Callable[[Message[Any], float | None], Awaitable[Any]],
        rest: Callable[[Callable[[], bool]], Awaitable[object]],
    ) -> None:
        self.kinds = frozenset(workflows.kinds)
        self._archive = MemoryArchive(store=store, now=now, deferred=deferred)
        self.records: Records = self._archive
        self._runner = Runner(
            name=_OWN,
            archive=self._archive,
            worker=_OWN,
            settings=settings,
            admitting=Admitting(workflows=workflows, settings=settings, fleet=Fleet(own_id=_OWN)),
            counters=Counters(),
            watch=lambda hints: None,
            ready=asyncio.Event(),
        )
        self._limit = settings.max_bytes
        self._call = call
        self._rest = rest
        self._stuck: set[int] = set()
        """Numbers of messages that nothing can be done about here."""

    @property
    def stuck(self) -> bool:
        """Whether messages to runs wait that cannot be taken in."""
        return bool(self._stuck)

    @property
    def stepping(self) -> bool:
        """Whether attempts are under way."""
        return bool(self._runner.attempts)

    async def go_on(self) -> bool:
        """Take in what waits and what attempts have come to; return whether there was anything."""
        waiting = [hint for hint in self._archive.waiting(self.kinds) if hint.seq not in self._stuck]
        if not waiting and not self._runner.pending:
            return False
        self._runner.docket.add(waiting)
        await self._runner.run_once()
        while len(self._runner.docket):
            await self._runner.run_once()
        left = {hint.seq for hint in self._archive.waiting(self.kinds)}
        self._stuck = (self._stuck & left) | (left & {hint.seq for hint in waiting})
        return True

    async def attempt_ends(self, seconds: float) -> bool:
        """Wait until an attempt has ended; return false if none has within so many seconds."""
        waking = asyncio.create_task(self._runner.docket.wait(None))
        ended, _ = await asyncio.wait(
            {waking, *self._runner.attempts}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        await end(waking)
        return bool(ended)

    def history(self, kind: str, key: str) -> list[Event]:
        """Return the events of a run, as they are stored."""
        return self._archive.history(Address(kind, key))

    # What an application's doors to runs need.

    async def call(self, message: Message[Any], *, timeout: float | None = None) -> Any:
        """Send to a run, and return its reply."""
        return await self._call(message, timeout)

    def run(
        self,
        kind: str,
        key: str,
        *,
        read: Callable[[Any], R],
        heard: bool = False,
        decider: DeciderWorkflow[Any, Any] | None = None,
    ) -> Run[R]:
        """Return the handle of a run."""
        return Run(
            kind=kind,
            key=check_key(kind, key),
            read=read,
            call=self._call,
            results=self,
            records=self.records,
            waiting=None,
            limit=self._limit,
            decider=decider,
        )

    # What tells how runs have ended.

    def expect(self, kind: str, key: str, *, heard: bool = False) -> Address:
        """Return what is waited for."""
        return Address(kind, key)

    def forget(self, waiting: Address) -> None:
        """Do nothing: nobody is told."""

    async def wait(self, waiting: Address) -> Reply:
        """Go on with all that there is until that run has ended."""
        await self._rest(lambda: self._end(waiting) is not None)
        last = self._end(waiting)
        if last is None:
            row = self._archive.row(waiting)
            waits = "there is no such run" if row is None else f"it is {row.status}, and waits for {row.waits or '[]'}"
            raise TimeoutError(f"in memory, where nothing is under way any more ({waits}): move the clock, or send")
        status, body = outcome_of(*waiting, last)
        return Reply(result_id(*waiting), status, last.seq, to_json(body).decode())

    def _end(self, address: Address) -> Event | None:
        row = self._archive.row(address)
        if row is None or row.status not in ("completed", "failed", "cancelled"):
            return None
        return self._archive.history(address)[-1]
