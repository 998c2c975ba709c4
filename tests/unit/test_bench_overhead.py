"""The library's own time: its parts are real, and a library that does its work wrong is not measured as if right."""

from __future__ import annotations

from typing import Any

import pytest

from revenant.bench.overhead import AT_ONCE, measure_overhead, overhead_as_json
from revenant.entities import instance, snapshot


async def test_every_part_costs_something_and_every_call_counts_once() -> None:
    result = await measure_overhead(messages=1000)
    assert result.messages == 1024
    assert result.tally.sound
    assert result.tally.total > result.messages
    assert {part.side for part in result.parts} == {"client", "worker", "reply"}
    assert min(part.seconds for part in result.parts) > 0


async def test_states_are_in_the_workers_memory_as_they_are_where_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[str | None] = []
    load = snapshot.load_state

    def counted(*words: Any, state: str | None, **more: Any) -> Any:
        states.append(state)
        return load(*words, state=state, **more)

    monkeypatch.setattr(instance, "load_state", counted)
    await measure_overhead(messages=640)
    assert states == [None] * AT_ONCE


async def test_the_sum_is_that_of_the_parts() -> None:
    result = await measure_overhead(messages=64)
    figures = overhead_as_json(result)
    parts = [figures[name] for name in ("client_us", "worker_us", "reply_us")]
    assert figures["total_us"] == pytest.approx(sum(parts), abs=0.02)  # type: ignore[arg-type]  # figures are numbers here
    assert figures["total_us"] == pytest.approx(sum(part.seconds for part in result.parts) / 64 * 1e6, abs=0.02)
    assert (figures["messages"], figures["errors"]) == (64, 0)
