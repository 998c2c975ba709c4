"""Latency: durations measured, in seconds, and the figures that people read, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


def percentile(samples: Sequence[float], share: float) -> float | None:
    """Return the smallest sample that at least `share` (0 to 1) of all samples do not exceed; None without samples.

    Example:
        >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
        2.0
    """
    if not samples:
        return None
    return sorted(samples)[max(0, ceil(share * len(samples)) - 1)]


def milliseconds(seconds: float | None) -> float | None:
    """Return seconds as milliseconds, to the microsecond; None stays None."""
    return None if seconds is None else round(seconds * 1000, 3)
