"""Load: many callers at once, each with its next request as soon as the last one is answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from revenant.errors import CallTimeout, RevenantError
from revenant.trial.latency import milliseconds, percentile

Request = Callable[[int, int], Awaitable[object]]
"""One request: (the caller's number, the entity's number), both from 0; returns when it is answered."""


@dataclass(slots=True)
class Measured:
    """What one kind of request showed, over all its slices; latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    unknown: int = 0
    """Requests without an answer in time."""
    errors: int = 0
    """Requests that were refused, or failed."""
    first_error: str | None = None

    @property
    def per_second(self) -> float:
        """Answers a second, over the time that was measured."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def at(self, share: float) -> float | None:
        """Return the percentile in milliseconds."""
        return milliseconds(percentile(self.latencies, share))


async def press(request: Request, *, callers: int, entities: int, seconds: float, into: Measured) -> None:
    """Have the callers request for so long, each entity as likely as the other; add what it showed to `into`."""
    began = time.perf_counter()
    until = began + seconds
    await asyncio.gather(*(_caller(request, number, entities, until, into) for number in range(callers)))
    into.seconds += time.perf_counter() - began


async def _caller(request: Request, number: int, entities: int, until: float, into: Measured) -> None:
    choose = random.Random().randrange  # noqa: S311 # spreading, not a secret
    began = time.perf_counter()
    while began < until:
        try:
            await request(number, choose(entities))
        except CallTimeout as error:
            into.unknown += 1
            into.first_error = into.first_error or str(error)
        except RevenantError as error:
            into.errors += 1
            into.first_error = into.first_error or str(error)
            # A database that refuses at once must not make this a hot loop.
            await asyncio.sleep(0.05)
        else:
            into.latencies.append(time.perf_counter() - began)
        began = time.perf_counter()
