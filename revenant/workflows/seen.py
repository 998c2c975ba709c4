"""Seen: one operation, and one signal, as the events of a run tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class Signal(NamedTuple):
    """A signal that nobody has taken yet."""

    seq: int
    name: str
    payload: Any
    update: str | None
    """The id of the message that waits to be answered; None for a plain signal."""


@dataclass(slots=True)
class OperationView:
    """What is known of one operation."""

    number: int
    type: str
    name: str
    asked: dict[str, Any]
    """As its first event says."""
    asked_at: datetime
    state: str = "open"
    """`open`, then `done`, `failed` or `cancelled`."""
    result: Any = None
    error: dict[str, Any] | None = None
    attempt: int = 0
    """The last attempt that was started; 0 before the first."""
    running: bool = False
    """Whether that attempt is under way, as far as the events say."""
    due: datetime | None = None
    """When it goes on by itself: a timer, a time-out, the next attempt."""
    pausing: bool = False
    """Whether the next attempt waits for `due`."""
    deaths: int = 0
    """How many workers died while the running attempt was under way."""
