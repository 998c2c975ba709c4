"""How often and after how long a failed attempt is followed by another one; and what a signature takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revenant.errors import ConfigurationError, InvalidArguments, Unstorable
from revenant.workflows.retry import Retry
from revenant.workflows.signature import Signature


@given(attempt=st.integers(1, 10**6), chance=st.floats(0, 1), factor=st.floats(1, 100), backoff=st.floats(0, 1e6))
def test_a_pause_is_never_longer_than_the_longest_and_its_quarter(
    attempt: int, chance: float, factor: float, backoff: float
) -> None:
    pause = Retry(backoff=backoff, factor=factor, longest=60.0).pause(attempt, chance)
    assert 0 <= pause <= 75.0


def test_pauses_grow_by_the_factor() -> None:
    retry = Retry(backoff=1.0, factor=3.0)
    assert [retry.pause(attempt, 0.5) for attempt in (1, 2, 3)] == [1.0, 3.0, 9.0]


@pytest.mark.parametrize(
    ("jitter", "shares"), [(0.0, [1.0, 1.0, 1.0]), (0.25, [0.75, 1.0, 1.25]), (1, [0.0, 1.0, 2.0])]
)
def test_chance_has_the_share_of_a_pause_that_it_is_given(jitter: float, shares: list[float]) -> None:
    assert [Retry(backoff=8.0, jitter=jitter).pause(1, chance) / 8 for chance in (0.0, 0.5, 1.0)] == shares


def test_what_may_be_tried_again_is_told_by_its_type() -> None:
    retry = Retry(on=(OSError,), never=(ConnectionError,))
    assert retry.allows(FileNotFoundError())
    assert not retry.allows(ConnectionResetError())
    assert not retry.allows(ValueError())
    assert not Retry().allows(SystemExit())


def test_a_running_step_keeps_the_numbers_that_it_was_scheduled_with() -> None:
    old, new = Retry(attempts=7, backoff=0.5, jitter=0.0), Retry(attempts=1, on=(OSError,))
    assert new.as_recorded(old.recorded()) == Retry(attempts=7, backoff=0.5, jitter=0.0, on=(OSError,))
    assert "jitter" not in Retry().recorded()


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 2.0},
        {"backoff": -1.0},
        {"backoff": float("nan")},
        {"backoff": float("inf")},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": 1001},
        {"longest": 0.0},
        {"longest": float("nan")},
        {"longest": 1e10},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": float("nan")},
        {"jitter": True},
        {"on": ValueError},
        {"never": ("no",)},
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Retry(**wrong)


def takes(number: int, word: str = "x") -> list[str]:
    return [word] * number


def test_arguments_are_stored_by_their_annotations() -> None:
    signature = Signature(takes, label="step takes")
    assert signature.write(["2"], limit=1000) == [2]
    assert signature.read([2, "y"]) == [2, "y"]


@pytest.mark.parametrize("args", [[], [1, "a", 3], ["many"], [1, 2.5]])
def test_arguments_that_do_not_fit_are_refused(args: list[Any]) -> None:
    with pytest.raises(InvalidArguments):
        Signature(takes, label="step takes").write(args, limit=1000)


def test_a_result_that_cannot_be_stored_names_the_path() -> None:
    def gives() -> dict[str, list[Any]]:
        raise NotImplementedError

    shape = Signature(gives, label="step gives").result
    for flaw in ("a\0b", float("nan"), object(), "\ud800"):
        with pytest.raises(Unstorable) as caught:
            shape.write({"rows": [1, flaw]}, limit=1000)
        assert caught.value.path == "rows.1"


def test_parameters_that_cannot_be_given_by_position_are_refused() -> None:
    def odd(*, name: str) -> None: ...

    with pytest.raises(ConfigurationError, match="by position"):
        _ = Signature(odd, label="step odd").parameters
