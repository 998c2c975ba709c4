"""Screen: the benchmark's tables, for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from revenant.bench.calls import CallsResult, Pair
from revenant.bench.drain import DrainResult
from revenant.bench.load import Measured


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
    _print(table, result.sound)
    if not result.sound:
        say(
            f"{result.expected:,} calls were answered and {result.unknown:,} are unknown, yet the counters sum up to "
            f"{result.total:,}; {result.errors:,} requests failed. {result.first_error or ''}"
        )


def show_drain(result: DrainResult) -> None:
    """Print how fast the backlog went."""
    title = f"{result.messages:,} casts over {result.entities:,} entities, {result.workers} worker(s)"
    table = _table(title, "per second", "seconds", "ratio")
    plain = result.plain_per_second
    ratio = f"{result.per_second / plain:.2f} ×" if plain else "–"
    table.add_row("drained", f"[bold]{result.per_second:,.0f}[/]", f"{result.seconds:,.2f}", ratio)
    sent = result.messages / result.send_seconds
    table.add_row("sent, before", f"{sent:,.0f}", f"{result.send_seconds:,.2f}", "")
    table.add_row("plain SQL, 64 connections", f"{plain:,.0f}", f"{result.plain.seconds:,.2f}", "1.00 ×")
    _print(table, result.sound)
    if not result.sound:
        say(f"{result.messages:,} casts were sent, yet the counters sum up to {result.total:,}.")


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


def _print(table: Table, sound: bool) -> None:
    table.caption = "[green]the sums agree[/]" if sound else "[red]the sums do not agree[/]"
    table.caption_justify = "left"
    Console(highlight=False).print(table)
