"""The way back: replies find the futures that wait for them, by notification, and by looking when that is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import psycopg

from revenant.client.sender import STOPPED
from revenant.eventloop import end
from revenant.queue.link import Link
from revenant.queue.records import Reply
from revenant.queue.replies import fetch_replies, read_payload

log = logging.getLogger("revenant.inbox")
POLL_SECONDS = 0.1
"""How often the inbox looks for what it cannot hear of: attached replies, and all of them while LISTEN is down."""
NET_SECONDS = 1.0
"""How old a call is before the inbox looks for its reply although LISTEN is in force."""
PAGE = 1000
_NOBODY: Mapping[str, str] = MappingProxyType({})


class Inbox:
    """The replies that one process waits for.

    Invariant: a future is registered before its message is sent, so a reply cannot come too early.
    """

    def __init__(
        self, *, link: Link, read: Callable[[Sequence[str], Mapping[str, str]], None], listening: Callable[[], bool]
    ) -> None:
        self._link = link
        self._read = read
        self._listening = listening
        self._waiting: dict[str, tuple[list[asyncio.Future[Reply]], float]] = {}
        self._attached: set[str] = set()
        self._wanted: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for replies that were not heard of."""
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name="revenant-inbox")

    async def stop(self) -> None:
        """Stop looking; whoever waits hears STOPPED. Safe before start and twice."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)
        for futures, _ in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(TimeoutError(f"before {STOPPED}"))
        self._waiting.clear()

    def expect(self, message_id: str, *, attached: bool = False) -> asyncio.Future[Reply]:
        """Return a future of this message's reply; `attached` when its notification may go to somebody else."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        futures, _ = self._waiting.setdefault(message_id, ([], time.monotonic()))
        futures.append(future)
        if attached:
            self._attached.add(message_id)
            self.look([message_id])
        return future

    def forget(self, message_id: str, future: asyncio.Future[Reply]) -> None:
        """Stop waiting; others may go on to wait for the same reply, and its row stays for whoever attaches later."""
        futures, _ = self._waiting.get(message_id, ([], 0.0))
        if future in futures:
            futures.remove(future)
            if not futures:
                del self._waiting[message_id]
                self._attached.discard(message_id)

    def hear(self, payload: str) -> None:
        """Take a notification in: replies, or the ids of replies too long for one."""
        replies, ids, desks = read_payload(payload)
        self._take(replies, desks)
        if ids:
            self.look(ids)

    def look(self, ids: Iterable[str] | None = None) -> None:
        """Look for these replies now, or for all that anybody waits for."""
        self._wanted.update(self._waiting if ids is None else ids)
        self._wake.set()

    def _take(self, replies: Sequence[Reply], desks: Mapping[str, str] = _NOBODY) -> None:
        read: list[str] = []
        for reply in replies:
            waiting = self._waiting.pop(reply.id, None)
            if waiting is not None:
                self._attached.discard(reply.id)
                heard = [future for future in waiting[0] if not future.done()]
                for future in heard:
                    future.set_result(reply)
                if heard:
                    read.append(reply.id)
        if read:
            self._read(read, desks)

    async def _forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass  # the poll's own rhythm
            self._wake.clear()
            self._want_overdue()
            if self._wanted:
                await self.run_once()

    def _want_overdue(self) -> None:
        self._wanted.update(self._attached)
        if not self._waiting:
            return
        before = time.monotonic() - (NET_SECONDS if self._listening() else 0)
        self._wanted.update(name for name, (_, since) in self._waiting.items() if since < before)

    async def run_once(self) -> None:
        """Look up the replies that are wanted, a page at a time."""
        ids = [name for name in self._wanted if name in self._waiting]
        self._wanted.clear()
        connection = None
        try:
            for start in range(0, len(ids), PAGE):
                connection = await self._link.connection()
                self._take(await fetch_replies(connection, ids[start : start + PAGE]))
        except (psycopg.Error, OSError) as error:
            if connection is not None:
                await self._link.reset(error, only=connection)
