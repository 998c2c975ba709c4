"""Hearing: the wake-ups that a worker hears, and to whom each goes; after a silence, everybody looks for themselves."""

from __future__ import annotations

import os

from pydantic_core import from_json

from revenant import telemetry
from revenant.queue.link import Link
from revenant.queue.listener import Listener
from revenant.queue.mailbox import CASTS, WAKE_CHANNEL, notify
from revenant.queue.records import Hint
from revenant.queue.timetable import DUE_CHANNEL
from revenant.worker.heartbeat import CHANGED, Heartbeat
from revenant.worker.sweeper import Sweeper
from revenant.worker.switchboard import Switchboard
from revenant.worker.timing.clockwork import Clockwork
from revenant.worker.watch import Watch


class Hearing:
    """What one worker hears, over one connection."""

    def __init__(
        self,
        *,
        url: str,
        desk: Link,
        switchboard: Switchboard,
        watch: Watch,
        heartbeat: Heartbeat,
        clockwork: Clockwork,
        sweeper: Sweeper,
    ) -> None:
        self.channel = f"revenant_worker_{os.urandom(8).hex()}"
        """On which this worker alone is told something."""
        self._desk = desk
        self._switchboard = switchboard
        self._watch = watch
        self._heartbeat = heartbeat
        self._clockwork = clockwork
        self._sweeper = sweeper
        self._listener = Listener(
            url=url,
            role="worker-listener",
            channels=[self.channel, WAKE_CHANNEL, DUE_CHANNEL],
            ping=self._ping,
            on_payload=self._hear,
            on_connect=self._look_at_everything,
        )

    @property
    def listening(self) -> bool:
        """Whether wake-ups are heard right now."""
        return self._listener.listening

    async def start(self) -> None:
        """Begin to hear; returns at once."""
        await self._listener.start()

    async def stop(self) -> None:
        """Stop; safe before start and twice."""
        await self._listener.stop()

    async def ready(self) -> None:
        """Wait until wake-ups are heard."""
        await self._listener.ready()

    def _hear(self, channel: str, payload: str) -> None:
        if channel == DUE_CHANNEL:
            self._clockwork.expect(float(payload))
        if channel == self.channel:
            self._switchboard.heard(payload.split("\n"))
        if channel != WAKE_CHANNEL:
            return
        if payload == CHANGED:
            self._heartbeat.nudge()
        elif payload.startswith(("[", f"{CASTS}[")):
            if telemetry.handlers:
                telemetry.emit("wakeup.hear", {"bytes": len(payload.encode())}, {})
            casts = payload.startswith(CASTS)
            hints = [Hint(*row) for row in from_json(payload.removeprefix(CASTS))]
            self._watch.add(self._switchboard.hear(hints, backlog=casts), backlog=casts)
        else:
            self._look_at_everything()

    def _look_at_everything(self) -> None:
        for one in (self._sweeper, self._heartbeat, self._clockwork):
            one.nudge()

    async def _ping(self, channel: str, payload: str) -> None:
        connection = await self._desk.connection(seconds=1)
        await notify(connection, [(channel, payload)])
