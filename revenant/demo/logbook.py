"""Logbook: a file of flights, plain or gzipped, read row by row however large it is.

Invariant: a row that cannot be read is reported by its line number, and the rest goes on.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from revenant.demo.flight import Flight
from revenant.errors import ConfigurationError

COLUMNS = (
    "year", "month", "day", "sched_dep_time", "dep_time", "arr_delay", "carrier", "flight", "tailnum", "origin",
    "dest", "air_time", "distance",
)  # fmt: skip
"""What a file must have, in any order; further columns are passed over."""
LINE_LIMIT = 64 * 1024
"""Characters of the longest line that is read; longer ones are no rows."""
WORD_LIMIT = 64
"""Characters that a tail number, carrier or airport may have."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: its line, from 1 for the header, and why."""

    line: int
    why: str


class Logbook:
    """The flights of one file, as often as they are asked for.

    Example:
        >>> for flight in Logbook(Path("flights.csv.gz")).flights(print):
        ...     ...
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> int:
        """Return how many rows the file has, at most; reads it to its end.

        Raises:
            ConfigurationError: it is missing, no regular file, damaged, or lacks columns; the text names them.
        """
        if not self.path.is_file():
            what = "is not a regular file" if self.path.exists() else "does not exist"
            raise ConfigurationError(f"The data file {self.path} {what}. Name a CSV file of flights with --data.")
        try:
            with self._open() as file:
                self._header(file)
                return sum(1 for line in _lines(file) if line.strip())
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigurationError(
                f"The data file {self.path} cannot be read to its end: {error}. Nothing was sent; get it once more."
            ) from error

    def flights(self, report: Callable[[BadRow], None]) -> Iterator[Flight]:
        """Yield the flights in the order of the file, and report the rows that are none."""
        with self._open() as file:
            places = self._header(file)
            for number, line in enumerate(_lines(file), start=2):
                if not line.strip():
                    continue
                try:
                    yield _flight(line, places)
                except (ValueError, csv.Error) as error:
                    report(BadRow(number, str(error)))

    def _open(self) -> TextIO:
        with self.path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        opened = gzip.open(self.path, "rb") if zipped else self.path.open("rb")  # noqa: SIM115 # the wrapper closes it
        raw = cast("BinaryIO", opened)
        # Bytes that are no UTF-8 spoil their row, not the file.
        return TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape")

    def _header(self, file: TextIO) -> dict[str, int]:
        """Return where each column stands; an empty file has no columns and no rows."""
        first = file.readline(LINE_LIMIT)
        if not first.strip():
            return {}
        names = [name.strip() for name in next(csv.reader([first]))]
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise ConfigurationError(
                f"The data file {self.path} lacks the columns {', '.join(missing)}; its header says "
                f"{', '.join(names)[:300]}. It needs {', '.join(COLUMNS)}, in any order."
            )
        return {name: names.index(name) for name in COLUMNS}


def _lines(file: TextIO) -> Iterator[str]:
    """Yield line by line; of one over the limit only its beginning, so that memory stays bounded."""
    while line := file.readline(LINE_LIMIT):
        yield line
        while len(line) == LINE_LIMIT and not line.endswith("\n"):
            line = file.readline(LINE_LIMIT)


def _flight(line: str, places: dict[str, int]) -> Flight:
    """Read one row; ValueError or csv.Error says what is wrong with it."""
    if len(line) >= LINE_LIMIT:
        raise ValueError(f"it is longer than {LINE_LIMIT:,} characters")
    fields = next(csv.reader([line], strict=True))
    if len(fields) <= max(places.values()):
        raise ValueError(f"it has {len(fields)} fields, too few for the header")
    row = {name: fields[place].strip() for name, place in places.items()}
    _known(row, "sched_dep_time")
    return Flight(
        day=date(_integer(row, "year"), _integer(row, "month"), _integer(row, "day")).isoformat(),
        carrier=_word(row, "carrier"),
        number=_integer(row, "flight"),
        tailnum=_word(row, "tailnum"),
        origin=_word(row, "origin"),
        dest=_word(row, "dest"),
        dep_time=_known(row, "dep_time"),
        arr_delay=_known(row, "arr_delay", least=-100_000),
        air_time=_known(row, "air_time"),
        distance=_integer(row, "distance"),
    )


def _word(row: dict[str, str], name: str) -> str:
    text = row[name]
    if not 0 < len(text) <= WORD_LIMIT or not text.isprintable():
        raise ValueError(f"{name} should be a word of 1 to {WORD_LIMIT} characters, and is {text[:40]!r}")
    return text


def _integer(row: dict[str, str], name: str, *, least: int = 0) -> int:
    text = row[name]
    if not _INTEGER.fullmatch(text) or int(text) < least:
        raise ValueError(f"{name} should be a whole number from {least} on, and is {text[:40]!r}")
    return int(text)


def _known(row: dict[str, str], name: str, *, least: int = 0) -> int | None:
    """Return a number, or None where the file says 'NA'."""
    return None if row[name] == "NA" else _integer(row, name, least=least)
