"""What a class says of when its entities are written, and of how long they stay in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from revenant import Entity, Interval
from revenant.errors import ConfigurationError


class Usual(Entity):
    """Says nothing."""


class Relaxed(Entity, durability=Interval(seconds=5), idle_timeout=timedelta(minutes=1)):
    """Says both."""


class Eternal(Relaxed, durability="on_stop", idle_timeout=None):
    """Says otherwise than what it is made of."""


def test_entities_are_strict_and_stay_in_memory_for_five_minutes_unless_their_class_says_otherwise() -> None:
    found = [(one.entity_durability, one.entity_idle_seconds) for one in (Usual, Relaxed, Eternal)]
    assert found == [("strict", 300.0), (Interval(seconds=5), 60.0), ("on_stop", None)]


@pytest.mark.parametrize("given", ["5 s", 0, -1, float("nan"), float("inf"), True, timedelta(0), timedelta.max])
def test_what_is_no_time_to_be_idle_is_refused_with_the_class(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="Wrong has idle_timeout="):

        class Wrong(Entity, idle_timeout=given):
            pass


@pytest.mark.parametrize("given", ["relaxed", "", 5, Interval])
def test_what_is_no_durability_is_refused_with_the_class(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="Wrong has durability="):

        class Wrong(Entity, durability=given):
            pass


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), "5"])
def test_what_is_no_interval_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="seconds"):
        Interval(seconds=given)
