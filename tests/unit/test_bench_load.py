"""Percentiles, and what the benchmark's callers count."""

from __future__ import annotations

import asyncio

import pytest

from revenant.bench.calls import CallsResult, Pair, calls_as_json
from revenant.bench.load import Measured, press
from revenant.errors import CallTimeout, DatabaseUnavailable
from revenant.trial.latency import milliseconds, percentile


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.0, 7.0),
        ([7.0], 0.99, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(number) for number in range(1, 101)], 0.95, 95.0),
        ([float(number) for number in range(1, 101)], 0.99, 99.0),
        ([float(number) for number in range(1, 101)], 1.0, 100.0),
    ],
)
def test_a_percentile_is_a_sample(samples: list[float], share: float, expected: float | None) -> None:
    assert percentile(samples, share) == expected


def test_milliseconds_keep_the_unknown() -> None:
    assert (milliseconds(None), milliseconds(0.0012345)) == (None, 1.234)


async def test_callers_count_answers_unknowns_and_errors_apart() -> None:
    measured = Measured()
    seen: set[int] = set()

    async def request(caller: int, entity: int) -> None:
        await asyncio.sleep(0.001)
        seen.add(entity)
        if caller == 1:
            raise CallTimeout("no reply yet", message_id="1")
        if caller == 2:
            raise DatabaseUnavailable("it is away")

    await press(request, callers=3, entities=4, seconds=0.1, into=measured)
    assert seen <= set(range(4))
    assert min(len(measured.latencies), measured.unknown, measured.errors) > 0
    assert measured.first_error in ("no reply yet", "it is away")
    assert measured.seconds >= 0.1
    assert measured.per_second == pytest.approx(len(measured.latencies) / measured.seconds)


def result(*, total: int, unknown: int = 0, errors: int = 0) -> CallsResult:
    pair = Pair(Measured(seconds=1.0, latencies=[0.001] * 10), Measured(seconds=1.0, latencies=[0.002] * 5))
    return CallsResult(
        callers=1, entities=1, workers=1, measured=pair, fresh=None, alone=None, fresh_alone=None, hold=0.0,
        expected=10, unknown=unknown, errors=errors, first_error=None, total=total,
    )  # fmt: skip


def test_a_sum_that_does_not_agree_with_the_replies_is_not_sound() -> None:
    assert result(total=10).sound
    assert result(total=11, unknown=1).sound
    assert not result(total=9, unknown=1).sound
    assert not result(total=11).sound
    assert not result(total=10, errors=1).sound


def test_the_ratio_is_calls_for_each_plain_update() -> None:
    figures = calls_as_json(result(total=10))
    assert (figures["ratio"], figures["p50_ms"], figures["baseline_p50_ms"]) == (2.0, 1.0, 2.0)
