"""Screen: words and a progress bar on stderr, and the table at the end on stdout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from revenant.demo.logbook import BadRow
from revenant.demo.result import Result

BAD_ROWS_SHOWN = 20


class Screen:
    """Where people see how it goes; without a terminal only the words are written."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>8,.0f}/s"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self.bad_rows = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Write words for people."""
        self._console.print(text, markup=False, soft_wrap=True)

    def begin(self, total: int, what: str = "Telling every aircraft its flights") -> None:
        """Show the bar."""
        self._task = self._progress.add_task(what, total=total, rate=0.0)

    def advance(self, sent: int) -> None:
        """Move the bar to so many."""
        if self._task is not None:
            speed = self._progress.tasks[0].speed
            self._progress.update(self._task, completed=sent, rate=speed or 0.0)

    def report(self, row: BadRow) -> None:
        """Say which row cannot be read; after the first few they are only counted."""
        self.bad_rows += 1
        if self.bad_rows <= BAD_ROWS_SHOWN:
            self.say(f"Line {row.line} was passed over: {row.why}.")

    def sum_up(self) -> None:
        """Say how many rows were passed over without a word."""
        if self.bad_rows > BAD_ROWS_SHOWN:
            self.say(f"… and {self.bad_rows - BAD_ROWS_SHOWN:,} more rows that cannot be read; the rest went on.")


def show(result: Result) -> None:
    """Print the table worth looking at."""
    draw(_lines(result), clean=result.clean, differences=result.differences)


def draw(lines: Iterable[tuple[str, str]], *, clean: bool, differences: Iterable[str]) -> None:
    """Print figures with their words, and what differs."""
    table = Table.grid(padding=(0, 3))
    table.add_column(justify="right", style="bold")
    table.add_column()
    for figure, words in lines:
        table.add_row(figure, words)
    title = "[green]nothing lost, nothing twice[/]" if clean else "[red]the states differ from the file[/]"
    console = Console(highlight=False)
    console.print(Panel(table, title=title, expand=False, padding=(1, 3)))
    for difference in differences:
        console.print(difference, markup=False, soft_wrap=True)


def surprises(*counts: tuple[int, str]) -> list[tuple[str, str]]:
    """Return lines for what is only worth one when there is any."""
    return [(f"[yellow]{count:,}[/]", words) for count, words in counts if count]


def count(wrong: int) -> str:
    """Return how many are wrong: none is good."""
    return f"[{'red' if wrong else 'green'}]{wrong:,}[/]"


def time(value: float | None) -> str:
    """Return milliseconds."""
    return "–" if value is None else f"{value:,.1f} ms"


def _lines(result: Result) -> list[tuple[str, str]]:
    lines = [
        (f"{result.flights:,}", f"flights told to {result.entities:,} aircraft in {result.seconds:.1f} s"),
        (f"{result.messages_per_second:,}", f"messages a second, {result.workers} workers"),
        (time(result.call_p50_ms), f"p50 of {result.calls:,} sampled calls, each a commit"),
        (time(result.call_p99_ms), "p99"),
        (f"{result.killed}", f"workers killed (SIGKILL), {result.on_the_way_at_kill:,} messages on their way"),
        (time(result.recovery_ms), "from the kill to the next reply"),
        (time(result.recovery_all_ms), "from the kill to the last of 16 replies"),
        (count(result.lost), "lost"),
        (count(result.doubled), "doubled"),
        (count(result.mismatched), "aircraft that differ from the file, field by field"),
    ]
    return lines + surprises(
        (result.out_of_order, "replies out of order"),
        (result.dead_letters + result.scheduled, "casts that failed"),
        (result.calls_unknown, "calls without a reply in time"),
        (result.workers_died, "workers that died unasked"),
        (result.bad_rows, "rows that cannot be read"),
    )
