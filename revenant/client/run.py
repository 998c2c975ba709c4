"""Run: the handle of one run: its result, what can be sent to it, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

from pydantic_core import from_json, to_json

from revenant.client.approving import approved, rejected, send_decision
from revenant.client.doors import named, reader_of, seconds_of
from revenant.client.doubt import no_result
from revenant.client.records import Records
from revenant.client.reducing import reduced_view
from revenant.client.results import Ends
from revenant.codec import ANYTHING, dump
from revenant.entities.message import Message
from revenant.errors import RevenantError, RunNotFound
from revenant.queue.failures import error_of
from revenant.queue.runviews import SeenRun
from revenant.workflows.decider import DeciderWorkflow
from revenant.workflows.description import RunDescription, describe
from revenant.workflows.events import Event, read_event
from revenant.workflows.standing import Standing, standing_of

R = TypeVar("R")
Caller = Callable[[Message[Any], float | None], Awaitable[Any]]
LOOK_SECONDS = 1.0
"""How long to look, past its own time-out, for why there is no result."""


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
        results: Ends,
        records: Records,
        waiting: Any,
        limit: int,
        decider: DeciderWorkflow[Any, Any] | None = None,
    ) -> None:
        self.id = key
        self.workflow = kind.partition(":")[2]
        self._kind = kind
        self._read = read
        self._call = call
        self._results = results
        self._records = records
        self._waiting = waiting
        self._limit = limit
        self._decider = decider

    def __repr__(self) -> str:
        return f"<run {self.id!r} of {self.workflow}>"

    def __del__(self) -> None:
        waiting = getattr(self, "_waiting", None)
        if waiting is not None:
            self._results.forget(waiting)

    def sibling(self, id: str) -> Run[R]:
        """Return the handle of another run of the same workflow."""
        return Run(
            kind=self._kind, key=id, read=self._read, call=self._call, results=self._results, records=self._records,
            waiting=None, limit=self._limit, decider=self._decider,
        )  # fmt: skip

    async def result(self, *, timeout: float | None = None) -> R:
        """Wait for the run's end, at most `timeout` seconds (None: for as long as it takes), and return its result.

        Raises:
            RunFailed: it failed; RunCancelled, if it was cancelled.
            CallTimeout: it has not ended yet, or is not there; the text says which. Ask again.
        """
        timeout = None if timeout is None else seconds_of(timeout, 0)
        waiting = self._results.expect(self._kind, self.id)
        try:
            async with asyncio.timeout(timeout) as limit:
                reply = await self._results.wait(waiting)
        except TimeoutError as error:
            if not limit.expired() and not error.args:
                raise
            when = error.args[0] if error.args else f"after {timeout:g} s"
            raise no_result(self._kind, self.id, when, known=await self._is_known()) from None
        finally:
            self._results.forget(waiting)
        if reply.status == "error":
            raise error_of(from_json(reply.body))
        return self._read(from_json(reply.body))

    async def _is_known(self) -> bool | None:
        """Return whether the run has begun; None: that cannot be told now."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._records.view(self._kind, self.id) is not None
        except (RevenantError, TimeoutError):
            return None

    async def signal(
        self, name: str, payload: Any = None, *, id: str | None = None, timeout: float | None = None
    ) -> bool:
        """Send a signal; it is recorded when this returns. Return false if one of that `id` was there before.

        Raises:
            RunEnded: the run has ended.
            InvalidArguments: the payload is not of the shape that the run's code waits for.
            RunNotFound: there is no such run.
        """
        args = {**named("signal", name, id), "payload": self._jsonable(payload, name)}
        return bool(await self._send("signal", args, timeout))

    async def update(
        self,
        name: str,
        payload: Any = None,
        *,
        id: str | None = None,
        returns: Any = Any,
        timeout: float | None = None,
    ) -> Any:
        """Send an update, and wait for what the run's code answers, read as `returns`.

        Sent again with the same `id`, it is the same update, and has the same answer.

        Raises:
            UpdateRefused: the run's code did not take it.
            InvalidArguments: the payload is not of the shape that the run's code waits for.
            RunEnded: the run has ended, or ended before it answered.
            CallTimeout: there is no answer yet; the run has the update, or will have it. Send it again with its `id`.
        """
        args = {**named("update", name, id), "payload": self._jsonable(payload, name)}
        return await self._send("update", args, timeout, read=reader_of(returns).validate_json)

    async def state(self) -> Any:
        """Return what the run's code has shown last, by `flow.show()`; None: nothing yet. Nothing is woken for it.

        Of a decider, named by its class, the view with which it would decide now.

        Raises:
            RunNotFound: there is no such run.
        """
        if self._decider is not None:
            events = await self._records.events(self._kind, self.id)
            found: Any = reduced_view(events, self.id, self._decider) if events else None
        else:
            found = await self._records.view(self._kind, self.id)
        if found is None:
            raise self._not_found()
        return found if self._decider is not None else from_json(found)

    async def describe(self) -> RunDescription:
        """Return where the run stands, and all that its code asked for; nothing is woken for it.

        Raises:
            RunNotFound: there is no such run.
        """
        seen = await self._see()
        return describe(self._kind, self.id, seen.row, list(map(read_event, seen.events)), earlier=seen.earlier)

    async def history(self) -> list[Event]:
        """Return all events of the run's current history, in order.

        Raises:
            RunNotFound: there is no such run.
        """
        return list(map(read_event, (await self._see()).events))

    async def _see(self) -> SeenRun:
        seen = await self._records.see(self._kind, self.id)
        if seen is None:
            raise self._not_found()
        return seen

    def _not_found(self) -> RunNotFound:
        return RunNotFound(f"There is no run {self.id!r} of {self.workflow}. Start it, or look at the id.")

    async def approve(self, name: str, *, by: str, form: Any = None, timeout: float | None = None) -> None:
        """Approve what the run asks under that name, with the form filled in; see `Approval.approve`."""
        await self.decide({"name": name, **approved(by, form)}, timeout=timeout)

    async def reject(self, name: str, *, by: str, reason: str | None = None, timeout: float | None = None) -> None:
        """Reject what the run asks under that name; see `Approval.reject`."""
        await self.decide({"name": name, **rejected(by, reason)}, timeout=timeout)

    async def decide(self, decision: dict[str, Any], *, timeout: float | None = None) -> None:
        """Send a decision as JSON holds it: what `approve` and `reject` do."""
        send = partial(self._send, "decide")
        await send_decision(send, self._records, (self._kind, self.id), decision, timeout=timeout)

    async def cancel(self, reason: str | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run end: its steps are cancelled, and what it registered is undone; return where it stands then.

        One whose undoing is blocked, since its code is nowhere, is ended by another `cancel`, and names what was not
        undone.

        Raises:
            RunEnded: it has ended already; RunRefused: it has failed, and undoes what it did.
        """
        return await self._control("cancel", {"reason": reason}, timeout)

    async def park(self, reason: str | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run begin nothing new until it is resumed; what is under way ends, and is recorded.

        The reason of one that is parked already stands: `problem` of what is returned.

        Raises:
            RunRefused: it is about to end, or is blocked; RunEnded, if it has ended.
        """
        return await self._control("park", {"reason": reason}, timeout)

    async def resume(self, *, timeout: float | None = None) -> Standing:
        """Have a parked run go on; of any other nothing is `changed`.

        Raises:
            RunRefused: it is about to end, or is blocked: then it is requeued; RunEnded, if it has ended.
        """
        return await self._control("resume", {}, timeout)

    async def requeue(self, *, timeout: float | None = None) -> Standing:
        """Have a blocked run tried again, failed attempts at once, and deaths of workers forgotten.

        Of a run in which nothing is blocked, or waits for another attempt, nothing is `changed`.

        Raises:
            RunRefused: it is parked: then it is resumed; RunEnded, if it has ended.
        """
        return await self._control("requeue", {}, timeout)

    async def migrate(self, version: int | None = None, *, timeout: float | None = None) -> Standing:
        """Have the run go on with another version of its workflow's code; None: the newest that a live worker has.

        The code is run along the whole history: where it does not fit, the run is blocked, and `migrate` moves it back.

        Raises:
            UnknownWorkflow: no live worker has that version.
            RunRefused: it is of that version already, and blocked; RunEnded, if it has ended.
        """
        return await self._control("migrate", {"version": version}, timeout)

    async def _control(self, handler: str, args: dict[str, Any], timeout: float | None) -> Standing:
        return standing_of(await self._send(handler, args, timeout))

    def _jsonable(self, payload: Any, name: str) -> Any:
        return from_json(dump(ANYTHING, payload, what=f"The payload of {name!r}", limit=self._limit))

    async def _send(
        self, handler: str, args: dict[str, Any], timeout: float | None, *, read: Callable[[str], Any] = from_json
    ) -> Any:
        message: Message[Any] = Message(
            kind=self._kind, key=self.id, handler=handler, args=to_json(args).decode(), load=read, caller=None
        )
        return await self._call(message, timeout)
