"""Load: many requests at once, each asker with its next one as soon as the last one is answered."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from revenant.bench.effort import Effort
from revenant.errors import CallTimeout, RevenantError
from revenant.trial.latency import milliseconds, percentile

Request = Callable[[int, int], Awaitable[object]]
"""One request: (the caller's number, the entity's number), both from 0; returns when it is answered."""


@dataclass(frozen=True, slots=True)
class Pace:
    """So many in so many seconds."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        """How many a second; 0 where nothing was measured."""
        return self.count / self.seconds if self.seconds else 0.0

    def __add__(self, other: Pace) -> Pace:
        return Pace(self.count + other.count, self.seconds + other.seconds)


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
    effort: Effort = field(default_factory=Effort)
    """The processor time that the answers took, where it was looked at."""

    @property
    def per_second(self) -> float:
        """Answers a second, over the time that was measured."""
        return Pace(len(self.latencies), self.seconds).per_second

    def micros(self, *parts: str) -> float | None:
        """Return the microseconds of processor time for one answer, of those parts or of all."""
        return self.effort.micros(len(self.latencies), *parts)

    def at(self, share: float) -> float | None:
        """Return the percentile in milliseconds."""
        return milliseconds(percentile(self.latencies, share))


async def press(request: Request, *, callers: int, entities: int, seconds: float, into: Measured) -> None:
    """Have the callers request for so long, each entity as likely as the other; add what it showed to `into`."""
    until = time.perf_counter() + seconds
    await press_while(lambda: time.perf_counter() < until, request, callers=callers, entities=entities, into=into)


async def press_while(
    going: Callable[[], bool], request: Request, *, callers: int, entities: int, into: Measured
) -> None:
    """As `press`, for as long as `going` says so."""
    choose = random.Random().randrange  # noqa: S311 # spreading, not a secret
    began = time.perf_counter()

    async def caller(number: int) -> None:
        while going():
            await attempt(request, number, choose(entities), into=into)

    await asyncio.gather(*(caller(number) for number in range(callers)))
    into.seconds += time.perf_counter() - began


async def attempt(request: Request, caller: int, entity: int, *, into: Measured) -> bool:
    """Make one request, and count what becomes of it; return whether it was answered."""
    began = time.perf_counter()
    try:
        await request(caller, entity)
    except CallTimeout as error:
        into.unknown += 1
        into.first_error = into.first_error or str(error)
        return False
    except RevenantError as error:
        into.errors += 1
        into.first_error = into.first_error or str(error)
        # A database that refuses at once must not make this a hot loop.
        await asyncio.sleep(0.05)
        return False
    into.latencies.append(time.perf_counter() - began)
    return True


async def work_off(request: Request, *, total: int, entities: int, at_once: int, seconds: float = math.inf) -> Pace:
    """Make `total` requests, `at_once` at a time, over all entities in turn, for at most so long.

    Raises:
        RevenantError: of the first request that failed.
    """
    numbers = iter(range(total))
    began = time.perf_counter()
    done = 0

    async def worker(caller: int) -> None:
        nonlocal done
        for number in numbers:
            await request(caller, number % entities)
            done += 1
            if time.perf_counter() > began + seconds:
                break

    await asyncio.gather(*(worker(caller) for caller in range(min(at_once, total))))
    return Pace(done, time.perf_counter() - began)
