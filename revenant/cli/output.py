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
LONGEST_WHOLE = 28
"""Characters of a text with a space in it that is never broken; a moment has 25."""
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
        self.spare: Sequence[str] = ()
        """Columns that a terminal has no room for first."""
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
        click.echo(line.getvalue(), nl=False, color=True)  # else what looks like a colour is taken out of the data


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
    """A framed table a page, for a terminal; where that is too narrow for one, a line for each value."""

    printed = False
    framed = True
    left_out: Sequence[str] = ()

    def page(self, rows: Iterable[Row]) -> None:
        """Print one table, or the values row by row."""
        cells = [[self.text(row, name) for name in self.columns] for row in rows]
        if not cells:
            return
        console = Console(file=sys.stdout)
        if not self.printed:
            cells = self._fit(cells, console.width)
        if self.framed:
            console.print(self._table(cells))
        else:
            self._list(console, cells)
        self.printed = True

    def _fit(self, cells: list[list[str]], width: int) -> list[list[str]]:
        """Leave out what can be spared until the rest has room; if it has none so, leave out nothing."""
        kept, left = list(range(len(self.columns))), cells
        for name in (None, *self.spare):
            kept = [place for place in kept if self.columns[place] != name]
            left = [[line[place] for place in kept] for line in cells]
            if fits([self.columns[place] for place in kept], left, width, whole=self.whole):
                self.left_out = [name for place, name in enumerate(self.columns) if place not in kept]
                self.columns = [self.columns[place] for place in kept]
                return left
        self.framed = False
        return cells

    def _table(self, cells: Sequence[Sequence[str]]) -> Table:
        table = Table(show_header=not self.printed, header_style="bold")
        for name, column in zip(self.columns, zip(*cells, strict=True), strict=True):
            # An id that is broken over lines cannot be copied.
            table.add_column(_title(name), overflow="fold", no_wrap=name in self.whole or not _is_prose(column))
        for line in cells:
            table.add_row(*map(_cell, line))
        return table

    def _list(self, console: Console, cells: Sequence[Sequence[str]]) -> None:
        width = max(len(name) for name in self.columns)
        for place, line in enumerate(cells):
            if place or self.printed:
                console.print()
            for name, text in zip(self.columns, line, strict=True):
                if text:
                    title = (f"{_title(name):{width}}  ", "bold")
                    console.print(Text.assemble(title, _cell(text)), soft_wrap=True)

    def end(self) -> None:
        """Say so where there was no row."""
        if not self.printed:
            click.echo("Nothing found.", err=True)
        if self.left_out:
            names = ", ".join(map(_title, self.left_out))
            click.echo(f"Left out, for want of room: {names}. A wider terminal has them, and so has -o json.", err=True)


def fits(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int, *, whole: Collection[str] = ()) -> bool:
    """Return whether a framed table has room in a terminal of so many characters, without breaking a word."""
    narrowest = 1
    for name, column in zip(columns, zip(*cells, strict=True), strict=True):
        if name not in whole and _is_prose(column):
            # It is broken between words, and where one is as long as a path.
            cell = max(LONGEST_WHOLE // 2, *(min(len(word), LONGEST_WHOLE) for text in column for word in text.split()))
        else:
            cell = max(map(len, column), default=0)
        narrowest += 3 + max(cell, *map(len, _title(name).split()))
    return narrowest <= width


def fits_terminal(columns: Sequence[str], rows: Sequence[Row], *, whole: Collection[str] = ()) -> bool:
    """Return whether these have room as a framed table in the terminal there is."""
    cells = [[_visible(row[name]) for name in columns] for row in rows]
    return fits(columns, cells, Console(file=sys.stdout).width, whole=whole)


def _is_prose(column: Iterable[str]) -> bool:
    """Whether a column may be broken between words: more is in it than an id, a name or a moment."""
    return any(len(text) > LONGEST_WHOLE and " " in text for text in column)


def printer(
    output: str, columns: Sequence[str], *, short: Collection[str] = (), whole: Collection[str] = ()
) -> Printer:
    """Return the printer of a format; a table has frames on a terminal, and of `short` columns the beginning."""
    table = RichPrinter if sys.stdout.isatty() else TextPrinter
    made: dict[str, type[Printer]] = {"json": JsonPrinter, "ndjson": NdjsonPrinter, "csv": CsvPrinter, "table": table}
    return made[output](columns, short=short, whole=whole)


async def print_pages(
    output: str,
    columns: Sequence[str],
    pages: AsyncIterator[Sequence[Row]],
    *,
    short: Collection[str] = (),
    spare: Sequence[str] = (),
) -> int:
    """Print all pages as they come; return how many rows there were."""
    out, count = printer(output, columns, short=short), 0
    out.spare = spare
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
