"""Books: what every airline's ledger must say, computed from the file alone.

Invariant: it shares no line with the workflow and the entity, so that an error in either shows as a difference.
"""

from __future__ import annotations

from typing import Any

from revenant.demo.flight import Flight

COUNTS = ("claims",)
"""The fields of a ledger whose sum says how many runs have booked."""


class Books:
    """One record for each airline with a late flight."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.claims = 0

    def add(self, flight: Flight) -> tuple[int, int, str] | None:
        """Take in the next flight; return what is owed and paid for it and who decided, or None: it was not late."""
        minutes = flight.arr_delay
        if minutes is None or minutes <= 60:
            return None
        owed = {0: 250, 1: 400, 2: 600}[(flight.distance > 932) + (flight.distance > 2175)]
        if minutes < 180:
            owed //= 2
        paid, decision = owed, "unasked"
        if owed > 250:
            decision = "approved" if minutes >= 150 else "rejected"
            paid = owed if decision == "approved" else 250
        record = self.records.setdefault(
            flight.carrier, dict.fromkeys(("claims", "owed", "paid", "approved", "rejected", "minutes"), 0)
        )
        self.claims += 1
        record["claims"] += 1
        record["owed"] += owed
        record["paid"] += paid
        record["minutes"] += minutes
        if decision in record:
            record[decision] += 1
        return owed, paid, decision
