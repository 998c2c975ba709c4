"""The runs that a runner has in memory: to forget the longest unused costs the same, however many are under way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from revenant.worker.runs import stage
from revenant.worker.runs.stage import Stage, Staged


class Fake:
    """What a stage looks at of a run; it counts the looks."""

    looks = 0

    def __init__(self, number: int, *, owned: bool) -> None:
        self.key = ("run:w", str(number))
        self.busy = owned
        self.live = SimpleNamespace(draft=SimpleNamespace(empty=True), put_aside=lambda: None)
        self.tasks: dict[int, Any] = {}

    @property
    def owned(self) -> bool:
        Fake.looks += 1
        return self.busy


def made(*fakes: Fake) -> Stage:
    found = Stage()
    for one in fakes:
        found.add(cast(Staged, one))
    return found


def kept(stage: Stage) -> list[int]:
    return sorted(int(one.key[1]) for one in stage)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "MOST_IDLE", 3)


def test_the_longest_unused_are_forgotten_and_those_under_way_stay() -> None:
    busy = [Fake(number, owned=True) for number in range(10)]
    idle = [Fake(number, owned=False) for number in range(10, 16)]
    found = made(*busy, *idle)
    found.used(cast(Staged, idle[0]))
    found.tidy()
    assert kept(found) == [*range(10), 10, 14, 15]


def test_one_whose_attempts_have_begun_or_ended_since_is_what_it_is_now() -> None:
    runs = [Fake(number, owned=False) for number in range(5)]
    found = made(*runs)
    runs[0].busy = True
    found.tidy()
    assert kept(found) == [0, 2, 3, 4]
    runs[0].busy = False
    found.used(cast(Staged, runs[0]))
    found.tidy()
    assert kept(found) == [0, 3, 4]
    found.drop(cast(Staged, runs[3]))
    assert kept(found) == [0, 4]


def test_one_that_has_something_to_be_written_stays() -> None:
    runs = [Fake(number, owned=False) for number in range(5)]
    runs[0].live.draft.empty = False
    found = made(*runs)
    found.tidy()
    assert kept(found) == [0, 2, 3, 4]


def test_what_is_under_way_is_not_looked_at_each_time() -> None:
    found = made(*(Fake(number, owned=True) for number in range(5_000)))
    Fake.looks = 0
    for _ in range(100):
        found.tidy()
    assert Fake.looks == 0
