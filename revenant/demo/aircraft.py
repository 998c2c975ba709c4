"""Aircraft: the demo's entity, and an example of how entities are written."""

from __future__ import annotations

from pydantic import Field

from revenant.demo.flight import Flight
from revenant.entities.entity import Entity
from revenant.entities.handler import handler


class Aircraft(Entity, kind="demo.Aircraft"):
    """What one aircraft has done so far; its key is its tail number, 'NA' gathering those unknown.

    A flight without a departure time was cancelled: it counts as a cancellation and as nothing else. Every other
    one was flown, and its miles count in full. Flights that were diverted have neither air time nor arrival delay
    in the file; they add no minutes and no delay.
    """

    flights: int = 0
    miles: int = 0
    minutes: int = 0
    cancellations: int = 0
    worst_delay: int | None = None
    """The worst arrival delay in minutes, negative while all were early; None while none is known."""
    destinations: dict[str, int] = Field(default_factory=dict)
    """Flights flown to each airport."""
    last_flight: str | None = None
    """The last one flown, such as '2013-01-31 UA1545 EWR-IAH'."""

    @handler
    async def log(self, flight: Flight) -> int:
        """Take in one flight; return how many this aircraft has been told of."""
        if flight.dep_time is None:
            self.cancellations += 1
        else:
            self.flights += 1
            self.miles += flight.distance
            self.minutes += flight.air_time or 0
            self.destinations[flight.dest] = self.destinations.get(flight.dest, 0) + 1
            self.last_flight = f"{flight.day} {flight.carrier}{flight.number} {flight.origin}-{flight.dest}"
            if flight.arr_delay is not None:
                known = flight.arr_delay if self.worst_delay is None else self.worst_delay
                self.worst_delay = max(known, flight.arr_delay)
        return self.flights + self.cancellations

    @handler
    async def told(self) -> int:
        """Return how many flights this aircraft has been told of."""
        return self.flights + self.cancellations
