"""What the file says of every aircraft, and that a difference from it is found."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from revenant.demo.aircraft import Aircraft
from revenant.demo.data import default_data
from revenant.demo.flight import Flight
from revenant.demo.fold import Fold, Record
from revenant.demo.logbook import Logbook
from revenant.demo.verdict import SHOWN, Comparison, Verdict

FLIGHT = Flight("2013-01-01", "UA", 1545, "N1", "EWR", "IAH", 517, -11, 227, 1400)
CANCELLED = Flight("2013-01-02", "UA", 2, "N1", "EWR", "ORD", None, None, None, 719)
DIVERTED = Flight("2013-01-03", "UA", 3, "N1", "EWR", "IAH", 600, None, None, 1400)


def fold(*flights: Flight) -> dict[str, Record]:
    folded = Fold()
    for flight in flights:
        folded.add(flight)
    return folded.records


def compare(expected: dict[str, Record], found: dict[str, Any]) -> Verdict:
    comparison = Comparison(expected)
    for name, state in found.items():
        comparison.add(name, json.dumps(state))
    return comparison.close()


def test_cancelled_flights_count_as_nothing_else_and_diverted_ones_have_no_minutes() -> None:
    assert fold(FLIGHT, DIVERTED, CANCELLED)["N1"] == {
        "flights": 2,
        "miles": 2800,
        "minutes": 227,
        "cancellations": 1,
        "worst_delay": -11,
        "destinations": {"IAH": 2},
        "last_flight": "2013-01-03 UA3 EWR-IAH",
    }


def test_an_aircraft_that_never_left_has_no_last_flight() -> None:
    record = fold(CANCELLED)["N1"]
    assert (record["flights"], record["cancellations"], record["last_flight"]) == (0, 1, None)


async def test_the_entity_and_the_fold_agree_on_the_whole_file() -> None:
    entities: dict[str, Aircraft] = {}
    folded = Fold()
    for flight in Logbook(default_data()).flights(lambda _: None):
        await Aircraft.log.function(entities.setdefault(flight.tailnum, Aircraft()), flight)
        folded.add(flight)
    verdict = compare(folded.records, {name: entity.model_dump() for name, entity in entities.items()})
    assert verdict == Verdict(entities=3149)
    assert verdict.clean


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("miles", 0),
        ("minutes", 1),
        ("worst_delay", None),
        ("destinations", {"IAH": 1, "ORD": 1}),
        ("last_flight", "2013-01-01 UA1545 EWR-IAH"),
        ("unheard_of", 1),
    ],
)
def test_any_field_that_differs_is_found_and_named(name: str, value: object) -> None:
    expected = fold(FLIGHT, DIVERTED)
    found = copy.deepcopy(expected)
    found["N1"][name] = value
    verdict = compare(expected, found)
    assert (verdict.mismatched, verdict.lost, verdict.doubled) == (1, 0, 0)
    assert f"N1: {name} is" in verdict.differences[0]
    assert not verdict.clean


def test_messages_lost_and_doubled_are_counted_apart() -> None:
    expected = fold(FLIGHT, DIVERTED, CANCELLED) | {"N2": fold(FLIGHT, FLIGHT)["N1"], "N3": fold(FLIGHT)["N1"]}
    found = {"N1": fold(FLIGHT)["N1"], "N2": fold(FLIGHT, FLIGHT, FLIGHT)["N1"], "N4": fold(FLIGHT)["N1"]}
    verdict = compare(expected, found)
    assert (verdict.entities, verdict.lost, verdict.doubled, verdict.mismatched) == (3, 2 + 1, 1 + 1, 4)


def test_differences_are_all_counted_and_the_first_few_shown() -> None:
    expected = {f"N{number}": fold(FLIGHT)["N1"] for number in range(SHOWN + 5)}
    verdict = compare(expected, {})
    assert (verdict.lost, verdict.mismatched, len(verdict.differences)) == (SHOWN + 5, SHOWN + 5, SHOWN)
