"""The nursery: what begins there is a process like any other, and none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import environment, is_alive, revenant, wait_for
from tests.nursery.near import Child, Nursery

NOWHERE = "postgresql://127.0.0.1:1/nowhere"


@pytest.fixture(scope="module")
def opened() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def begin(nursery: Nursery, folder: Path, *words: str, session: bool = False, **more: str) -> Child:
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        return nursery.begin(words, environment=environment(NOWHERE, **more), stdout=out, stderr=err, session=session)


def begin_worker(nursery: Nursery, folder: Path) -> Child:
    child = begin(nursery, folder, "worker", "--app", "tests.entities:app", session=True)
    wait_for(lambda: "no connection to" in (folder / "err").read_text(), what="its first words")
    return child


@pytest.mark.parametrize(("words", "code"), [("--version", 0), ("nonsense", 2), ("ls", 4)])
def test_a_child_ends_as_the_command_does_and_says_the_same(
    opened: Nursery, tmp_path: Path, words: str, code: int
) -> None:
    assert begin(opened, tmp_path, words).wait(30) == code
    anew = revenant(words, url=NOWHERE, anew=True)
    assert anew.returncode == code
    assert (tmp_path / "out").read_text() == anew.stdout
    assert (tmp_path / "err").read_text() == anew.stderr


def test_a_child_has_the_environment_that_it_was_given(opened: Nursery, tmp_path: Path) -> None:
    assert begin(opened, tmp_path, "ls", REVENANT_OUTPUT="nonsense").wait(30) == 2
    assert "'nonsense' is not one of" in (tmp_path / "err").read_text()


def test_a_child_that_python_itself_was_to_tell_something_is_refused(opened: Nursery, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="start it anew"):
        begin(opened, tmp_path, "ls", PYTHONPATH="/somewhere")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_hears_signals(opened: Nursery, tmp_path: Path, number: signal.Signals) -> None:
    child = begin_worker(opened, tmp_path)
    assert child.poll() is None
    child.send_signal(number)
    assert child.wait(30) == child.poll() == child.returncode == 0


def test_a_child_that_was_killed_says_by_what_and_its_group_is_its_own(opened: Nursery, tmp_path: Path) -> None:
    child = begin_worker(opened, tmp_path)
    assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    child.kill()


def test_a_signal_that_comes_too_late_is_none(opened: Nursery, tmp_path: Path) -> None:
    """A child is gone a moment before its end is told."""
    for _ in range(12):
        child = begin(opened, tmp_path, "--version")
        while child.poll() is None:
            child.send_signal(signal.SIGCONT)
        assert child.returncode == 0


def test_no_child_outlives_its_nursery(tmp_path: Path) -> None:
    nursery = Nursery()
    child = begin_worker(nursery, tmp_path)
    assert is_alive(child.pid)
    nursery.close()
    wait_for(lambda: not is_alive(child.pid), what="its end")
