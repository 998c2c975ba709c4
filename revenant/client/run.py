"""Run: the handle of one run: its result, what can be sent to it, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from pydantic_core import from_json, to_json

from revenant.client.results import Results, Waiting
from revenant.codec import ANYTHING, dump
from revenant.entities.message import Message
from revenant.errors import CallTimeout
from revenant.queue.failures import error_of
from revenant.queue.runs import result_id

R = TypeVar("R")
Caller = Callable[[Message[Any], float | None], Awaitable[Any]]


class Run(Generic[R]):
    """One run of a workflow, from outside. It need not exist yet, nor go on.

    Example:
        >>> run = await app.start(checkout, order, id="order-42")
        >>> receipt = await run.result(timeout=30)
    """

    def __init__(
        self,
        *,
        kind: str,
        key: str,
        read: Callable[[Any], R],
        call: Caller,
        results: Results,
        waiting: Waiting | None,
        limit: int,
    ) -> None:
        self.id = key
        self.workflow = kind.partition(":")[2]
        self._kind = kind
        self._read = read
        self._call = call
        self._results = results
        self._waiting = waiting
        self._limit = limit

    def __repr__(self) -> str:
        return f"<run {self.id!r} of {self.workflow}>"

    def __del__(self) -> None:
        waiting = getattr(self, "_waiting", None)
        if waiting is not None:
            self._results.forget(waiting)

    async def result(self, *, timeout: float | None = None) -> R:
        """Wait for the run's end, at most `timeout` seconds (None: for as long as it takes), and return its result.

        Raises:
            RunFailed: it failed; RunCancelled, if it was cancelled.
            CallTimeout: it has not ended yet, or is not there. It goes on; ask again.
        """
        waiting = self._results.expect(self._kind, self.id)
        try:
            async with asyncio.timeout(timeout) as limit:
                reply = await self._results.wait(waiting)
        except TimeoutError as error:
            if not limit.expired() and not error.args:
                raise
            raise CallTimeout(
                f"Run {self.id!r} of {self.workflow} has no result after {timeout:g} s. It goes on, if it was started: "
                "run.result() waits on, and `revenant run show` tells where it is.",
                message_id=result_id(self._kind, self.id),
            ) from None
        finally:
            self._results.forget(waiting)
        if reply.status == "error":
            raise error_of(from_json(reply.body))
        return self._read(from_json(reply.body))

    async def signal(
        self, name: str, payload: Any = None, *, id: str | None = None, timeout: float | None = None
    ) -> bool:
        """Send a signal; it is recorded when this returns. Return false if one of that `id` was there before.

        Raises:
            RunEnded: the run has ended.
            InvalidArguments: the payload is not of the shape that the run's code waits for.
            RunNotFound: there is no such run.
        """
        args = {"name": name, "payload": self._jsonable(payload, name)}
        return bool(await self._send("signal", args if id is None else {**args, "id": id}, timeout))

    async def update(self, name: str, payload: Any = None, *, timeout: float | None = None) -> Any:
        """Send an update, and wait for what the run's code answers.

        Raises:
            UpdateRefused: the run's code did not take it.
            RunEnded: the run has ended, or ended before it answered.
        """
        return await self._send("update", {"name": name, "payload": self._jsonable(payload, name)}, timeout)

    async def cancel(self, reason: str | None = None, *, timeout: float | None = None) -> None:
        """Have the run end: its steps are cancelled, and what it registered is undone.

        Raises:
            RunEnded: it has ended already.
        """
        await self._send("cancel", {"reason": reason}, timeout)

    async def park(self, reason: str | None = None, *, timeout: float | None = None) -> None:
        """Have the run begin nothing new until it is resumed; what is under way ends, and is recorded."""
        await self._send("park", {"reason": reason}, timeout)

    async def resume(self, *, timeout: float | None = None) -> None:
        """Have a parked run go on."""
        await self._send("resume", {}, timeout)

    async def requeue(self, *, timeout: float | None = None) -> None:
        """Have a blocked run tried again, failed attempts at once, and deaths of workers forgotten."""
        await self._send("requeue", {}, timeout)

    def _jsonable(self, payload: Any, name: str) -> Any:
        return from_json(dump(ANYTHING, payload, what=f"The payload of {name!r}", limit=self._limit))

    async def _send(self, handler: str, args: dict[str, Any], timeout: float | None) -> Any:
        message: Message[Any] = Message(
            kind=self._kind, key=self.id, handler=handler, args=to_json(args).decode(), load=from_json, caller=None
        )
        return await self._call(message, timeout)
