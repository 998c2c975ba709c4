"""What a worker says of state that is newer than its code."""

from __future__ import annotations

import pytest

from revenant.queue.records import Hint
from revenant.worker.fleet import Fleet, Member
from revenant.worker.lanes.ahead import Ahead

HINTS = [Hint(0, kind, key, 1) for kind in ("Account", "Cart") for key in ("a", "b")]
OWN = Member("own", {"Account": {"vsn": 1}, "Cart": {"vsn": 1}}, draining=False, alive=True)
NEWER = Member("other", {"Account": {"vsn": 2}}, draining=False, alive=True)


def kinds_told(*members: Member, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    fleet = Fleet(own_id="own")
    fleet.update(members)
    ahead = Ahead(fleet=fleet, vsns={"Account": 1, "Cart": 1})
    for _ in range(2):
        ahead.note(HINTS)
    return [record.message.partition("(")[0] for record in caplog.records]


def test_state_that_no_live_worker_knows_is_told_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    assert kinds_told(OWN, caplog=caplog) == ["Account", "Cart"]


def test_state_that_a_newer_worker_takes_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert kinds_told(OWN, NEWER, caplog=caplog) == ["Cart"]
    assert kinds_told(OWN, NEWER._replace(alive=False), caplog=caplog) == ["Account", "Cart"]
