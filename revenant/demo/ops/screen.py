"""Screen: the table at the end of the demo of workflows."""

from __future__ import annotations

from revenant.demo.ops.result import OpsResult
from revenant.demo.screen import count, draw, surprises, time


def show_ops(result: OpsResult) -> None:
    """Print the table worth looking at."""
    draw(_lines(result), clean=result.clean, differences=result.differences)


def _lines(result: OpsResult) -> list[tuple[str, str]]:
    asked = result.approved + result.rejected
    return [
        (f"{result.runs:,}", f"late flights of {result.flights:,} compensated in {result.seconds:.1f} s, a run each"),
        (f"{result.runs_per_second:,}", f"runs a second, {result.workers} workers"),
        (time(result.run_p50_ms), "p50 from a run's start to its result: a step, a job, a call, for some an approval"),
        (time(result.run_p99_ms), "p99"),
        (f"{asked:,}", f"asked for: {result.approved:,} approved, {result.rejected:,} rejected"),
        (f"{result.killed}", f"workers killed (SIGKILL), {result.on_the_way_at_kill:,} runs under way"),
        (time(result.recovery_ms), "from the kill to the next finished run"),
        (time(result.recovery_all_ms), "from the kill to the last of those that were under way"),
        (count(result.lost), "lost"),
        (count(result.doubled), "doubled"),
        (count(result.mismatched), f"ledgers (of {result.airlines}) and receipts that differ from the file"),
        *surprises(
            (result.failed, "runs that failed"),
            (result.unfinished - result.failed, "runs that have not ended"),
            (result.results_unknown, "results that did not come in time"),
            (result.notices_waiting, "jobs that were not begun"),
            (result.notices_stalled, "jobs of killed workers, which procrastinate has run again after 30 s"),
            (result.workers_died, "workers that died unasked"),
            (result.bad_rows, "rows that cannot be read"),
        ),
    ]
