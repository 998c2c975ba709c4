"""The supervisor: what crashes is started again, each time a little later, until it has lived."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import pytest

from revenant.worker import supervisor
from revenant.worker.supervisor import Supervisor

CRASHES = "import sys; sys.exit(7)"


class Told:
    """A shutdown that comes after so many starts."""

    def __init__(self, *, after: int) -> None:
        self.requested = asyncio.Event()
        self._after = after
        self.started: list[float] = []

    def note(self, _number: int) -> None:
        self.started.append(asyncio.get_running_loop().time())
        if len(self.started) == self._after:
            self.requested.set()


async def pauses(program: str, *, starts: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds from each start of the child to the next one."""

    async def there(_url: str) -> None: ...

    monkeypatch.setattr(supervisor, "await_schema", there)
    told = Told(after=starts)

    def command(number: int) -> list[str]:
        told.note(number)
        return [sys.executable, "-S", "-c", program]

    keeper = Supervisor(command=command, processes=1, drain_timeout=5.0)
    shutdown: Any = told
    assert await keeper.run("postgresql://nowhere.invalid/", shutdown) == 0
    return [later - earlier for earlier, later in zip(told.started, told.started[1:], strict=False)]


async def test_a_child_that_crashes_again_and_again_is_started_later_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 0.05)
    took = await pauses(CRASHES, starts=5, monkeypatch=monkeypatch)
    for failures, seconds in enumerate(took, 1):
        assert seconds > 0.75 * 0.05 * 2**failures, took
    assert caplog.text.count("ended with exit code 7") == len(took)


async def test_no_pause_is_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 1e6)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.05)
    async with asyncio.timeout(30):
        assert len(await pauses(CRASHES, starts=4, monkeypatch=monkeypatch)) == 3


async def test_one_that_has_lived_is_started_again_without_a_longer_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 0.2)
    monkeypatch.setattr(supervisor, "HEALTHY_SECONDS", 0.0)
    await pauses(CRASHES, starts=5, monkeypatch=monkeypatch)
    said = [float(pause) for pause in re.findall(r"Starting another in ([0-9.]+) s", caplog.text)]
    assert len(said) == 4
    assert max(said) <= 0.3, "a quarter of chance is in it"
