"""A turn's budget: wall time, of which other processes' time does not count, within bounds."""

from __future__ import annotations

import time

import pytest

from revenant.worker.lanes.budget import MOST_BUDGETS, Budget


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"wall": 100.0, "processor": 7.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(time, "thread_time", lambda: now["processor"])
    return now


def test_a_budget_is_spent_when_it_was_worked_off(clocks: dict[str, float]) -> None:
    budget = Budget(0.02)
    assert not budget.spent()
    clocks["wall"] += 0.021
    clocks["processor"] += 0.021
    assert budget.spent()


def test_time_that_other_processes_had_does_not_count(clocks: dict[str, float]) -> None:
    budget = Budget(0.02)
    clocks["wall"] += 0.06
    clocks["processor"] += 0.015
    assert not budget.spent()


def test_handlers_that_only_wait_end_the_turn_too(clocks: dict[str, float]) -> None:
    budget = Budget(0.02)
    clocks["wall"] += MOST_BUDGETS * 0.02 + 0.001
    assert budget.spent()
