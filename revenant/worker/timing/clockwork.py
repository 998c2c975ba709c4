"""Clockwork: the loops of a worker that go by the database's clock: what is due, and who has become idle."""

from __future__ import annotations

from collections.abc import Sequence

from revenant.entities.registry import Registry
from revenant.entities.schedule import Schedule
from revenant.queue.link import Link
from revenant.worker.agenda import Inlet
from revenant.worker.fleet import Fleet
from revenant.worker.loop import Loop
from revenant.worker.timing.alarm import Alarm
from revenant.worker.timing.expiry import Expiry
from revenant.worker.timing.reminders import Reminders
from revenant.worker.timing.schedules import Schedules
from revenant.worker.timing.ticker import Ticker


class Clockwork:
    """Messages for later, reminders, schedules and expiry, all over the desk's connection."""

    def __init__(
        self,
        *,
        desk: Link,
        agenda: Inlet,
        fleet: Fleet,
        registry: Registry,
        kinds: Sequence[str],
        schedules: Sequence[Schedule],
    ) -> None:
        self.alarms: Sequence[Alarm] = (
            Ticker(desk=desk, agenda=agenda, kinds=kinds),
            Reminders(desk=desk, kinds=kinds),
            Schedules(desk=desk, schedules=schedules),
        )
        idle = {kind: one.entity_idle_delete for kind, one in registry.kinds.items() if one.entity_idle_delete}
        self._expiry = [Expiry(desk=desk, fleet=fleet, idle=idle)] if idle else []

    @property
    def loops(self) -> Sequence[Loop]:
        """What is to be started and stopped."""
        return (*self.alarms, *self._expiry)

    def expect(self, seconds: float) -> None:
        """Hear that something is due in so many seconds."""
        for alarm in self.alarms:
            alarm.expect(seconds)

    def nudge(self) -> None:
        """Have everything that is due looked for now."""
        for alarm in self.alarms:
            alarm.nudge()
