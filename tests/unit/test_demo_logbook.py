"""What a file of flights may look like, and what is said of one that is none."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from revenant.demo.data import default_data
from revenant.demo.flight import Flight
from revenant.demo.fold import Fold
from revenant.demo.logbook import COLUMNS, LINE_LIMIT, BadRow, Logbook
from revenant.errors import ConfigurationError

HEADER = ",".join(COLUMNS)
GOOD = "2013,1,1,515,517,11,UA,1545,N14228,EWR,IAH,227,1400"
FLIGHT = Flight("2013-01-01", "UA", 1545, "N14228", "EWR", "IAH", 517, 11, 227, 1400)


def book(path: Path, text: str | bytes) -> Logbook:
    file = path / "flights.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return Logbook(file)


def read(logbook: Logbook) -> tuple[list[Flight], list[BadRow]]:
    bad: list[BadRow] = []
    return list(logbook.flights(bad.append)), bad


def test_a_row_is_a_flight_and_na_is_unknown(tmp_path: Path) -> None:
    rows = [GOOD, "2013,1,2,600,NA,NA,AA,1,NA,JFK,MIA,NA,1089"]
    flights, bad = read(book(tmp_path, "\n".join([HEADER, *rows])))
    assert flights == [FLIGHT, Flight("2013-01-02", "AA", 1, "NA", "JFK", "MIA", None, None, None, 1089)]
    assert bad == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (GOOD.replace("1400", "far"), "distance should be a whole number from 0 on, and is 'far'"),
        (GOOD.replace("1400", "-1"), "distance"),
        (GOOD.replace("1400", "NA"), "distance"),
        (GOOD.replace("1400", "1e3"), "distance"),
        (GOOD.replace("1400", "٣"), "distance"),
        (GOOD.replace("227", "x"), "air_time"),
        (GOOD.replace("2013,1,1", "2013,2,30"), "day"),
        (GOOD.replace("N14228", ""), "tailnum"),
        (GOOD.replace("N14228", "N\0"), "tailnum"),
        (GOOD.replace("N14228", "N" * 65), "tailnum"),
        (GOOD.replace("EWR", '"EWR'), "unexpected end of data"),
        ("2013,1,1", "3 fields"),
        (GOOD.replace("IAH", "x" * LINE_LIMIT), "longer than 65,536 characters"),
    ],
)
def test_a_bad_row_is_reported_by_its_line_and_the_rest_goes_on(tmp_path: Path, row: str, why: str) -> None:
    flights, bad = read(book(tmp_path, f"{HEADER}\n{GOOD}\n\n{row}\n{GOOD}\n"))
    assert flights == [FLIGHT, FLIGHT]
    assert [found.line for found in bad] == [4]
    assert why in bad[0].why


def test_bytes_that_are_no_text_spoil_their_row_alone(tmp_path: Path) -> None:
    row = GOOD.encode().replace(b"N14228", b"N\xff")
    flights, bad = read(book(tmp_path, b"\n".join([HEADER.encode(), row, GOOD.encode()])))
    assert flights == [FLIGHT]
    assert [found.line for found in bad] == [2]


def test_columns_come_in_any_order_quoted_and_among_others(tmp_path: Path) -> None:
    names = ["extra", *reversed(COLUMNS)]
    values = ["x", *reversed(GOOD.split(","))]
    quoted = ",".join(f'"{value}"' for value in values)
    text = "\ufeff" + ",".join(names) + "\r\n" + quoted + "\r\n"
    assert read(book(tmp_path, text)) == ([FLIGHT], [])


def test_gzip_is_recognised_by_its_content(tmp_path: Path) -> None:
    logbook = book(tmp_path, gzip.compress(f"{HEADER}\n{GOOD}\n".encode()))
    assert logbook.check() == 1
    assert read(logbook) == ([FLIGHT], [])


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lacks the columns tailnum, distance"):
        book(tmp_path, HEADER.replace(",tailnum", "").replace(",distance", "") + "\n").check()


@pytest.mark.parametrize("text", ["", "\n", HEADER, HEADER + "\n\n"])
def test_an_empty_file_has_no_flights(tmp_path: Path, text: str) -> None:
    logbook = book(tmp_path, text)
    assert logbook.check() == 0
    assert read(logbook) == ([], [])


def test_a_file_that_is_missing_or_damaged_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        Logbook(tmp_path / "none.csv").check()
    with pytest.raises(ConfigurationError, match="not a regular file"):
        Logbook(tmp_path).check()
    whole = gzip.compress(f"{HEADER}\n{GOOD}\n".encode() * 1000)
    with pytest.raises(ConfigurationError, match="cannot be read to its end"):
        book(tmp_path, whole[:-20]).check()


def test_the_demo_s_own_file_has_27_004_flights_and_no_bad_row() -> None:
    logbook = Logbook(default_data())
    flights, bad = read(logbook)
    assert (len(flights), bad, logbook.check()) == (27_004, [], 27_004)


def test_a_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    def most(rows: int) -> int:
        """Return the bytes that reading so many rows, and folding them, has in memory at a time."""
        logbook = book(tmp_path, gzip.compress(f"{HEADER}\n".encode() + f"{GOOD}\n".encode() * rows))
        tracemalloc.start()
        try:
            fold = Fold()
            assert logbook.check() == rows
            for flight in logbook.flights(lambda _: None):
                fold.add(flight)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = most(1_000), most(15_000)
    assert many - few < 50_000, "fifteen times as much to read, 750 kB more"
