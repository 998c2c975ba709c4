"""The hints of one residence: what the net names none of never hides what names a message."""

from __future__ import annotations

import time

import pytest

from revenant.queue.records import RELEASED, Hint
from revenant.worker.docket import Docket


def hint(seq: int, key: str = "a") -> Hint:
    return Hint(1, "Lamp", key, seq)


def test_the_lower_number_is_kept_and_the_oldest_comes_first() -> None:
    docket = Docket(lambda _: True)
    docket.add([hint(7), hint(9, "b"), hint(5), hint(8)])
    assert docket.take(10) == [hint(5), hint(9, "b")]
    docket.add([hint(7), hint(0)])
    assert docket.take(1) == [hint(0)]
    assert len(docket) == 0


def test_a_look_of_the_net_that_is_not_due_hides_no_named_message() -> None:
    docket = Docket(lambda _: False)
    docket.add([hint(7)])
    docket.add([hint(0)])
    assert docket.take(10) == [hint(7)]


def test_the_net_passes_by_and_a_named_message_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    docket = Docket(lambda _: True)
    docket.pass_by(("Lamp", "a"), 5)
    docket.add([hint(0)])
    assert len(docket) == 0
    docket.add([hint(RELEASED)])
    assert docket.take(10) == [hint(RELEASED)]
    docket.welcome(("Lamp", "a"))
    docket.add([hint(0)])
    assert docket.take(10) == [hint(0)]
    docket.pass_by(("Lamp", "a"), 5)
    now = 106.0
    assert not docket.passes_by(("Lamp", "a"))
