"""Flight: one row of the file, read once and told to its aircraft as it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flight:
    """One flight as it was planned, and what became of it; None stands for 'NA', unknown.

    `dep_time` is the time of day, as hhmm, at which it left; a flight that never left was cancelled. `arr_delay` is
    in minutes, negative when early; `air_time` in minutes; `distance` in miles.
    """

    day: str
    carrier: str
    number: int
    tailnum: str
    origin: str
    dest: str
    dep_time: int | None
    arr_delay: int | None
    air_time: int | None
    distance: int
