"""Result: what one demo of workflows showed; the names of its fields are those of `--json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsResult:
    """Counts of runs unless said otherwise; `_ms` in milliseconds, None where nothing was measured."""

    flights: int
    """Flights read; those that were late have a run each."""
    runs: int
    airlines: int
    """Airlines with a ledger."""
    lost: int
    """Claims that no ledger has, and claims of which no passenger is told."""
    doubled: int
    mismatched: int
    """Ledgers of which any field differs from the file, and receipts that do."""
    unfinished: int
    """Runs that had not completed at the end, the failed ones included."""
    failed: int
    approved: int
    rejected: int
    killed: int
    """Workers killed by SIGKILL."""
    seconds: float
    """From the first run started to the last one finished."""
    runs_per_second: int
    run_p50_ms: float | None
    run_p99_ms: float | None
    recovery_ms: float | None
    """From the SIGKILL to the next finished run of those under way; the longest, if several workers were killed."""
    recovery_all_ms: float | None
    """From the SIGKILL to the last one of those that were under way."""
    on_the_way_at_kill: int
    """Runs under way when a worker was killed; the fewest, if several were."""
    results_unknown: int
    """Runs whose result did not come in time."""
    notices_sent: int
    """Jobs that were done."""
    notices_stalled: int
    """Jobs that ran in a worker when it was killed: procrastinate has them run again after 30 seconds."""
    notices_waiting: int
    bad_rows: int
    workers: int
    workers_died: int
    """Workers that died unasked."""
    run: str
    """Every key of this demo begins with it and a slash."""
    differences: tuple[str, ...]
    """The first few differences, as text."""

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, mixed up or left over."""
        return not (self.lost or self.doubled or self.mismatched or self.unfinished or self.notices_waiting)
