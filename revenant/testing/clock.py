"""Clock: the time by which a test's messages are due; it stands still until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from revenant.errors import ConfigurationError


class World(Protocol):
    """What lives by a clock."""

    async def next_due(self, until: datetime) -> datetime | None:
        """Return when the next thing becomes due, after now and not after `until`."""
        ...

    async def set_time(self, moment: datetime) -> None:
        """Have it that time."""

    async def run_until_idle(self) -> None:
        """Handle all that waits and is due."""


class Clock:
    """A test's clock, with `now` (a datetime in UTC).

    Example:
        >>> await app.clock.advance(timedelta(days=1))   # what is due on the way is handled at its own time
        >>> await app.clock.jump(timedelta(days=1))      # as if no worker had run for a day
    """

    def __init__(self, world: World, now: datetime) -> None:
        self._world = world
        self.now = now

    async def advance(self, by: timedelta) -> None:
        """Let this much time pass: each timer, reminder and retry is handled at its time, with all that follows."""
        until = self._after(by)
        await self._world.run_until_idle()
        while (due := await self._world.next_due(until)) is not None:
            await self._set(due)
        await self._set(until)

    async def jump(self, by: timedelta) -> None:
        """Move on at once, and then handle all that has become due: as after a time without workers."""
        await self._set(self._after(by))

    async def _set(self, moment: datetime) -> None:
        await self._world.set_time(moment)
        self.now = moment
        await self._world.run_until_idle()

    def _after(self, by: timedelta) -> datetime:
        given: object = by
        if not isinstance(given, timedelta) or given < timedelta(0):
            raise ConfigurationError(
                f"A clock is moved by a timedelta, forwards, and got {by!r}. It stays at {self.now}."
            )
        return self.now + by


def checked_now(now: datetime) -> datetime:
    """Return the time that a clock is to begin with, in UTC: in other zones an hour may come twice, or be left out.

    Raises:
        ConfigurationError: it has no zone.
    """
    given: object = now
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise ConfigurationError(
            f"now={now!r} is no moment: give a datetime with a time zone, datetime(2026, 1, 2, tzinfo=UTC)."
        )
    return now.astimezone(UTC)
