"""Claim: what one run is started with, the receipt that it ends with, and the rules between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from revenant.demo.flight import Flight

LATE = 60
"""Minutes of arrival delay over which a flight is compensated."""
LIMIT = 250
"""Euros over which somebody has to agree; also what is paid where nobody does."""
PATIENCE = 150
"""Minutes of delay from which whoever is asked agrees."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One late flight, and the desk that is asked about it."""

    flight: Flight
    desk: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a claim came to, in euros."""

    owed: int
    paid: int
    decision: Literal["unasked", "approved", "rejected"]


def is_late(flight: Flight) -> bool:
    """Whether a flight is compensated; one that never arrived is not."""
    return flight.arr_delay is not None and flight.arr_delay > LATE


def compensation(flight: Flight) -> int:
    """Return what is owed, in euros: by distance, and half of it for less than three hours."""
    full = 250 if flight.distance <= 932 else 400 if flight.distance <= 2175 else 600
    return full if (flight.arr_delay or 0) >= 180 else full // 2
