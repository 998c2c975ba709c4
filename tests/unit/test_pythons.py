"""Which Pythons: the same everywhere that names them, and a folder for each that the scripts are told to take."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.pages import ROOT

CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text())
SUPPORTED = [
    label.rpartition(" ")[2]
    for label in CONFIGURATION["project"]["classifiers"]
    if re.search(r"Python :: 3\.\d+$", label)
]


def test_the_pythons_are_the_same_wherever_they_are_named() -> None:
    tools = CONFIGURATION["tool"]
    oldest = SUPPORTED[0]
    assert CONFIGURATION["project"]["requires-python"] == f">={oldest}"
    assert (tools["mypy"]["python_version"], tools["pyright"]["pythonVersion"]) == (oldest, oldest)
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    setup, check = ((ROOT / "scripts" / script).read_text() for script in ("setup", "check"))
    assert re.findall(r"python(3\.\d+)", setup.partition("for python in")[2].partition("\n")[0]) == SUPPORTED
    assert re.findall(r"3\.\d+", check.partition("printf")[2].partition("\n")[0]) == SUPPORTED
    readme = (ROOT / "README.md").read_text()
    assert f"pass on Python {', '.join(SUPPORTED[:-1])} and {SUPPORTED[-1]}." in readme
    assert f"for Python {oldest} to {SUPPORTED[-1]} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("named", ["", sys.executable])
def test_the_scripts_take_the_python_that_is_named_and_each_has_its_folder(tmp_path: Path, named: str) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    checksum = subprocess.check_output(["cksum", "pyproject.toml"], cwd=tmp_path, text=True)
    mine = f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (".venv", mine):  # as they are when all is installed, and nothing has changed since
        command = tmp_path / folder / "bin" / "python"
        command.parent.mkdir(parents=True)
        command.write_text('#!/bin/sh\necho "$0" "$@"\n')
        command.chmod(0o755)
        (tmp_path / folder / ".installed-from").write_text(checksum)
    said = subprocess.check_output(
        [tmp_path / "scripts" / "test", "-k", "word"], env={**os.environ, "PYTHON": named}, text=True
    )
    assert said == f"{mine if named else '.venv'}/bin/python -m pytest -k word\n"


def test_a_python_that_is_named_and_not_there_or_too_old_fails_and_says_so(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexec " + sys.executable + ' -c "import sys; sys.version_info = (3, 10, 0); $2"\n')
    old.chmod(0o755)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for named, reason in ((str(old), "needs Python 3.11 or newer"), ("no-such-python", "no-such-python")):
        ended = subprocess.run(
            [tmp_path / "scripts" / "test"],
            env={**os.environ, "PYTHON": named},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode != 0
        assert reason in ended.stderr
    assert list(tmp_path.glob(".venv*")) == []
