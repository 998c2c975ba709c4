"""Probes of runs' code: what they are begun for, what counts as one, and how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from revenant.queue.records import Hint
from revenant.queue.runs import VisitedRun
from revenant.worker.cells import probes as module
from revenant.worker.cells.cells import Cells, KilledCell
from revenant.worker.cells.probes import Probes
from revenant.worker.runs.archive import Archive

HINT = Hint(1, "run:w", "r", 0)
KEY = ("run:w", "r")


class Noting:
    """An archive in which one worker has died with whatever is noted."""

    def __init__(self) -> None:
        self.cleared: list[Hint] = []
        self.deaths = 1

    async def note(self, hints: Sequence[Hint]) -> Mapping[int, int]:
        return dict.fromkeys(range(len(hints)), self.deaths)

    async def clear(self, hints: Sequence[Hint]) -> None:
        self.cleared += hints


class Answering:
    """Cells and a room in which each probe ends as the next of `answers`: with a word, or a death."""

    possible = True

    def __init__(self, *answers: dict[str, Any] | KilledCell) -> None:
        self.answers = list(answers)
        self.probed: list[str] = []

    async def run(self, talk: Callable[[Any], Awaitable[Any]]) -> Any:
        return await talk(self)

    async def tell(self, *, probe: list[Any]) -> None:
        self.probed.append(probe[-1])

    async def hear(self) -> dict[str, Any]:
        match self.answers.pop(0):
            case KilledCell() as killed:
                raise killed
            case word:
                return word


class Bench:
    """Probes over these, and what they ask to be read again."""

    def __init__(self, *answers: dict[str, Any] | KilledCell) -> None:
        self.archive, self.cells = Noting(), Answering(*answers)
        self.again: list[Hint] = []
        self.probes = Probes(
            archive=cast(Archive, self.archive),
            cells=cast(Cells, self.cells),
            cautious=lambda: True,
            again=self.again.append,
        )

    async def look(self, hint: Hint = HINT) -> set[tuple[str, str]]:
        """Look at a run that a dead worker had, and let its probe end."""
        found = VisitedRun(verdict="dead", head=None, known=False)
        probed = await self.probes.look([hint], [found])
        if self.probes._tasks:
            await asyncio.wait(self.probes._tasks.values())
            await asyncio.sleep(0)
        return probed


async def test_a_run_is_tried_once_and_read_then() -> None:
    bench = Bench({"stood": True})
    assert await bench.look() == {KEY}
    assert (bench.cells.probed, bench.again) == (["r"], [HINT])
    assert await bench.look() == set()
    assert bench.probes.fate(KEY) is None
    await bench.probes.over()
    assert bench.archive.cleared == [HINT]


async def test_a_run_that_another_worker_is_at_is_looked_at_again_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    bench = Bench()
    bench.archive.deaths = module.BUSY
    assert await bench.look() == {KEY}
    await asyncio.sleep(0.01)
    assert (bench.cells.probed, bench.again) == ([], [HINT])


async def test_how_a_run_s_code_has_ended_a_process_is_known() -> None:
    bench = Bench(KilledCell("exit code 9"))
    assert await bench.look() == {KEY}
    assert await bench.look() == set()
    assert bench.probes.fate(KEY) == "exit code 9"


async def test_what_could_not_be_read_in_a_cell_has_not_been_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its connection was lost: the code has not run, and may kill."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    bench = Bench({"gone": True}, {"stood": True})
    assert await bench.look() == {KEY}
    assert bench.again == [HINT]
    assert await bench.look() == {KEY}, "it is probed again"
    assert await bench.look() == set()


async def test_probes_of_runs_that_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALID_SECONDS", -1.0)
    bench = Bench({"stood": True}, {"stood": True})
    await bench.look()
    await bench.look(HINT._replace(key="other"))
    assert len(bench.probes._probed) == 1, "the last one"
    assert bench.probes.fate(KEY) is None, "it counts no more"
