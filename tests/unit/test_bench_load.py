"""Percentiles, and what the benchmark's callers count."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

from revenant.bench.calls import CallsResult, Pair, calls_as_json
from revenant.bench.effort import Effort
from revenant.bench.load import Measured, Pace, press, work_off
from revenant.bench.tally import Tally
from revenant.errors import CallTimeout, DatabaseUnavailable
from revenant.trial.cpu import busy_seconds, cpu_seconds
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


async def test_work_is_done_once_over_all_entities_in_turn_and_so_much_at_a_time() -> None:
    seen: list[int] = []
    running: set[int] = set()
    most = 0

    async def request(caller: int, entity: int) -> None:
        nonlocal most
        assert caller not in running
        running.add(caller)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.remove(caller)
        seen.append(entity)

    pace = await work_off(request, total=10, entities=4, at_once=3)
    assert (pace.count, most) == (10, 3)
    assert sorted(seen) == sorted(number % 4 for number in range(10))
    assert (await work_off(request, total=2, entities=4, at_once=3)).count == 2


async def test_work_ends_when_its_time_is_over_and_with_the_first_error() -> None:
    async def slow(_: int, __: int) -> None:
        await asyncio.sleep(0.02)

    pace = await work_off(slow, total=1000, entities=1, at_once=2, seconds=0.05)
    assert 2 <= pace.count < 20
    assert pace.seconds >= 0.05

    async def refused(_: int, __: int) -> None:
        raise DatabaseUnavailable("it is away")

    with pytest.raises(DatabaseUnavailable):
        await work_off(refused, total=10, entities=1, at_once=1)


def test_paces_add_up() -> None:
    assert (Pace(10, 2.0) + Pace(20, 1.0)).per_second == 10.0
    assert Pace(0, 0.0).per_second == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_processor_time_is_read_of_the_system() -> None:
    own, all_of_it = cpu_seconds(os.getpid()), busy_seconds()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    spent, busy = cpu_seconds(os.getpid()), busy_seconds()
    assert own is not None
    assert spent is not None
    assert all_of_it is not None
    assert busy is not None
    assert 0.07 <= spent - own <= 1.0
    assert busy - all_of_it >= 0.07
    assert cpu_seconds(2**30) is None


def result() -> CallsResult:
    pair = Pair(Measured(seconds=1.0, latencies=[0.001] * 10), Measured(seconds=1.0, latencies=[0.002] * 5))
    return CallsResult(
        callers=1, entities=1, workers=1, measured=pair, fresh=None, alone=None, fresh_alone=None, hold=0.0,
        tally=Tally(expected=10, total=10),
    )  # fmt: skip


def test_a_sum_that_does_not_agree_with_the_replies_is_not_sound() -> None:
    assert Tally(expected=10, total=10).sound
    assert Tally(expected=10, total=11, unknown=1).sound
    assert not Tally(expected=10, total=9, unknown=1).sound
    assert not Tally(expected=10, total=11).sound
    assert not Tally(expected=10, total=10, errors=1).sound


def test_the_ratio_is_calls_for_each_plain_update() -> None:
    figures = calls_as_json(result())
    assert (figures["ratio"], figures["p50_ms"], figures["baseline_p50_ms"]) == (2.0, 1.0, 2.0)


def test_the_effort_of_requests_is_what_was_spent_between_two_looks() -> None:
    effort = Effort()
    effort.add({"callers": 1.0, "workers": 5.0}, {"callers": 1.5, "workers": 6.0})
    effort.add({"callers": 2.0, "workers": 6.0}, {"callers": 2.5, "workers": 7.0})
    assert (effort.micros(1000), effort.micros(1000, "workers")) == (3000.0, 2000.0)
    assert effort.micros(0) is None
    effort.add({"callers": 3.0}, None)
    assert effort.micros(1000) is None, "a part of it was not seen"
