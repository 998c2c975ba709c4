"""The way out: what tasks send at the same moment leaves in one statement, in the order sent.

Invariant: a batch is sent again until its outcome is known, under the same id, so it arrives exactly once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege

from revenant.client.spent import Rows, Spent
from revenant.codec import new_id
from revenant.errors import Refused, RevenantError, SchemaMismatch
from revenant.eventloop import end
from revenant.queue.connection import lacks_right, refuses_data, unavailable
from revenant.queue.link import Link, brief
from revenant.queue.mailbox import batch_wakes, enqueue, notify
from revenant.queue.records import Envelope

log = logging.getLogger("revenant.sender")
BATCH_MESSAGES = 500
BATCH_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 1800.0
"""How long a batch whose outcome is unknown is tried again: tidy_v1 keeps its mark for an hour."""
STOP_SECONDS = 1.0
"""How long a sender that is stopped goes on to send what waits."""
POLL_SECONDS = 0.005
LOST = (psycopg.OperationalError, psycopg.InterfaceError, OSError)


STOPPED = "the application was stopped"
"""What the TimeoutError says, after "before", that whoever still waits hears when the application stops."""


class Outgoing:
    """One message on its way, and the future of whoever sent it."""

    __slots__ = ("attempted", "envelope", "future")

    def __init__(self, envelope: Envelope, future: asyncio.Future[Any]) -> None:
        self.envelope = envelope
        self.future = future
        self.attempted = False
        """Whether a batch with it has gone to Postgres: from then on, silence means unknown."""


class Sender:
    """Sends for one process, over one connection, one batch at a time."""

    def __init__(self, *, url: str) -> None:
        self._link = Link(url=url, role="client")
        self._outbox: deque[Outgoing] = deque()
        self._under_way: list[Outgoing] | None = None
        self._wake = asyncio.Event()
        self._spent = Spent(self._wake.set)
        self._task: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link:
        """The connection, which the inbox shares to look replies up."""
        return self._link

    async def start(self) -> None:
        """Begin to send; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._forever(), name="revenant-sender")

    async def stop(self) -> None:
        """Send what waits, for a moment while there is a connection, and hang up; safe before start and twice.

        Whoever waits then still hears STOPPED.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._spent.hurry()
        until = time.monotonic() + STOP_SECONDS
        while self._busy() and self._link.last_error is None and time.monotonic() < until:  # noqa: ASYNC110 # bounded
            await asyncio.sleep(POLL_SECONDS)
        self._spent.close()
        left = [*(self._under_way or ()), *self._outbox]
        await end(task)
        for item in left:
            if not item.future.done():
                item.future.set_exception(TimeoutError(f"before {STOPPED}"))
        await self._link.reset()

    def _busy(self) -> bool:
        return bool(self._outbox or self._spent.due) or self._under_way is not None

    def put(self, item: Outgoing) -> None:
        """Queue one message; its future fails if it cannot be sent, and a cast's resolves once it is stored."""
        self._outbox.append(item)
        self._wake.set()

    def withdraw(self, item: Outgoing) -> bool:
        """Take back a message that has not been tried yet; return whether that was possible."""
        if item.attempted:
            return False
        try:
            self._outbox.remove(item)
        except ValueError:
            return False
        return True

    def read(self, ids: Sequence[str], desks: Mapping[str, str]) -> None:
        """Remember that these replies were read: their rows can go, and some channels, `desks`, wait to hear so."""
        self._spent.read(ids, desks)

    async def _forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.run_once()
            except Exception:
                log.exception("Sending failed in a way that it should not; going on.")

    async def run_once(self) -> None:
        """Send all that waits."""
        while self._outbox or self._spent.due:
            # Messages stay in the outbox until there is a connection: until then they can be withdrawn.
            await self._connection()
            items = self._take()
            self._under_way = items
            try:
                await self._deliver(items, self._spent.take())
            finally:
                self._under_way = None

    async def _connection(self) -> psycopg.AsyncConnection[Any]:
        while True:
            connection = await self._link.connection()
            # What goes into a line that is known to be dead was not sent; found out afterwards it is unknown.
            error = _hung_up(connection)
            if error is None:
                return connection
            await self._link.reset(error, only=connection)

    def _take(self) -> list[Outgoing]:
        items: list[Outgoing] = []
        size = 0
        while self._outbox and len(items) < BATCH_MESSAGES and size < BATCH_BYTES:
            item = self._outbox.popleft()
            if not item.future.done():
                items.append(item)
                size += len(item.envelope.args)
        return items

    async def _deliver(self, items: list[Outgoing], spent: Rows) -> None:
        batch = new_id(0)
        until, failures, doubtful = time.monotonic() + RETRY_SECONDS, 0, False
        while True:
            connection = None
            try:
                connection = await self._connection()
                for item in items:
                    item.attempted = True
                hints = await enqueue(
                    connection,
                    batch=batch,
                    settled=spent.batches,
                    envelopes=[item.envelope for item in items],
                    read_ids=spent.replies,
                )
                break
            except Exception as error:  # noqa: BLE001 # whatever it is, it belongs to those who wait
                lost = is_lost(error)
                if not lost and not doubtful:
                    await self._divide(items, error)
                    return
                # From a try that was lost on, no refusal of a later one says that nothing was stored.
                doubtful = doubtful or connection is not None
                if connection is not None:
                    await self._link.reset(error, only=connection)
                if time.monotonic() > until or (not lost and all(item.future.done() for item in items)):
                    # The batch's mark may be gone; or it is refused, nobody waits for it, and others wait behind it.
                    # Those who still wait run into their own time-outs: unknown.
                    return
                await back_off(failures)
                failures += 1
        if not doubtful:
            # A try that was lost may still be on its way to Postgres: its mark stays until no try can live any more.
            self._spent.arrived(batch)
        _confirm_casts(items)
        if hints or spent.heard:
            await self._notify([*batch_wakes(hints, [item.envelope for item in items]), *spent.heard])

    async def _divide(self, items: list[Outgoing], error: Exception) -> None:
        """Postgres refused the batch: find the message that is to blame, and send the others."""
        meaning = meaning_of(error, self._link.url)
        if len(items) > 1 and isinstance(meaning, Refused):
            for item in items:
                item.attempted = False
                await self._deliver([item], Rows())
            return
        for item in items:
            if not item.future.done():
                item.future.set_exception(meaning)

    async def _notify(self, wakes: Sequence[tuple[str, str]]) -> None:
        connection = None
        try:
            connection = await self._link.connection(seconds=1)
            await notify(connection, wakes)
        except (psycopg.Error, OSError) as error:
            # A lost wake-up costs time, not the message: workers look for themselves.
            if connection is not None:
                await self._link.reset(error, only=connection)


def _confirm_casts(items: Sequence[Outgoing]) -> None:
    for item in items:
        if item.envelope.origin is None and not item.future.done():
            item.future.set_result(None)


def is_lost(error: Exception) -> bool:
    """Whether a try ended without a definite answer: the same again may end otherwise, and may have been done."""
    return isinstance(error, LOST) and not refuses_data(error)


async def back_off(failures: int) -> None:
    """Wait before the next try: jittered, up to a second after many failures."""
    await asyncio.sleep(random.uniform(0, min(1.0, 0.005 * 2 ** min(failures, 10))))  # noqa: S311 # jitter, not a secret


def _hung_up(connection: psycopg.AsyncConnection[Any]) -> psycopg.OperationalError | None:
    if connection.lock.locked():
        return None  # somebody waits for an answer, which must not be read here
    try:
        # The first may find the server's last words, and only the second that the line is dead.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.OperationalError as error:
        return error
    return None


def meaning_of(error: Exception, url: str) -> RevenantError:
    """Return what a definite error means to whoever sent the message: nothing was stored."""
    if not isinstance(error, psycopg.DatabaseError):
        return Refused(f"The message could not be sent: {type(error).__name__}: {error}. Nothing was stored.")
    state = error.sqlstate or ""
    if state in ("3F000", "42P01", "42883", "42703"):
        return SchemaMismatch(
            f"The `revenant` schema is missing or old: {error.diag.message_primary}. "
            "Nothing was sent; run `revenant migrate`."
        )
    if isinstance(error, InsufficientPrivilege):
        return lacks_right(error)
    if refuses_data(error) or isinstance(error, psycopg.IntegrityError):
        return Refused(f"Postgres refused the message: {brief(error)}. Nothing was stored; mend it.")
    return unavailable(url, error)
