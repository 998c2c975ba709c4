"""When something comes again: clocks that are put forward and back, and what was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from revenant.entities.recurrence import Firing, Recurrence, firing_of, recurrence_of
from revenant.errors import ConfigurationError

BERLIN = "Europe/Berlin"
HERE = ZoneInfo(BERLIN)
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def shown(cron: str, start: datetime, many: int, zone: str = BERLIN) -> list[str]:
    """Return the occurrences after a moment, as a clock there shows them."""
    found = islice(Recurrence(None, cron, zone).after(start, since=start), many)
    return [moment.astimezone(ZoneInfo(zone)).strftime("%d.%m. %H:%M %z") for moment in found]


SPRING = [
    ("30 2 * * *", ["28.03. 02:30 +0100", "29.03. 03:00 +0200", "30.03. 02:30 +0200"]),
    ("0 3 * * *", ["28.03. 03:00 +0100", "29.03. 03:00 +0200", "30.03. 03:00 +0200"]),
    ("0 9 * * 1-5", ["27.03. 09:00 +0100", "30.03. 09:00 +0200", "31.03. 09:00 +0200"]),
]
AUTUMN = [
    ("30 2 * * *", ["24.10. 02:30 +0200", "25.10. 02:30 +0200", "26.10. 02:30 +0100"]),
    ("0 2 * * *", ["24.10. 02:00 +0200", "25.10. 02:00 +0200", "26.10. 02:00 +0100"]),
    ("15,45 2 * * *", ["24.10. 02:15 +0200", "24.10. 02:45 +0200", "25.10. 02:15 +0200"]),
]


@pytest.mark.parametrize(("cron", "expected"), SPRING)
def test_what_falls_into_the_hour_that_is_left_out_comes_at_its_end(cron: str, expected: list[str]) -> None:
    assert shown(cron, datetime(2026, 3, 27, 3, 30, tzinfo=HERE), 3) == expected


@pytest.mark.parametrize(("cron", "expected"), AUTUMN)
def test_what_falls_into_the_hour_that_comes_twice_comes_once(cron: str, expected: list[str]) -> None:
    assert shown(cron, datetime(2026, 10, 23, 3, 30, tzinfo=HERE), 3) == expected


def test_hourly_is_every_real_hour_whatever_the_clock_does() -> None:
    for day in (datetime(2026, 3, 29, tzinfo=HERE), datetime(2026, 10, 25, tzinfo=HERE)):
        found = list(islice(Recurrence(None, "0 * * * *", BERLIN).after(day, since=day), 6))
        assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


def test_from_the_second_time_of_an_hour_on_nothing_of_its_first_time_comes_again() -> None:
    second = datetime(2026, 10, 25, 2, 20, fold=1, tzinfo=HERE)
    assert shown("15,45 2 * * *", second, 1) == ["26.10. 02:15 +0100"]


def test_every_counts_real_time() -> None:
    start = datetime(2026, 3, 28, 12, tzinfo=HERE).astimezone(UTC)
    (due,) = islice(Recurrence(86400.0, None, "UTC").after(start, since=start), 1)
    assert due.astimezone(HERE).hour == 13


def test_every_keeps_to_its_grid_however_late_it_is_looked_at() -> None:
    due = MIDNIGHT
    late = due + timedelta(minutes=59, seconds=59)
    assert firing_of(Recurrence(600.0, None, "UTC"), due, late, "once", most=9) == Firing(1, due + timedelta(hours=1))


HOURLY = Recurrence(3600.0, None, "UTC")


@pytest.mark.parametrize(
    ("late", "missed", "expected"),
    [
        (timedelta(0), "skip", Firing(1, MIDNIGHT + timedelta(hours=1))),
        (timedelta(seconds=59), "skip", Firing(1, MIDNIGHT + timedelta(hours=1))),
        (timedelta(seconds=61), "skip", Firing(0, MIDNIGHT + timedelta(hours=1))),
        (timedelta(hours=5, seconds=30), "skip", Firing(1, MIDNIGHT + timedelta(hours=6))),
        (timedelta(hours=5, minutes=30), "skip", Firing(0, MIDNIGHT + timedelta(hours=6))),
        (timedelta(hours=5, minutes=30), "once", Firing(1, MIDNIGHT + timedelta(hours=6))),
        (timedelta(hours=5, minutes=30), "all", Firing(6, MIDNIGHT + timedelta(hours=6))),
        (timedelta(hours=50), "all", Firing(10, MIDNIGHT + timedelta(hours=10))),
    ],
)
def test_what_was_missed_is_skipped_sent_once_or_sent_for_each(late: timedelta, missed: str, expected: Firing) -> None:
    assert firing_of(HOURLY, MIDNIGHT, MIDNIGHT + late, missed, most=10) == expected
    by_the_clock = Recurrence(None, "0 * * * *", "UTC")
    assert firing_of(by_the_clock, MIDNIGHT, MIDNIGHT + late, missed, most=10) == expected


def test_what_comes_once_never_comes_again() -> None:
    assert firing_of(Recurrence(None, None, "UTC"), MIDNIGHT, MIDNIGHT, "once", most=9) == Firing(1, None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cron": "0 9 * * 1-5 7 7"}, "7 fields"),
        ({"cron": "61 * * * *"}, "bad minute"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"cron": 5}, "0 fields"),
        ({"cron": "* * * * *", "timezone": "Europe/Atlantis"}, "does not know"),
        ({"cron": "* * * * *", "timezone": None}, "does not know"),
        ({"cron": "* * * * *", "every": timedelta(hours=1)}, "both"),
        ({"every": timedelta(milliseconds=1)}, "at least 1 s"),
        ({"every": timedelta.max}, "365,000 days at most"),
        ({"every": 5}, "takes a timedelta"),
        ({"every": timedelta(hours=1), "timezone": BERLIN}, "knows none"),
        ({"every": timedelta(hours=1), "missed": "never"}, "'skip', 'once' or 'all'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_words(given: dict[str, Any], words: str) -> None:
    asked: dict[str, Any] = {"every": None, "cron": None, "timezone": "UTC", "missed": "once"}
    with pytest.raises(ConfigurationError, match=words):
        recurrence_of("it", **{**asked, **given})
