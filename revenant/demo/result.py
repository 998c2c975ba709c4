"""Result: what one demo showed; the names of its fields are those of `--json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Counts of messages unless said otherwise; `_ms` in milliseconds, None where nothing was measured."""

    flights: int
    """Flights sent, cancelled ones included."""
    entities: int
    """Aircraft with committed state."""
    lost: int
    doubled: int
    mismatched: int
    """Aircraft of which any field differs from the file."""
    killed: int
    """Workers killed by SIGKILL."""
    seconds: float
    """From the first message sent to the last one handled."""
    messages_per_second: int
    calls: int
    """Calls that were answered, and measured."""
    calls_unknown: int
    """Calls whose reply did not come in time."""
    out_of_order: int
    """Replies that do not fit the order in which the flights were sent."""
    call_p50_ms: float | None
    call_p99_ms: float | None
    recovery_ms: float | None
    """From the SIGKILL to the next reply of a call sent after it; the longest, if several workers were killed."""
    recovery_all_ms: float | None
    """From the SIGKILL to the last reply of 16 such calls, to aircraft of dead and living workers alike."""
    on_the_way_at_kill: int
    """Messages that waited for confirmation or reply when a worker was killed; the fewest, if several were."""
    bad_rows: int
    scheduled: int
    """Casts that had failed, and were still to be tried again at the end."""
    dead_letters: int
    workers: int
    workers_died: int
    """Workers that died unasked."""
    run: str
    """Every key of this run begins with it and a slash."""
    differences: tuple[str, ...]
    """The first few differences, as text."""

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, mixed up or left over."""
        wrong = self.lost + self.doubled + self.mismatched + self.out_of_order
        return not (wrong or self.scheduled or self.dead_letters)
