"""The library's own time: its parts are real, and a library that does its work wrong is not measured as if right."""

from __future__ import annotations

import pytest

from revenant.bench.overhead import measure_overhead, overhead_as_json


async def test_every_part_costs_something_and_every_call_counts_once() -> None:
    result = await measure_overhead(messages=1000)
    assert result.messages == 1024
    assert result.tally.sound
    assert result.tally.total > result.messages
    assert {part.side for part in result.parts} == {"client", "worker", "reply"}
    assert min(part.seconds for part in result.parts) > 0


async def test_the_sum_is_that_of_the_parts() -> None:
    result = await measure_overhead(messages=64)
    figures = overhead_as_json(result)
    parts = [figures[name] for name in ("client_us", "worker_us", "reply_us")]
    assert figures["total_us"] == pytest.approx(sum(parts), abs=0.02)  # type: ignore[arg-type]  # figures are numbers here
    assert figures["total_us"] == pytest.approx(sum(part.seconds for part in result.parts) / 64 * 1e6, abs=0.02)
    assert (figures["messages"], figures["errors"]) == (64, 0)
