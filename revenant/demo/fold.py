"""Fold: what every aircraft's state must be, computed from the file alone.

Invariant: it shares no line with the entity, so that an error in either shows as a difference.
"""

from __future__ import annotations

from typing import Any

from revenant.demo.flight import Flight

Record = dict[str, Any]
"""One aircraft's state, by the names of its fields."""


class Fold:
    """One record for each aircraft seen; the flights themselves are not kept."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def add(self, flight: Flight) -> None:
        """Take in the next flight of the file."""
        record = self.records.get(flight.tailnum)
        if record is None:
            record = self.records[flight.tailnum] = {
                "flights": 0,
                "miles": 0,
                "minutes": 0,
                "cancellations": 0,
                "worst_delay": None,
                "destinations": {},
                "last_flight": None,
            }
        if flight.dep_time is None:
            record["cancellations"] += 1
            return
        record["flights"] += 1
        record["miles"] += flight.distance
        if flight.air_time is not None:
            record["minutes"] += flight.air_time
        worst, delay = record["worst_delay"], flight.arr_delay
        if delay is not None and (worst is None or delay > worst):
            record["worst_delay"] = delay
        record["destinations"][flight.dest] = record["destinations"].get(flight.dest, 0) + 1
        record["last_flight"] = " ".join(
            (flight.day, f"{flight.carrier}{flight.number}", f"{flight.origin}-{flight.dest}")
        )
