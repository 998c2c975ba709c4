"""Results: runs find those that wait for their ends, by notification, and by looking when that is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import psycopg
from pydantic_core import to_json

from revenant.client.sender import STOPPED
from revenant.codec import bucket_of
from revenant.eventloop import end
from revenant.queue.link import Link
from revenant.queue.records import Reply
from revenant.queue.replies import read_payload
from revenant.queue.runs import read_results, result_id
from revenant.workflows.events import event
from revenant.workflows.results import outcome_of

log = logging.getLogger("revenant.inbox")
POLL_SECONDS = 0.1
"""How often those are looked at whose end somebody else may be told of."""
NET_SECONDS = 1.0
"""How often the others are looked at."""
PAGE = 500


class Address(NamedTuple):
    """A run, as its messages are addressed."""

    kind: str
    key: str


class Ends(Protocol):
    """What tells how runs have ended."""

    def expect(self, kind: str, key: str, *, heard: bool = False) -> Any:
        """Wait for the end of a run; `heard` when this process is about to start it."""

    def forget(self, waiting: Any) -> None:
        """One less waits."""

    async def wait(self, waiting: Any) -> Reply:
        """Wait for the end of a run.

        Raises:
            TimeoutError: it will not be heard of; its text says when that was, as in "before …".
        """
        ...


class Waiting:
    """Those who wait for one run, and the outcome once it is known."""

    __slots__ = ("address", "awaited", "future", "heard", "looked_at", "users")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.users = 0
        self.awaited = 0
        """How many tasks wait right now: nobody else needs it to be looked for."""
        self.heard = False
        """Whether this process is told of the end: it has started the run."""
        self.looked_at = time.monotonic()


class Results:
    """The runs whose ends one process waits for."""

    def __init__(self, *, link: Link, listening: Callable[[], bool]) -> None:
        self._link = link
        self._listening = listening
        self._waiting: dict[str, Waiting] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for ends that were not heard of."""
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name="revenant-results")

    async def stop(self) -> None:
        """Stop looking; whoever waits hears of it. Safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(TimeoutError(f"before {STOPPED}"))
                waiting.future.exception()
        self._waiting.clear()

    def expect(self, kind: str, key: str, *, heard: bool = False) -> Waiting:
        """Wait for the end of a run; `heard` when this process is about to start it."""
        name = result_id(kind, key)
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = self._waiting[name] = Waiting(Address(kind, key))
        waiting.users += 1
        waiting.heard = waiting.heard or heard
        return waiting

    def forget(self, waiting: Waiting) -> None:
        """One less waits."""
        waiting.users -= 1
        name = result_id(*waiting.address)
        if waiting.users <= 0 and self._waiting.get(name) is waiting:
            del self._waiting[name]

    def look(self) -> None:
        """Look at all of them now."""
        for waiting in self._waiting.values():
            waiting.looked_at = 0.0
        self._wake.set()

    async def wait(self, waiting: Waiting) -> Reply:
        """Wait for the end of a run."""
        waiting.awaited += 1
        if not waiting.future.done():
            waiting.looked_at = min(waiting.looked_at, time.monotonic() - POLL_SECONDS)
            self._wake.set()
        try:
            return await asyncio.shield(waiting.future)
        finally:
            waiting.awaited -= 1

    def hear(self, payload: str) -> None:
        """Take a notification in: outcomes, or the ids of those too long for one."""
        replies, ids, _ = read_payload(payload)
        for reply in replies:
            self._settle(reply.id, reply)
        for name in ids:
            waiting = self._waiting.get(name)
            if waiting is not None:
                waiting.looked_at = 0.0
                self._wake.set()

    def _settle(self, name: str, reply: Reply) -> None:
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_result(reply)

    async def _forever(self) -> None:
        while True:
            if not any(map(_is_open, self._waiting.values())):
                await self._wake.wait()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the poll's own rhythm
            self._wake.clear()
            await self.run_once()

    async def run_once(self) -> None:
        """Look at those that are to be looked at."""
        now = time.monotonic()
        due = [one for one in self._waiting.values() if _is_open(one) and self._is_due(one, now)]
        connection = None
        try:
            for start in range(0, len(due), PAGE):
                page = due[start : start + PAGE]
                connection = await self._link.connection()
                rows = await read_results(connection, [(bucket_of(*one.address), *one.address) for one in page])
                for one in page:
                    one.looked_at = now
                for slot, row in rows.items():
                    self._take(page[slot].address, row)
        except (psycopg.Error, OSError) as error:
            if connection is not None:
                await self._link.reset(error, only=connection)

    def _is_due(self, waiting: Waiting, now: float) -> bool:
        pause = NET_SECONDS if waiting.heard and self._listening() else POLL_SECONDS
        return waiting.looked_at + pause <= now

    def _take(self, address: Address, row: tuple[int, str, datetime, str]) -> None:
        seq, type, at, data = row
        last = event(seq, type, None, at, data)
        status, body = outcome_of(*address, last)
        self._settle(result_id(*address), Reply(result_id(*address), status, last.seq, to_json(body).decode()))


def _is_open(waiting: Waiting) -> bool:
    return waiting.awaited > 0 and not waiting.future.done()
