"""The entities that tests of time use, and a clock that they move."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg

from revenant.entities.entity import Entity
from revenant.entities.handler import handler
from revenant.entities.recurrence import Missed


class Alarmed(Entity):
    """Has itself and others reminded, and counts how often it was."""

    rung: list[str] = []  # noqa: RUF012 # a field of a pydantic model, copied for each

    @handler
    async def ring(self, word: str = "") -> int:
        self.rung.append(word)
        return len(self.rung)

    @handler
    async def read(self) -> list[str]:
        return self.rung

    @handler
    async def set(
        self,
        name: str,
        *,
        word: str = "",
        every: timedelta | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        after: timedelta | None = None,
        at: datetime | None = None,
        missed: Missed = "once",
        to: str | None = None,
    ) -> None:
        target = self.turn.ref(self) if to is None else self.turn.ref(Alarmed, to)
        self.turn.remind(
            name,
            target.ring(word),
            every=every,
            cron=cron,
            timezone=timezone,
            after=after,
            at=at,
            missed=missed,
        )

    @handler
    async def set_then_fail(self, name: str) -> None:
        self.turn.remind(name, self.turn.ref(self).ring(), every=timedelta(hours=1))
        raise ValueError("after the reminder")

    @handler
    async def unset(self, name: str) -> None:
        self.turn.cancel_reminder(name)

    @handler
    async def cast_later(self, word: str, after: timedelta) -> str:
        return self.turn.cast(self.turn.ref(self).ring(word), after=after)

    @handler
    async def cancel(self, message_id: str) -> None:
        self.turn.cancel(message_id)

    @handler
    async def cast_and_cancel(self) -> None:
        self.turn.cancel(self.turn.cast(self.turn.ref(self).ring("never"), after=timedelta(hours=1)))

    @handler
    async def cancel_then_fail(self, message_id: str) -> None:
        self.turn.cancel(message_id)
        raise ValueError("after the cancellation")

    @handler
    async def end(self) -> None:
        self.rung.append("before the end")
        self.turn.delete()


class Visit(Entity, idle_delete=timedelta(days=30)):
    """Ends when nobody has come for a month."""

    times: int = 0

    @handler
    async def come(self) -> int:
        self.times += 1
        return self.times

    @handler
    async def look(self) -> int:
        return self.times

    @handler
    async def plan(self) -> None:
        self.turn.remind("come", self.turn.ref(self).come(), every=timedelta(days=365))


async def set_clock(connection: psycopg.AsyncConnection[Any], moment: datetime | str) -> None:
    """Set the clock of one connection: for the loops of a worker, which take theirs as an argument."""
    await connection.execute("select set_config('revenant.testing', 'on', false)")
    await connection.execute("select set_config('revenant.fake_now', %s, false)", (str(moment),))
