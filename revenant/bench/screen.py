"""Screen: the benchmarks' tables, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from revenant.bench.calls import CALL_PARTS, CallsResult, Pair
from revenant.bench.crowd import CrowdResult
from revenant.bench.drain import DrainResult
from revenant.bench.durability import DurabilityResult
from revenant.bench.effort import CALLERS, INTAKE, LISTENING, TURNS, WORKERS
from revenant.bench.load import Measured
from revenant.bench.memory import MemoryResult
from revenant.bench.overhead import OverheadResult
from revenant.bench.recovery import RecoveryResult
from revenant.bench.sleepers import SleepersResult
from revenant.bench.tally import Tally
from revenant.bench.witness import PROBES
from revenant.bench.workflows import WorkflowsResult
from revenant.trial.latency import milliseconds, percentile


def say(text: str) -> None:
    """Write words for people, on stderr."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def show_calls(result: CallsResult) -> None:
    """Print what calls cost beside plain SQL."""
    title = f"{result.callers:,} callers, {result.entities:,} entities, {result.workers} worker(s)"
    table = _table(title, "per second", "p50", "p95", "p99", "ratio")
    if result.fresh is None:
        _add_pair(table, "", result.measured)
    else:
        _add_pair(table, ", fresh", result.fresh)
        _add_pair(table, f", snapshot held for {result.hold:g} s and more", result.measured)
    if result.alone and result.fresh_alone:
        table.add_section()
        table.add_row("one caller, fresh", *_figures(result.fresh_alone), "")
        table.add_row("one caller, snapshot held", *_figures(result.alone), "")
    _print(table, result.tally)
    if (words := _effort(result.measured)) is not None:
        say(words)


def show_drain(result: DrainResult) -> None:
    """Print how fast the backlog went."""
    title = f"{result.drained.count:,} casts over {result.entities:,} entities, {result.workers} worker(s)"
    table = _table(title, "per second", "seconds", "ratio")
    ratio = "–" if result.ratio is None else f"{result.ratio:.2f} ×"
    for name, pace, share in (
        ("[bold]drained[/]", result.drained, ratio),
        ("sent, before", result.sent, ""),
        ("plain SQL, 64 connections", result.plain, "1.00 ×"),
    ):
        table.add_row(name, f"{pace.per_second:,.0f}", f"{pace.seconds:,.2f}", share)
    _print(table, result.tally)
    say(" ".join(_explained(result)))


def show_crowd(result: CrowdResult) -> None:
    """Print what callers noticed of the crowd."""
    pace = result.drained
    table = _table(f"{pace.count:,} {result.of}, {result.callers:,} callers", "calls/s", "p50", "p95", "p99")
    table.add_row("alone", *_figures(result.alone))
    table.add_row("[bold]beside the crowd[/]", *_figures(result.beside))
    _print(table, result.tally)
    words = f"The crowd took {pace.seconds:,.1f} s, {pace.per_second:,.0f} a second."
    if result.kept is not None and result.slower is not None:
        words += f" The callers kept {result.kept:.0%} of their calls; the median took {result.slower:.1f} × as long."
    say(words)


def show_recovery(result: RecoveryResult) -> None:
    """Print how soon others answered for a worker that was killed."""
    title = f"{len(result.recoveries)} kills, {result.workers} workers, {result.entities:,} entities"
    table = _table(title, "p50", "p99", "longest")
    for name, words in _RECOVERY.items():
        samples = result.figures[name]
        times = [milliseconds(percentile(samples, share)) for share in (0.5, 0.99, 1.0)]
        table.add_row(words, *("–" if time is None else f"{time:,.0f} ms" for time in times))
    _print(table, result.tally)
    say(f"{len(result.calls.latencies):,} calls meanwhile, {result.calls.per_second:,.0f} a second.")


def show_durability(result: DurabilityResult) -> None:
    """Print strict beside relaxed."""
    title = f"{result.callers:,} callers, one caller, and {result.messages:,} messages to a state of 256 KiB"
    table = _table(title, "calls/s", "p50 of one", "WAL of the large state")
    strict, interval = result.strict, result.interval
    for name, level in (("strict", strict), ("[bold]interval, 5 s[/]", interval)):
        wait = level.alone.at(0.5)
        alone = "–" if wait is None else f"{wait:,.2f} ms"
        table.add_row(name, f"{level.many.per_second:,.0f}", alone, f"{level.wal:,} bytes")
    _print(table, result.tally)
    one, other = strict.alone.at(0.5), interval.alone.at(0.5)
    if one and other and interval.wal:
        say(
            f"Relaxed, one caller waits {other / one:.2f} × as long, and 1/{strict.wal / interval.wal:,.0f} is written."
        )


def show_memory(result: MemoryResult) -> None:
    """Print what the memory did."""
    table = _table(f"{result.entities:,} entities, visited once each", "resident")
    for number, seen in enumerate(result.resident, 1):
        table.add_row(f"after {number * result.entities // len(result.resident):,}", f"{seen / 2**20:,.1f} MiB")
    _print(table, result.tally)
    say(f"{result.pace.per_second:,.0f} visits a second; the second half added {result.growth:.1%} to the memory.")


def show_overhead(result: OverheadResult) -> None:
    """Print what the library itself costs."""
    table = _table(f"{result.messages:,} calls, processor time of one", "side", "µs")
    for part in result.parts:
        table.add_row(part.words, part.side, f"{part.seconds / result.messages * 1e6:,.1f}")
    table.add_section()
    table.add_row("[bold]the library's own time[/]", "", f"[bold]{result.micros():,.1f}[/]")
    _print(table, result.tally)


def show_workflows(result: WorkflowsResult) -> None:
    """Print what runs cost beside plain SQL."""
    table = _table(
        f"{result.in_flight:,} runs at a time, {result.steps} steps each", "per second", "p50", "p95", "p99", "ratio"
    )
    ratio = "–" if result.ratio is None else f"{result.ratio:.2f} ×"
    table.add_row("[bold]runs[/]", *_figures(result.runs), ratio)
    table.add_row("as many plain commits", *_figures(result.plain), "1.00 ×")
    table.add_section()
    table.add_row("one run at a time", *_figures(result.alone), "")
    _print(table, result.tally)
    if result.worker_ms is not None:
        say(f"1,000 runs took {result.worker_ms:,.0f} ms of the worker's processor time.")
    say(
        f"{result.wal_bytes:,.0f} bytes of WAL a run. One run over {result.items:,} items took "
        f"{result.mapped.seconds:,.1f} s, {result.mapped.per_second:,.0f} items a second."
    )


def show_sleepers(result: SleepersResult) -> None:
    """Print what the memory did."""
    table = _table(f"{result.runs:,} runs that sleep", "resident")
    for number, seen in enumerate(result.resident, 1):
        table.add_row(f"after {number * result.runs // len(result.resident):,}", f"{seen / 2**20:,.1f} MiB")
    _print(table, result.tally)
    say(f"{result.pace.per_second:,.0f} starts a second.")


_RECOVERY = {
    "recovery": "[bold]next reply of an entity of the killed worker[/]",
    "recovery_all": f"the last of {PROBES} such entities",
    "any": "next reply of any entity",
}


def _effort(pair: Pair) -> str | None:
    """What a call costs, whatever else the machine does."""
    calls, plain, ratio = pair.calls.micros(), pair.plain.micros(), pair.effort_ratio
    if calls is None or plain is None or ratio is None:
        return None
    parts = ", ".join(f"{_PARTS[part]} {pair.calls.micros(part) or 0:,.0f}" for part in CALL_PARTS)
    return (
        f"A call took {calls:,.0f} µs of processor time ({parts}), a plain update {plain:,.0f}: {ratio:.2f} × by "
        "processor time."
    )


_PARTS = {
    CALLERS: "the callers",
    WORKERS: "the workers",
    INTAKE: "the server to take it in",
    TURNS: "for its turn",
    LISTENING: "to notify",
}


def _explained(result: DrainResult) -> list[str]:
    """What tells a slow worker from one that was not let run."""
    words = []
    if result.load.messages_per_turn is not None:
        words.append(f"{result.load.messages_per_turn:,.0f} messages shared a commit.")
    if result.worker_ms is not None and result.worker_share is not None:
        words.append(
            f"1,000 messages took {result.worker_ms:,.0f} ms of the workers' processor time, which kept "
            f"{result.worker_share:.2f} cores busy."
        )
    if result.machine_share is not None:
        words.append(f"All cores together were {result.machine_share:.0%} busy, with whatever runs here.")
    return words


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _add_pair(table: Table, when: str, pair: Pair) -> None:
    ratio = "–" if pair.ratio is None else f"{pair.ratio:.2f} ×"
    table.add_row(f"[bold]calls[/]{when}", *_figures(pair.calls), ratio)
    table.add_row(f"plain SQL{when}", *_figures(pair.plain), "1.00 ×")


def _figures(measured: Measured) -> list[str]:
    times = [measured.at(share) for share in (0.5, 0.95, 0.99)]
    return [f"{measured.per_second:,.0f}", *("–" if time is None else f"{time:,.2f} ms" for time in times)]


def _print(table: Table, tally: Tally) -> None:
    table.caption = "[green]the sums agree[/]" if tally.sound else "[red]the sums do not agree[/]"
    table.caption_justify = "left"
    Console(highlight=False).print(table)
    if not tally.sound:
        say(tally.words())
