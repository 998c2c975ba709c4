"""External: steps that this process takes although it has none of their workflows' code."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import psycopg
from pydantic_core import from_json

from revenant.codec import ANYTHING, dump
from revenant.errors import DatabaseUnavailable, StaleClaim
from revenant.eventloop import end
from revenant.queue.external import ClaimedStep, claim_step, complete_step, fail_step, renew_step
from revenant.workflows.names import checked_name

log = logging.getLogger("revenant.external")
R = TypeVar("R")


class Ask(Protocol):
    """Asks something of a live connection."""

    async def __call__(self, question: Callable[[psycopg.AsyncConnection[Any]], Awaitable[R]], /) -> R:
        """Return the answer."""


class ExternalStep:
    """One step that this process has claimed; `async with` it, so that the claim is renewed while you work.

    `args` (list) is what the workflow gave it, as JSON holds it; `attempt` (int, from 1), `idempotency_key` (str, the
    same in each attempt), `run_id`, `workflow` and `name` say what it is.
    """

    def __init__(self, claimed: ClaimedStep, *, name: str, seconds: float, ask: Ask, limit: int) -> None:
        self.name = name
        self.token = claimed.token
        self.workflow = claimed.workflow
        self.run_id = claimed.run_id
        self.attempt = claimed.attempt
        self.idempotency_key = claimed.idempotency_key
        self.args: list[Any] = from_json(claimed.args)
        self._seconds = seconds
        self._ask = ask
        self._limit = limit
        self._renewing: asyncio.Task[None] | None = None
        self._answered = False

    def __repr__(self) -> str:
        return f"<external step {self.name} of run {self.run_id!r} of {self.workflow}>"

    async def __aenter__(self) -> Self:
        self._renewing = asyncio.create_task(self._renew_on(), name="revenant-external")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            await end(renewing)
        # What an answer has come to that was lost is not known: it may be recorded, and else the claim runs out.
        lost = isinstance(error, StaleClaim | DatabaseUnavailable)
        if isinstance(error, Exception) and not lost and not self._answered:
            await self.fail(error)

    async def renew(self, seconds: float | None = None) -> None:
        """Hold it for so many seconds from now.

        Raises:
            StaleClaim: somebody else has it, or nobody waits for it.
        """
        held = self._seconds if seconds is None else seconds
        self._check(await self._ask(lambda connection: renew_step(connection, self.token, seconds=held)))

    async def complete(self, result: Any = None) -> None:
        """End the step with its result; recorded once this returns. The same once more, after an error, does no harm.

        Raises:
            StaleClaim: somebody else has it, or nobody waits for it.
            DatabaseUnavailable: it is not known whether it is recorded; say it again.
            Unstorable: JSON cannot hold the result.
        """
        text = dump(ANYTHING, result, what=f"The result of {self!r}", limit=self._limit)
        self._check(await self._ask(lambda connection: complete_step(connection, self.token, result=text)))
        self._answered = True

    async def fail(self, error: BaseException | str, *, retryable: bool = True) -> None:
        """End this attempt as failed; another one follows as the workflow says, unless it is not `retryable`.

        Raises:
            StaleClaim: somebody else has it, or nobody waits for it.
            DatabaseUnavailable: it is not known whether it is recorded; say it again.
        """
        type_ = "ExternalFailure" if isinstance(error, str) else type(error).__qualname__
        words = str(error)[:65536].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
        ended = await self._ask(
            lambda connection: fail_step(connection, self.token, error=words, retryable=retryable, type=type_)
        )
        self._check(ended)
        self._answered = True

    def _check(self, holds: bool) -> None:
        if not holds:
            raise StaleClaim(
                f"{self!r} is not held by this claim any more: it was answered already, or its time passed and "
                "somebody else has it, or its run does not wait for it. Nothing was changed; drop what was done for it."
            )

    async def _renew_on(self) -> None:
        while not self._answered:
            await asyncio.sleep(self._seconds / 3)
            try:
                await self.renew()
            except StaleClaim as error:
                log.warning("%r: %s", self, error)
                return
            except DatabaseUnavailable as error:
                log.warning("%r cannot be renewed now: %s", self, error)


def external_steps(
    name: str, *, holder: str | None, seconds: float, poll: float, ask: Ask, limit: int
) -> AsyncIterator[ExternalStep]:
    """Yield the steps of that name, one after another, as they are claimed; looks every `poll` seconds for more.

    Raises:
        ConfigurationError: by that name, or for that holder, none can be claimed.
    """
    checked_name(name, "app.external", such_as="label")
    who = f"{socket.gethostname()}:{os.getpid()}" if holder is None else holder
    checked_name(who, "app.external", "holder", such_as="printer-1")
    return _claimed(name, holder=who, seconds=seconds, poll=poll, ask=ask, limit=limit)


async def _claimed(
    name: str, *, holder: str, seconds: float, poll: float, ask: Ask, limit: int
) -> AsyncIterator[ExternalStep]:
    while True:
        try:
            claimed = await ask(lambda connection: claim_step(connection, name, holder=holder, seconds=seconds))
        except DatabaseUnavailable as error:
            log.warning("Steps %r cannot be claimed now: %s", name, error)
            claimed = None
        if claimed is None:
            await asyncio.sleep(poll * random.uniform(0.75, 1.25))  # noqa: S311 # jitter, not a secret
        else:
            yield ExternalStep(claimed, name=name, seconds=seconds, ask=ask, limit=limit)
