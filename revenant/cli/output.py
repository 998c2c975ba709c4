"""Rows on stdout, a page at a time: as a table, JSON, NDJSON or CSV; colours and frames only where a human looks."""

from __future__ import annotations

import csv
import io
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revenant.cli.option import option

F = TypeVar("F", bound=Callable[..., Any])
Row = Mapping[str, Any]
FORMATS = ("table", "json", "ndjson", "csv")
SCREEN = 100
"""Rows of a table that are laid out together, where there are so many."""
SHORT = 100
"""Characters that a table shows of a text that may be of any length."""
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def output_option(command: F) -> F:
    """Add -o to a command that lists or shows."""
    return option(
        "-o",
        "--output",
        envvar="REVENANT_OUTPUT",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print what was found.",
    )(command)


class Printer(ABC):
    """Prints rows of the same columns; `end` closes what has to be closed."""

    def __init__(self, columns: Sequence[str], *, short: Collection[str] = (), whole: Collection[str] = ()) -> None:
        self.columns = columns
        self.whole = whole
        """Columns that are never folded, however narrow the terminal is."""
        self.short = short
        """Columns of which a table shows the beginning only: their longest cell would push the others away."""

    @abstractmethod
    def page(self, rows: Iterable[Row]) -> None:
        """Print some rows."""

    def json(self, row: Row) -> str:
        """Return a row as one line of JSON."""
        return to_json({name: row[name] for name in self.columns}).decode()

    def text(self, row: Row, name: str) -> str:
        """Return a cell of a table."""
        text = _visible(row[name])
        return text if name not in self.short or len(text) <= SHORT else f"{text[: SHORT - 1]}…"

    def end(self) -> None:  # noqa: B027 # most formats have nothing to close
        """Finish."""


class JsonPrinter(Printer):
    """One array."""

    separator = "[\n"

    def page(self, rows: Iterable[Row]) -> None:
        """Print some elements."""
        for row in rows:
            click.echo(f"{self.separator}  {self.json(row)}", nl=False)
            self.separator = ",\n"

    def end(self) -> None:
        """Close the array."""
        click.echo("[]" if self.separator == "[\n" else "\n]")


class NdjsonPrinter(Printer):
    """An object a line."""

    def page(self, rows: Iterable[Row]) -> None:
        """Print some lines."""
        for row in rows:
            click.echo(self.json(row))


class CsvPrinter(Printer):
    """RFC 4180, with the columns' names first."""

    def __init__(self, columns: Sequence[str], *, short: Collection[str] = (), whole: Collection[str] = ()) -> None:
        super().__init__(columns, short=short, whole=whole)
        self._line(columns)

    def page(self, rows: Iterable[Row]) -> None:
        """Print some records."""
        for row in rows:
            self._line([_plain(row[name]) for name in self.columns])

    def _line(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        click.echo(line.getvalue(), nl=False)


class TextPrinter(Printer):
    """Aligned columns without frames, for pipes; widths are those of the first page."""

    widths: Sequence[int] | None = None

    def page(self, rows: Iterable[Row]) -> None:
        """Print some lines; the columns' names above the first."""
        lines = [[self.text(row, name) for name in self.columns] for row in rows]
        if self.widths is None:
            lines.insert(0, [_title(name).upper() for name in self.columns])
            self.widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, self.widths, strict=True))
            click.echo("  ".join(cells).rstrip())

    def end(self) -> None:
        """Print the names even where there was no row."""
        if self.widths is None:
            self.page(())


class RichPrinter(Printer):
    """A framed table a page, for a terminal."""

    printed = False

    def page(self, rows: Iterable[Row]) -> None:
        """Print one table."""
        table = Table(show_header=not self.printed, header_style="bold")
        for name in self.columns:
            table.add_column(_title(name), overflow="fold", no_wrap=name in self.whole)
        for row in rows:
            table.add_row(*(_cell(self.text(row, name)) for name in self.columns))
        Console(file=sys.stdout).print(table)
        self.printed = True

    def end(self) -> None:
        """Say so where there was no row."""
        if not self.printed:
            click.echo("Nothing found.", err=True)


def printer(
    output: str, columns: Sequence[str], *, short: Collection[str] = (), whole: Collection[str] = ()
) -> Printer:
    """Return the printer of a format; a table has frames on a terminal, and of `short` columns the beginning."""
    table = RichPrinter if sys.stdout.isatty() else TextPrinter
    made: dict[str, type[Printer]] = {"json": JsonPrinter, "ndjson": NdjsonPrinter, "csv": CsvPrinter, "table": table}
    return made[output](columns, short=short, whole=whole)


async def print_pages(
    output: str, columns: Sequence[str], pages: AsyncIterator[Sequence[Row]], *, short: Collection[str] = ()
) -> int:
    """Print all pages as they come; return how many rows there were."""
    out, count = printer(output, columns, short=short), 0
    held: list[Row] = []
    async for page in pages:
        count += len(page)
        held += page
        if output == "table" and len(held) < SCREEN:
            # Widths are those of what is printed at once; the pages of a bucket may be of a line each.
            continue
        out.page(held)
        held = []
    if held:
        out.page(held)
    out.end()
    return count


def print_rows(
    output: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    short: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print rows that are all at hand."""
    out = printer(output, columns, short=short, whole=whole)
    if rows:
        out.page(rows)
    out.end()


def print_record(output: str, record: Row) -> None:
    """Print one object: as such in JSON, as a line with its names above in CSV, else name by name."""
    if output == "json":
        click.echo(to_json(record, indent=2))
    elif output == "table":
        print_rows("table", ("field", "value"), [{"field": name, "value": value} for name, value in record.items()])
    else:
        print_rows(output, tuple(record), [record])


def _title(column: str) -> str:
    return column.replace("_", " ")


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case dict() | list():
            return to_json(value).decode()
        case _:
            return str(value)


def _visible(value: Any) -> str:
    """Return text that stays on its line: a key may hold line breaks and a terminal's commands."""
    text = _plain(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cell(text: str) -> Text:
    return Text(text, style=_STYLES.get(text, ""))
